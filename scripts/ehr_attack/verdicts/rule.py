"""The one rule by which every verdict is given, and the words for it.

Each test has an effect with a 95 % interval, the side of a bound `against` on which the claim puts it, and the smallest
distance from that bound that would matter (`relevant`). The claim is

- supported, if the whole interval lies beyond the bound on the claimed side;
- not supported, if the whole interval falls short of bound + relevant size: on the other side, or so near to the bound
  that an effect of a size that matters is excluded (a test of equivalence by its interval: Schuirmann 1987);
- else the data cannot tell.
"""

import math
from dataclasses import dataclass

from ehr_attack.schemas.verdicts import CANNOT_TELL, NOT_SUPPORTED, SUPPORTED


@dataclass(frozen=True)
class Interval:
    """An effect with its 95 % interval, in the unit of the test; NaN where there is none."""

    value: float
    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether all three are finite numbers."""
        return all(map(math.isfinite, (self.value, self.low, self.high)))


@dataclass(frozen=True)
class Bound:
    """What an interval is held against.

    against: the claim says that the effect lies above it (`larger`) or below it. relevant: the smallest distance on
    that side that would matter, >= 0, in the unit of the effect.
    """

    against: float
    relevant: float = 0.0
    larger: bool = True

    @property
    def mattering(self) -> float:
        """The effect from which on it would matter."""
        return self.against + (self.relevant if self.larger else -self.relevant)


def verdict_of(interval: Interval, bound: Bound) -> str:
    """One of VERDICT_WORDS, by the rule of this module; `cannot tell` for an interval that is not known."""
    if not interval.known:
        return CANNOT_TELL
    sign = 1.0 if bound.larger else -1.0
    ends = (sign * interval.low, sign * interval.high)
    if min(ends) > sign * bound.against:
        return SUPPORTED
    return NOT_SUPPORTED if max(ends) < sign * bound.mattering else CANNOT_TELL


def conclusion(interval: Interval, bound: Bound, unit: str) -> str:
    """Why the verdict is what it is, as the second half of a sentence. unit: follows each number, for example ` %`."""
    beyond, short = ("above", "below") if bound.larger else ("below", "above")
    verdict = verdict_of(interval, bound)
    against, mattering = (number(value) + unit for value in (bound.against, bound.mattering))
    if verdict == SUPPORTED:
        return f"all of the interval lies {beyond} {against}"
    if verdict == CANNOT_TELL:
        return f"the interval reaches from one side of {against} to the other, too wide to tell"
    crossed = interval.high >= bound.against if bound.larger else interval.low <= bound.against
    if crossed:
        return f"the interval holds {against} and ends {short} {mattering}, from where on it would matter"
    return f"all of the interval lies {short} {against}"


def number(value: float) -> str:
    """A number for a sentence: two decimals below 10, one below 100, else none; none of a whole number."""
    size = abs(value)
    decimals = 0 if value == round(value, 0) else 2 if size < 10 else 1 if size < 100 else 0
    return f"{value:.{decimals}f}"
