"""What the generator plants: how strongly each variable shows the severity, and which hours decide.

Severity is a latent path of every stay (`severity.py`). A variable's standardised deviation from its usual
value is

    deviation = weight * severity + sqrt(1 - weight^2) * (a course of its own),

and death depends on severity alone, averaged over the hours of the window with the weights of
`planted_hours`. The two together are the truth that a recovered susceptibility can be compared with: a
variable of weight 0 carries nothing about the outcome, a larger absolute weight carries more, and the sign
says whether the sicker have higher or lower values.

A `Planted` truth takes the place of both: one variable decides, in some hours only, and no other tells of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ehr_attack.errors import UserError

SIGNALS = ("late", "early", "none")
WINDOW_HOURS = 48

PLANTED_WEIGHTS: Mapping[str, float] = MappingProxyType(
    {
        "heart_rate": 0.45,
        "sbp": -0.50,
        "dbp": -0.30,
        "temperature": 0.0,
        "resp_rate": 0.45,
        "spo2": -0.35,
        "lactate": 0.75,
        "paco2": 0.0,
        "ph": -0.55,
        "albumin": -0.30,
        "bicarbonate": -0.50,
        "calcium": 0.0,
        "creatinine": 0.45,
        "glucose": 0.0,
        "magnesium": 0.0,
        "potassium": 0.20,
        "sodium": 0.0,
        "bun": 0.60,
        "platelets": -0.35,
        "inr": 0.40,
    }
)
"""Correlation of each variable's deviation with severity at the same hour, in [-1, 1], whatever the signal.

Total and ionised calcium share a course, as do serum and whole-blood potassium. With the signal `none`
severity has no bearing on the outcome, so that no variable has any.
"""

_DECAY_HOURS = 7.0


@dataclass(frozen=True)
class Planted:
    """The one variable that decides, and the first and the last hour of the window in which it does."""

    variable: str
    first_hour: int
    last_hour: int

    @classmethod
    def of(cls, planted: Mapping[str, Any] | None) -> Self | None:
        """From the config's `synthetic.planted`: `variable` and `hours`, first and last; None for null.

        Raises UserError for an unknown variable or hours outside the window.
        """
        if planted is None:
            return None
        variable, (first, last) = str(planted["variable"]), planted["hours"]
        if variable not in PLANTED_WEIGHTS:
            raise UserError(
                f"synthetic.planted.variable: {variable!r} is no variable of the synthetic records; expected one of "
                f"{', '.join(PLANTED_WEIGHTS)}."
            )
        if not 0 <= first <= last < WINDOW_HOURS:
            raise UserError(
                f"synthetic.planted.hours: {[first, last]}; expected the first and the last hour that decide, out of "
                f"0 to {WINDOW_HOURS - 1}."
            )
        return cls(variable, int(first), int(last))


def check_signal(signal: str) -> None:
    """Raise UserError unless `signal` is one of SIGNALS."""
    if signal not in SIGNALS:
        raise UserError(
            f"synthetic.signal: {signal!r} is unknown; expected one of {', '.join(SIGNALS)}. "
            "Set it to one of these in config.yaml."
        )


def planted_hours(signal: str) -> npt.NDArray[np.float64]:
    """The weight of each hour's severity in the outcome: float64 (48,), summing to 1 (`none`: all 0).

    `late` weights grow towards hour 47 and `early` weights towards hour 0, e-fold in seven hours. Raises
    UserError for an unknown signal.
    """
    check_signal(signal)
    if signal == "none":
        return np.zeros(WINDOW_HOURS)
    falling = np.exp(-np.arange(WINDOW_HOURS) / _DECAY_HOURS)
    falling /= falling.sum()
    return falling[::-1].copy() if signal == "late" else falling
