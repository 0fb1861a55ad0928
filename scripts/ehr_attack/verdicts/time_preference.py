"""Claim 2: later hours are more susceptible, beyond what the same pipeline shows where hours are exchangeable."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from ehr_attack.figures.names import DIRECTIONS
from ehr_attack.schemas import BASES, HOUR_AXIS
from ehr_attack.verdicts.question import Question, interval_of
from ehr_attack.verdicts.rule import Bound, number
from ehr_attack.verdicts.statistics import hour_slopes, last_quarter, part_shares
from ehr_attack.verdicts.sums import Key, Sums, aligned
from ehr_attack.verdicts.words import FLIPS, ON_BASIS


class _Measure(NamedTuple):
    name: str
    words: str
    unit: str
    relevant: float


# 5 % of the mean hour per 10 hours make a fourth of it over 48.
_SLOPE = _Measure(
    "slope of S over the hours", "slope of susceptibility over the hours", " % of the mean hour per 10 hours", 5.0
)
_LATE_SHARE = _Measure(
    "share of S in the last quarter of the hours", "last quarter's share of susceptibility", " %", 5.0
)
_HYPOTHESIS = "Later hours are more susceptible than the same pipeline makes them without a reason."
NO_NULL = (
    "the same pipeline has not been run on exchangeable hours with this model and attack (config key "
    "susceptibility.null_cohort), and a recurrent network prefers late hours even without a reason"
)


def time_questions(sums: Mapping[Key, Sums], null: Mapping[Key, Sums]) -> Iterator[Question]:
    """Slope of S over the hours and share of the last quarter, each less the null's, by direction and basis.

    null: the sums of the same model and mode on the null cohort; empty where there is none.
    """
    for direction in DIRECTIONS:
        for basis in BASES:
            own = sums.get((direction, basis, HOUR_AXIS))
            if own is not None:
                yield from _questions(direction, basis, own, sums, null)


def _questions(
    direction: str, basis: str, own: Sums, sums: Mapping[Key, Sums], null: Mapping[Key, Sums]
) -> Iterator[Question]:
    key = (direction, basis, HOUR_AXIS)
    pair = aligned(sums, null, key)
    ours, theirs = pair or (own.both, np.full_like(own.both, np.nan))
    samples = [own, null[key]] if pair is not None else [own]
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
            hindrance="" if pair is not None else NO_NULL,
        )
