"""The imputation as a linear map: from which recorded cells, and with which weights, every imputed cell is made."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ehr_attack.preprocessing import Preprocessing, last_recorded


@dataclass(frozen=True)
class ImputationLinks:
    """Imputed value of a cell = constant + weight_before x value at `before` + weight_after x value at `after`.

    Arrays are (stays, hours, features). before, after: int64, hour of a recorded cell of the same feature, -1 where
    there is none (a weight is 0 there); weight_before, weight_after: float64. Forward imputation has no `after`. What
    was carried in from before hour 0, and the training median, are constants.
    """

    before: npt.NDArray[np.int64]
    after: npt.NDArray[np.int64]
    weight_before: npt.NDArray[np.float64]
    weight_after: npt.NDArray[np.float64]

    @classmethod
    def of(
        cls,
        preprocessing: Preprocessing,
        values: npt.NDArray[np.floating[Any]],
        carry_in: npt.NDArray[np.floating[Any]],
        n_hours: npt.NDArray[np.int64],
    ) -> "ImputationLinks":
        """The links of `Preprocessing.apply` with the same arguments.

        A cell that `apply` gives the same value whatever was recorded has none: those of a variable that training
        never saw, or never saw vary, and the hours after the end of the stay.
        """
        with_carry = np.concatenate([carry_in[:, None, :], values], axis=1)
        slots = with_carry.shape[1]
        slot = np.arange(slots)[None, :, None]
        # Slot 0 is what was carried in, slot h + 1 is hour h.
        before = last_recorded(with_carry)
        after = (slots - 1) - last_recorded(with_carry[:, ::-1])[:, ::-1]
        has_before, has_after = before >= 0, after < slots
        if preprocessing.imputation == "forward":
            weight_after = np.zeros(with_carry.shape)
        else:
            gap = np.where(after > before, after - before, 1)
            between = np.where(has_before, (slot - before) / gap, 1.0)
            weight_after = np.where(has_after, between, 0.0)
        weight_before = np.where(has_before, 1.0 - weight_after, 0.0)
        ended = np.arange(values.shape[1])[None, :, None] >= n_hours[:, None, None]
        constant = ended | ~preprocessing.varies

        def linked(hour: npt.NDArray[np.int64], weight: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
            reached: npt.NDArray[np.bool_] = (hour[:, 1:] > 0) & (hour[:, 1:] < slots) & (weight[:, 1:] > 0) & ~constant
            return reached

        kept_before, kept_after = linked(before, weight_before), linked(after, weight_after)
        return cls(
            before=np.where(kept_before, before[:, 1:] - 1, -1),
            after=np.where(kept_after, after[:, 1:] - 1, -1),
            weight_before=np.where(kept_before, weight_before[:, 1:], 0.0),
            weight_after=np.where(kept_after, weight_after[:, 1:], 0.0),
        )
