"""The attacks of one model and mode as compact arrays: which count under a lambda policy, and where each belongs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ehr_attack.attacks.selection import successes
from ehr_attack.directions import DIRECTIONS
from ehr_attack.errors import UserError
from ehr_attack.schemas.susceptibility import ALL_LAMBDAS, FIXED, POLICIES, SELECTED
from ehr_attack.storage import read_frame

_COLUMNS = (
    *("seed", "fold", "stay_id", "lambda", "direction", "flipped", "flipped_float64", "feasible", "l1", "linf"),
    *("n_changed", "n_changed_observed", "n_edited", "still_falling", "gradient_vanished", "stuck_at_bounds"),
    *("pruned", "audited", "selected"),
)

_Array = npt.NDArray[Any]
_Ints = npt.NDArray[np.int64]
_Bools = npt.NDArray[np.bool_]


def read_outcomes(paths: Sequence[str], mode: str) -> pd.DataFrame:
    """The outcomes of all seeds and folds end to end: what is used of them, texts as categories."""
    parts = []
    for path in paths:
        part = read_frame(path, _COLUMNS)
        part["direction"] = pd.Categorical(part["direction"], categories=list(DIRECTIONS))
        parts.append(part)
    outcomes = pd.concat(parts, ignore_index=True)
    return outcomes.assign(mode=pd.Series(mode, index=outcomes.index, dtype="category"))


@dataclass(frozen=True)
class RowCodes:
    """One number for each attack: of its seed, fold, stay and lambda, each by its place among the sorted known ones."""

    seeds: _Ints
    folds: _Ints
    stay_ids: _Ints
    lambdas: npt.NDArray[np.float64]

    def of(self, seed: _Array, fold: _Array, stay_id: _Array, lambdas: _Array) -> _Ints:
        """Int64 codes of attacks, -1 where any part is unknown; no lambda (NaN) counts as the last one."""
        none = np.isnan(lambdas)
        places = [_places(seed, self.seeds), _places(fold, self.folds), _places(stay_id, self.stay_ids)]
        places.append(np.where(none, len(self.lambdas), _places(np.where(none, 0.0, lambdas), self.lambdas)))
        places[3][~none & (places[3] < 0)] = -1
        code = np.zeros(len(seed), dtype=np.int64)
        for place, size in zip(places, (1, len(self.folds), len(self.stay_ids), len(self.lambdas) + 1), strict=True):
            code = code * size + place
        code[np.any([place < 0 for place in places], axis=0)] = -1
        return code


@dataclass(frozen=True)
class Attacks:
    """Attacks sorted by code; every array is (rows,) but for `codes`.

    code: see RowCodes. stay: place of the stay among the cohort's; patient: place among the attacked patients; seed,
    fold: places among the known ones; direction: place in DIRECTIONS. policies: bool, by name, the attacks that count.
    """

    codes: RowCodes
    code: _Ints
    stay: _Ints
    patient: _Ints
    seed: _Ints
    fold: _Ints
    direction: _Ints
    policies: dict[str, _Bools]

    def rows_of(self, code: _Ints) -> _Ints:
        """The row of each code, -1 where there is none."""
        row = np.searchsorted(self.code, code).clip(max=max(len(self.code) - 1, 0))
        found = self.code[row] == code if len(self.code) else np.zeros(len(code), dtype=bool)
        return np.where(found, row, -1)


def arrange(outcomes: pd.DataFrame, stay_ids: _Ints, subject_ids: _Ints, policies: Sequence[str] = POLICIES) -> Attacks:
    """The outcomes as arrays, with those of `policies` that the mode has (without a lambda, `selected` alone).

    stay_ids, subject_ids: of the cohort, sorted by stay. Raises UserError when an attacked stay is not in the cohort.
    """
    lambdas = outcomes["lambda"].to_numpy(dtype=np.float64)
    known = np.unique(lambdas[~np.isnan(lambdas)])
    codes = RowCodes(np.unique(outcomes["seed"]), np.unique(outcomes["fold"]), stay_ids, known)
    seed, fold, stay_id = (outcomes[name].to_numpy() for name in ("seed", "fold", "stay_id"))
    code = codes.of(seed, fold, stay_id, lambdas)
    if (code < 0).any():
        raise UserError(
            "Attacked stays are missing from the extracted stays: the tables are of different runs. "
            "Delete the attacks and run snakemake again."
        )
    order = np.argsort(code, kind="stable")
    stay = _places(stay_id, stay_ids)[order]
    _, patient = np.unique(subject_ids[stay], return_inverse=True)
    return Attacks(
        codes=codes,
        code=code[order],
        stay=stay,
        patient=patient.astype(np.int64),
        seed=_places(seed, codes.seeds)[order],
        fold=_places(fold, codes.folds)[order],
        direction=_direction_codes(outcomes["direction"])[order],
        policies={name: kept[order] for name, kept in counting(outcomes, policies).items()},
    )


def counting(outcomes: pd.DataFrame, policies: Sequence[str] = POLICIES) -> dict[str, _Bools]:
    """Bool (rows,) by lambda policy: the attacks that count; see schemas.POLICIES."""
    selected = outcomes["selected"].to_numpy(dtype=bool)
    if outcomes["lambda"].isna().all():
        return {SELECTED: selected}
    success = successes(outcomes)
    fixed = success & (outcomes["lambda"] == fixed_lambda(outcomes)).to_numpy()
    of = {SELECTED: selected, FIXED: fixed, ALL_LAMBDAS: success}
    return {name: of[name] for name in policies}


def fixed_lambda(outcomes: pd.DataFrame) -> float:
    """The lambda that is selected most often, over both directions, ties to the larger; NaN where none is selected."""
    counts = outcomes.loc[outcomes["selected"], "lambda"].value_counts()
    return float(counts.index[counts == counts.max()].max()) if len(counts) else float("nan")


def _direction_codes(directions: "pd.Series[Any]") -> _Ints:
    return pd.Index(list(DIRECTIONS)).get_indexer(pd.Index(directions.astype(str))).astype(np.int64)


def _places(values: _Array, known: _Array) -> _Ints:
    """Place of each value among the sorted known ones, -1 where it is not one."""
    if not len(known):
        return np.full(len(values), -1, dtype=np.int64)
    place = np.searchsorted(known, values).clip(max=len(known) - 1)
    return np.where(known[place] == values, place, -1).astype(np.int64)
