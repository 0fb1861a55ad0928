"""Claim 2: later hours are more susceptible, beyond what the same pipeline shows where hours are exchangeable."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ehr_attack.schemas.susceptibility import HOUR_AXIS
from ehr_attack.verdicts.cell_means import CellMeans, Key, aligned, along
from ehr_attack.verdicts.hindrances import too_few_above_zero, unmeasured
from ehr_attack.verdicts.question import Question, interval_of
from ehr_attack.verdicts.rule import Bound, number
from ehr_attack.verdicts.statistics import hour_slopes, last_quarter, part_shares
from ehr_attack.verdicts.words import FLIPS, ON_BASIS


class _Measure(NamedTuple):
    name: str
    words: str
    unit: str
    relevant: float


# 5 % of the mean hour per 10 hours make a fourth of it over 48.
_SLOPE = _Measure(
    "slope of S_q95 over the hours", "slope of S_q95 over the hours", " % of the mean hour per 10 hours", 5.0
)
_LATE_SHARE = _Measure("share of S_q95 in the last quarter of the hours", "last quarter's share of S_q95", " %", 5.0)
_HYPOTHESIS = "Later hours are more susceptible than the same pipeline makes them without a reason."
NO_NULL = (
    "the same pipeline has not been run on exchangeable hours with this model and attack (config key "
    "susceptibility.null_cohort), and a recurrent network prefers late hours even without a reason"
)


def time_questions(means: Mapping[Key, CellMeans], null: Mapping[Key, CellMeans]) -> Iterator[Question]:
    """Slope of S_q95 per cell over the hours, and share of the last quarter, less the null's, by direction and basis.

    null: those of the same model and mode on the null cohort; empty where there is none.
    """
    for direction, basis, own in along(means, HOUR_AXIS):
        yield from _questions(direction, basis, own, null.get((direction, basis, HOUR_AXIS)))


def _questions(direction: str, basis: str, own: CellMeans, null: CellMeans | None) -> Iterator[Question]:
    ours, theirs = aligned(own, null) if null else (own.both, np.full_like(own.both, np.nan))
    samples = [own, null] if null else [own]
    part = last_quarter(len(own.names))
    for measure, of_run, of_null in (
        (_SLOPE, hour_slopes(ours), hour_slopes(theirs)),
        (_LATE_SHARE, part_shares(ours, part), part_shares(theirs, part)),
    ):
        yield Question(
            claim=2,
            hypothesis=_HYPOTHESIS,
            effect=f"{measure.name} less the null's,{measure.unit}",
            unit=measure.unit,
            statement=f"the {measure.words} ({FLIPS[direction]}, {ON_BASIS[basis]}) is {number(of_run[0])}, and "
            f"{number(of_null[0])} where hours are exchangeable, a difference of {{}}",
            interval=interval_of(of_run - of_null),
            bound=Bound(0.0, measure.relevant),
            n_stays=min(sample.n_stays for sample in samples),
            n_patients=min(sample.n_patients for sample in samples),
            direction=direction,
            basis=basis,
            none=0.0,
            hindrance=_hindrance(ours[0], theirs[0], part) if null else NO_NULL,
        )


def _hindrance(ours: npt.NDArray[np.float64], theirs: npt.NDArray[np.float64], late: npt.NDArray[np.bool_]) -> str:
    """Why hours cannot be compared. ours, theirs: S_q95 per cell of each hour, of the run and of the null."""
    for values, where in ((ours, ""), (theirs, " of the null cohort")):
        quarters = {f"hours of the last quarter{where}": values[late], f"earlier hours{where}": values[~late]}
        found = unmeasured(quarters) or too_few_above_zero({f"hours{where}": values})
        if found:
            return found
    return ""
