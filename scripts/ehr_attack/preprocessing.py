"""The fold-fitted preprocessing: imputation, winsorising and scaling to [0, 1], one object for every stage.

It is fitted on the training patients of a fold, stored with the checkpoint, and applied unchanged when training,
attacking and screening.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ehr_attack.errors import UserError

FloatArray = npt.NDArray[np.floating[Any]]

IMPUTATIONS = ("forward", "linear")
_WINSOR_PERCENTILES = (1.0, 99.0)


@dataclass(frozen=True)
class Preprocessing:
    """Imputation and scaling fitted on the training patients of one fold.

    `low`, `high`, `median`: float64 arrays (features,) in clinical units; the 1st and 99th percentile and the median
    of the observed training cells. `seen`: bool (features,), False for a variable never recorded in training, which
    is then constant for every stay.
    """

    imputation: str
    variable_names: tuple[str, ...]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    median: npt.NDArray[np.float64]
    seen: npt.NDArray[np.bool_]

    @classmethod
    def fit(cls, values: FloatArray, variable_names: Sequence[str], imputation: str) -> Self:
        """Fit on `values` (stays, hours, features), clinical units, NaN where nothing was recorded.

        Raises UserError for an unknown imputation.
        """
        if imputation not in IMPUTATIONS:
            raise UserError(
                f"features.imputation: {imputation!r} is unknown; expected one of {', '.join(IMPUTATIONS)}."
            )
        n_features = values.shape[-1]
        seen: npt.NDArray[np.bool_] = np.asarray(~np.isnan(values).all(axis=(0, 1)))
        low, high, median = np.zeros(n_features), np.ones(n_features), np.zeros(n_features)
        for feature in np.flatnonzero(seen):
            column = values[..., feature].astype(np.float64)
            recorded = column[~np.isnan(column)]
            low[feature], high[feature] = np.percentile(recorded, _WINSOR_PERCENTILES)
            median[feature] = np.median(recorded)
        return cls(imputation, tuple(variable_names), low, high, median, seen)

    @property
    def scale(self) -> npt.NDArray[np.float64]:
        """Clinical units of one scaled unit, (features,); 1 where a variable never varied in training."""
        span = self.high - self.low
        return np.where(span > 0, span, 1.0)

    @property
    def varies(self) -> npt.NDArray[np.bool_]:
        """Bool (features,): False for a variable that training never saw, or never saw vary."""
        return self.seen & (self.high > self.low)

    def apply(
        self, values: FloatArray, carry_in: FloatArray, n_hours: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        """Turn recorded hourly values into model inputs.

        values: (stays, hours, features), clinical units, NaN where nothing was recorded; carry_in: (stays, features),
        the last value before hour 0 or NaN; n_hours: (stays,), hours before the end of the stay. Returns float32
        (stays, hours, features) in [0, 1]; hours after the end of the stay are 0 and are to be masked.
        """
        filled = self.impute(values.astype(np.float64), carry_in.astype(np.float64))
        scaled = (np.clip(filled, self.low, self.high) - self.low) / self.scale
        ended = np.arange(values.shape[1])[None, :] >= n_hours[:, None]
        scaled[ended] = 0.0
        return scaled.astype(np.float32)

    def impute(self, values: npt.NDArray[np.float64], carry_in: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Fill what was not recorded; as `apply`, but float64 in clinical units, before winsorising and scaling."""
        with_carry = np.concatenate([carry_in[:, None, :], values], axis=1)
        filled = carry_forward(with_carry)
        if self.imputation == "linear":
            filled = interpolate(with_carry, filled)
        filled = np.where(self.seen & ~np.isnan(filled), filled, self.median)
        return filled[:, 1:, :]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and lists, for JSON."""
        return {
            "imputation": self.imputation,
            "variable_names": list(self.variable_names),
            "low": self.low.tolist(),
            "high": self.high.tolist(),
            "median": self.median.tolist(),
            "seen": self.seen.tolist(),
        }

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Self:
        """The inverse of `to_dict`. Raises KeyError when a part is missing, TypeError or ValueError for a wrong one."""
        loaded = cls(
            imputation=str(stored["imputation"]),
            variable_names=tuple(stored["variable_names"]),
            low=np.asarray(stored["low"], dtype=np.float64),
            high=np.asarray(stored["high"], dtype=np.float64),
            median=np.asarray(stored["median"], dtype=np.float64),
            seen=np.asarray(stored["seen"], dtype=np.bool_),
        )
        numbers = np.stack([loaded.low, loaded.high, loaded.median])
        if loaded.imputation not in IMPUTATIONS or not np.isfinite(numbers).all():
            raise ValueError("an unknown imputation, or limits that are not finite")
        if {array.shape for array in (loaded.low, loaded.seen)} != {(len(loaded.variable_names),)}:
            raise ValueError("not one limit a variable")
        return loaded


def carry_forward(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Fill each NaN of (stays, hours, features) with the last earlier value; leading NaN stay."""
    return np.take_along_axis(values, last_recorded(values).clip(0), axis=1)


def interpolate(values: npt.NDArray[np.float64], forward: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Fill each NaN of (stays, hours, features) on the line between its neighbours inside the window.

    `forward` is `carry_forward(values)`. After the last recorded value it is carried forward; before the first one
    it is carried backwards. Nothing after the window is known here, so nothing after it can leak in.
    """
    hours = values.shape[1]
    previous = last_recorded(values)
    following = (hours - 1) - last_recorded(values[:, ::-1])[:, ::-1]
    backward = np.take_along_axis(values, following.clip(max=hours - 1), axis=1)
    gap = np.where(following > previous, following - previous, 1)
    weight = (np.arange(hours)[None, :, None] - previous) / gap
    line = forward + (backward - forward) * weight
    filled = np.where(previous < 0, backward, np.where(following >= hours, forward, line))
    return np.where(np.isnan(values), filled, values)


def last_recorded(values: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Index of the last recorded hour at or before each hour; -1 where there is none."""
    hours = np.arange(values.shape[1])[None, :, None]
    return np.maximum.accumulate(np.where(np.isnan(values), -1, hours), axis=1)
