"""What a charted record could look like: box, mutable cells, charted precision, systolic above diastolic."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ehr_attack.errors import UserError
from ehr_attack.preprocessing import Preprocessing
from ehr_attack.variables import Variable

_Floats = npt.NDArray[np.float64]
_SYSTOLIC, _DIASTOLIC = "sbp", "dbp"
_ROUNDING_SLACK = 1e-4
"""Share of a charted unit that is taken for float32 noise of the inputs, not for a breach of a rule."""


@dataclass(frozen=True)
class Rules:
    """The rules of one fold: `low`, `scale` (features,) turn scaled into clinical units, as is `precision`."""

    low: _Floats
    scale: _Floats
    precision: _Floats
    systolic: int | None
    diastolic: int | None

    @classmethod
    def of(cls, preprocessing: Preprocessing, variables: Sequence[Variable]) -> "Rules":
        """The rules for `variables` as scaled by a fold's preprocessing."""
        names = [variable.name for variable in variables]
        return cls(
            low=preprocessing.low,
            scale=preprocessing.scale,
            precision=np.array([variable.precision for variable in variables]),
            systolic=names.index(_SYSTOLIC) if _SYSTOLIC in names else None,
            diastolic=names.index(_DIASTOLIC) if _DIASTOLIC in names else None,
        )

    def enforce(
        self,
        inputs: npt.NDArray[np.float32],
        perturbation: npt.NDArray[np.float32],
        mutable: npt.NDArray[np.bool_],
    ) -> _Floats:
        """The nearest feasible perturbation, rule by rule, in scaled units as float64 (rows, hours, features).

        inputs, perturbation, mutable: (rows, hours, features). Changes of immutable cells are dropped; changes are
        rounded to whole charted units and drawn back into the box [0, 1] by whole units; where a change would put
        the systolic pressure at or below the diastolic one, both keep their old values in that hour.
        """
        changes = np.where(mutable, perturbation, 0.0).astype(np.float64) * self.scale
        units = np.rint(changes / self.precision)
        clinical = inputs.astype(np.float64) * self.scale
        room_up = (self.scale - clinical) / self.precision
        room_down = -clinical / self.precision
        units = np.clip(units, np.ceil(room_down - _ROUNDING_SLACK), np.floor(room_up + _ROUNDING_SLACK))
        changes = units * self.precision
        self._keep_pressures_in_order(clinical + self.low, changes)
        return changes / self.scale

    def _keep_pressures_in_order(self, clinical: _Floats, changes: _Floats) -> None:
        if self.systolic is None or self.diastolic is None:
            return
        pair = [self.systolic, self.diastolic]
        systolic, diastolic = (clinical[..., index] + changes[..., index] for index in pair)
        slack = _ROUNDING_SLACK * self.precision[self.systolic]
        wrong = (changes[..., pair] != 0).any(axis=-1) & (systolic <= diastolic + slack)
        changes[wrong[..., None] & np.isin(np.arange(changes.shape[-1]), pair)] = 0.0


def mutable_cells(
    rule: str | Sequence[str],
    observed: npt.NDArray[np.bool_],
    n_hours: npt.NDArray[np.int64],
    preprocessing: Preprocessing,
    fixed: Sequence[str] = (),
) -> npt.NDArray[np.bool_]:
    """Cells that a constrained attack may change, bool (stays, hours, features).

    rule: `all`, `observed` (cells with a recorded value), or a list of variable names. Never the hours after the
    end of a stay, nor a variable that training never saw, nor one of `fixed`. Raises UserError for an unknown
    variable.
    """
    names = preprocessing.variable_names
    hours = np.arange(observed.shape[1])[None, :, None]
    cells = (hours < n_hours[:, None, None]) & preprocessing.seen & ~np.isin(names, list(fixed))
    if rule == "observed":
        return cells & observed
    if rule == "all":
        return cells & np.ones_like(observed)
    unknown = sorted(set(rule) - set(names))
    if unknown:
        raise UserError(
            f"attack.mutable: {', '.join(unknown)} is not a variable of this run; expected all, observed, or a list of "
            f"names out of {', '.join(names)}."
        )
    return cells & np.isin(names, list(rule)) & np.ones_like(observed)
