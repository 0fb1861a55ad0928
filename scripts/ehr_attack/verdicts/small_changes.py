"""Claim 5: a small perturbation of few cells flips nearly every correctly classified record."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from ehr_attack.directions import DIRECTIONS
from ehr_attack.resampling import model_weights, wider_interval
from ehr_attack.storage import read_frame
from ehr_attack.suppression import is_small
from ehr_attack.verdicts.question import Question, interval_of
from ehr_attack.verdicts.rule import Bound, Interval
from ehr_attack.verdicts.words import FLIPS

_Floats = npt.NDArray[np.float64]
NEARLY_EVERY, FEW_CELLS, SMALL = 90.0, 5.0, 0.2
"""What the claim's words are taken to mean here: at least 90 % of the stays, a median of at most 5 % of the cells and
of at most 0.2 scaled units (a fifth of the way from the 1st to the 99th percentile) in the cell that changes most."""
_KEY = ["seed", "fold", "stay_id"]
_SEED = 20180821
_HYPOTHESIS = "A small change of few cells flips nearly every correctly classified record."


@dataclass(frozen=True)
class Attempts:
    """Attacked stays of one direction, one row a stay and seed; every array is (rows,).

    flipped: bool; share: share of the cells that the selected attack changes, %; largest: its largest change, scaled
    units; both NaN without success.
    """

    seed: npt.NDArray[np.int64]
    fold: npt.NDArray[np.int64]
    subject_ids: npt.NDArray[np.int64]
    flipped: npt.NDArray[np.bool_]
    share: _Floats
    largest: _Floats


def read_attempts(outcomes: Sequence[str | Path], subjects: pd.Series, n_cells: int) -> dict[str, Attempts]:
    """Attempts by direction, from the merged OUTCOMES of all seeds and folds of one model and mode.

    subjects: subject id by stay id; n_cells: hours x variables. Raises UserError when a table is missing.
    """
    columns = [*_KEY, "direction", "selected", "n_changed", "linf"]
    parts = []
    for path in outcomes:
        rows = read_frame(path, columns).sort_values("selected", ascending=False, kind="stable")
        parts.append(rows.drop_duplicates(_KEY))
    stays = pd.concat(parts, ignore_index=True).sort_values(_KEY, ignore_index=True)
    return {direction: _attempts(stays[stays["direction"] == direction], subjects, n_cells) for direction in DIRECTIONS}


def _attempts(stays: pd.DataFrame, subjects: pd.Series, n_cells: int) -> Attempts:
    flipped = stays["selected"].to_numpy(dtype=bool)
    return Attempts(
        seed=stays["seed"].to_numpy(dtype=np.int64),
        fold=stays["fold"].to_numpy(dtype=np.int64),
        subject_ids=subjects.loc[stays["stay_id"]].to_numpy(dtype=np.int64),
        flipped=flipped,
        share=np.where(flipped, 100.0 * stays["n_changed"].to_numpy(dtype=np.float64) / n_cells, np.nan),
        largest=np.where(flipped, stays["linf"].to_numpy(dtype=np.float64), np.nan),
    )


def change_questions(attempts: dict[str, Attempts], resamples: int) -> Iterator[Question]:
    """Success rate, median share of changed cells and median largest change, by direction."""
    for direction in DIRECTIONS:
        if direction not in attempts or not len(attempts[direction].flipped):
            continue
        found = attempts[direction]
        rate, share, largest = _drawn(found, resamples)
        yield _question(
            direction, found, np.ones(len(found.flipped), dtype=bool), _of_share(found, interval_of(rate)),
            Bound(NEARLY_EVERY), " %", "attacked stays that are flipped, %",
            "the attack flips {} of the attacked stays", withheld=is_small(_patients(found, found.flipped)),
        )  # fmt: skip
        yield _question(
            direction, found, found.flipped, interval_of(share), Bound(FEW_CELLS, larger=False), " %",
            "median share of the cells that is changed, %", "the median share of changed cells is {}",
        )  # fmt: skip
        yield _question(
            direction, found, found.flipped, interval_of(largest), Bound(SMALL, larger=False), " scaled units",
            "median of the largest change of a cell, scaled units", "the median largest change of a cell is {}",
        )  # fmt: skip


def _question(
    direction: str,
    found: Attempts,
    counted: npt.NDArray[np.bool_],
    interval: Interval,
    bound: Bound,
    unit: str,
    effect: str,
    statement: str,
    withheld: bool = False,
) -> Question:
    return Question(
        claim=5,
        hypothesis=_HYPOTHESIS,
        effect=effect,
        unit=unit,
        statement=f"{statement} ({FLIPS[direction]})",
        interval=interval,
        bound=bound,
        n_stays=int(counted.sum()),
        n_patients=_patients(found, counted),
        direction=direction,
        withheld=withheld,
    )


def _patients(found: Attempts, counted: npt.NDArray[np.bool_]) -> int:
    return int(np.unique(found.subject_ids[counted]).size)


def _of_share(found: Attempts, drawn: Interval) -> Interval:
    """The success rate, %, with an interval that holds the exact one over patients too."""
    if not drawn.known:
        return drawn
    n_patients = int(np.unique(found.subject_ids).size)
    low, high = wider_interval(drawn.value / 100.0, n_patients, drawn.low / 100.0, drawn.high / 100.0)
    return Interval(drawn.value, 100.0 * low, 100.0 * high)


def _drawn(found: Attempts, resamples: int) -> _Floats:
    """Success rate, median share and median largest change, of all stays and of each draw: (3, 1 + resamples)."""
    once = np.ones(len(found.flipped), dtype=np.int64)
    draws = model_weights(found.seed, found.fold, found.subject_ids, resamples, _SEED)
    rows = np.full((1 + resamples, 3), np.nan)
    for row, weight in zip(rows, itertools.chain([once], draws), strict=True):
        drawn = np.repeat(np.arange(len(weight)), weight)
        flipped = drawn[found.flipped[drawn]]
        row[0] = 100.0 * len(flipped) / len(drawn) if len(drawn) else np.nan
        if len(flipped):
            row[1:] = np.median(found.share[flipped]), np.median(found.largest[flipped])
    return rows.T
