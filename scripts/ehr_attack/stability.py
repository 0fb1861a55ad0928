"""How far susceptibility agrees between folds, seeds, models and attacks: rank correlations of S_q95."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import pandas as pd

from ehr_attack.headline import headline
from ehr_attack.published import rank_agreement
from ehr_attack.schemas.susceptibility import HOUR_AXIS, VARIABLE_AXIS
from ehr_attack.schemas.verdicts import STABILITY
from ehr_attack.storage import read_frames, write_frame
from ehr_attack.suppression import MINIMUM

FOLD, SEED, MODEL, ATTACK = "fold", "seed", "model", "attack"
_NAN = float("nan")
_SIDES = ["direction", "axis"]


@dataclass(frozen=True)
class _Ranked:
    """S_q95 along one axis; `sums`: float64 by name, `label`: what it is of."""

    label: str
    sums: pd.Series
    n_stays: int
    n_patients: int


def write_stability(by_model: Sequence[str], variables: Sequence[str], hours: Sequence[str], *, out: str) -> None:
    """Write STABILITY from the tables SUMS_BY_MODEL, VARIABLES and HOURS of all models and modes.

    Policy `selected`, all cells. Raises UserError when a table is missing.
    """
    single = headline(read_frames(by_model))
    sums = [_along(read_frames(variables), VARIABLE_AXIS), _along(read_frames(hours), HOUR_AXIS)]
    whole = pd.concat(sums, ignore_index=True)
    rows = list(stability_rows(single, whole))
    write_frame(pd.DataFrame(rows, columns=STABILITY.names), out, STABILITY)


def stability_rows(single: pd.DataFrame, whole: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Rows of STABILITY: all pairs of folds of a seed, of seeds of a model, of models, and of attacks on a model.

    single: SUMS_BY_MODEL rows of one policy and basis; whole: the sums over all seeds and folds, with the columns
    model, mode, direction, axis, name, n_stays, n_patients, s_q95. No correlation below ten stays or patients.
    """
    of_folds, of_seeds = single[single["fold"].notna()], single[single["fold"].isna()]
    levels = (
        (FOLD, of_folds, ["model", "mode", "seed"], "fold"),
        (SEED, of_seeds, ["model", "mode"], "seed"),
        (MODEL, whole, ["mode"], "model"),
        (ATTACK, whole, ["model"], "mode"),
    )
    for across, table, shared, own in levels:
        for key, group in table.groupby([*shared, *_SIDES], sort=False):
            labels = dict(zip([*shared, *_SIDES], key, strict=True))
            ranked = [_ranked(part, _label(labels, own, value)) for value, part in group.groupby(own, sort=False)]
            common = {"across": across, "mode": labels.get("mode", ""), **{side: labels[side] for side in _SIDES}}
            for first, second in combinations(ranked, 2):
                yield common | _agreement(first, second)


def _agreement(first: _Ranked, second: _Ranked) -> dict[str, Any]:
    shared, spearman, kendall = rank_agreement(first.sums, second.sums)
    sizes = [size for part in (first, second) for size in (part.n_stays, part.n_patients)]
    if min(sizes) < MINIMUM:
        spearman = kendall = _NAN
    return {
        "first": first.label,
        "second": second.label,
        "n_shared": shared,
        "n_patients": min(first.n_patients, second.n_patients),
        "spearman": spearman,
        "kendall": kendall,
    }


def _label(labels: dict[str, Any], own: str, value: Any) -> str:
    """What is compared, in words: `lstm`; `lstm, seed 0`; `lstm, seed 0, fold 1`; of attacks, `lstm, ista`."""
    known = labels | {own: value}
    parts = [str(known["model"])]
    if own == "mode":
        parts.append(str(known["mode"]))
    parts += [f"{name} {int(known[name])}" for name in ("seed", "fold") if name in known]
    return ", ".join(parts)


def _ranked(part: pd.DataFrame, label: str) -> _Ranked:
    sums = part.set_index("name")["s_q95"]
    return _Ranked(label, sums, int(part["n_stays"].max()), int(part["n_patients"].max()))


def _along(table: pd.DataFrame, axis: str) -> pd.DataFrame:
    return headline(table).rename(columns={axis: "name"}).assign(axis=axis)
