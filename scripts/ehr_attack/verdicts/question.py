"""One test of a claim: what is asked, the effect with its interval, and the row of the table that answers it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ehr_attack.resampling import percentile_interval
from ehr_attack.schemas.verdicts import CANNOT_TELL
from ehr_attack.suppression import MINIMUM
from ehr_attack.verdicts.rule import Bound, Interval, conclusion, number, verdict_of

_NAN = float("nan")
_USABLE_DRAWS = 0.9
NOT_TO_BE_TOLD = Interval(_NAN, _NAN, _NAN)
"""In place of numbers of so few patients that they would be known by them."""


@dataclass(frozen=True)
class Question:
    """A test with its numbers.

    effect: what `interval` measures, with `unit`, in words; statement: the sentence that it answers, with {} where
    the value stands; none, published: the effect if there were nothing to it, and in the paper; hindrance: why
    nothing can be concluded whatever the numbers, empty where nothing is in the way; withheld: whether the numbers
    would tell of 1 to 9 patients, so that the verdict stands without them.
    """

    claim: int
    hypothesis: str
    effect: str
    unit: str
    statement: str
    interval: Interval
    bound: Bound
    n_stays: int
    n_patients: int
    direction: str = ""
    basis: str = ""
    none: float = _NAN
    published: float = _NAN
    hindrance: str = ""
    withheld: bool = False

    def row(self, model: str, mode: str, hindrance: str = "") -> dict[str, Any]:
        """The row of VERDICTS. hindrance: of the whole model, comes before the question's own."""
        in_the_way = hindrance or self._too_few() or self.hindrance or self._no_interval()
        hidden = self.withheld or min(self.n_stays, self.n_patients) < MINIMUM
        shown = NOT_TO_BE_TOLD if hidden else self.interval
        return {
            "claim": self.claim,
            "hypothesis": self.hypothesis,
            "model": model,
            "mode": mode,
            "direction": self.direction,
            "basis": self.basis,
            "effect": self.effect,
            "value": shown.value,
            "low": shown.low,
            "high": shown.high,
            "none": self.none,
            "published": self.published,
            "n_stays": self.n_stays,
            "n_patients": self.n_patients,
            "verdict": CANNOT_TELL if in_the_way else verdict_of(self.interval, self.bound),
            "reason": f"Cannot tell: {in_the_way}." if in_the_way else self._reason(),
        }

    def _too_few(self) -> str:
        if min(self.n_stays, self.n_patients) < MINIMUM:
            return f"it needs {MINIMUM} stays of {MINIMUM} patients at least, and here are fewer"
        return ""

    def _no_interval(self) -> str:
        if not self.interval.known:
            return "the effect has no interval here, as too many draws of patients leave nothing to compute it from"
        return ""

    def _reason(self) -> str:
        if self.withheld:
            return f"In these data the numbers rest on fewer than {MINIMUM} patients, and are withheld."
        value, low, high = (number(part) for part in (self.interval.value, self.interval.low, self.interval.high))
        found = self.statement.format(f"{value}{self.unit} ({low} to {high})")
        return f"In these data {found}: {conclusion(self.interval, self.bound, self.unit)}."


def interval_of(draws: npt.NDArray[np.float64]) -> Interval:
    """The value, first of `draws` (1 + draws,), with the 95 % interval of the others.

    No interval where more than a tenth of the draws is NaN: the rest would not stand for all.
    """
    others = draws[1:]
    if not others.size or np.isfinite(others).mean() < _USABLE_DRAWS:
        return Interval(float(draws[0]), _NAN, _NAN)
    low, high = percentile_interval(others)
    return Interval(float(draws[0]), float(low), float(high))
