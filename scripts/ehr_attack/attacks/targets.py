"""Stays as an attack takes them: what of them is varied, what of that could be charted, and what it changes."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ehr_attack.attacks.charted import ChangedValues, ChartedRecord
from ehr_attack.attacks.feasibility import Rules
from ehr_attack.attacks.measurement_space import MeasurementSpace
from ehr_attack.attacks.rows import Victims
from ehr_attack.attacks.space import CellSpace
from ehr_attack.attacks.verification import Feasible, JudgedRows


@dataclass(frozen=True)
class Targets:
    """Stays to attack on one device; record: their recorded values, in modes that change these."""

    victims: Victims
    space: CellSpace | MeasurementSpace
    feasible: Feasible
    record: ChartedRecord | None = None

    @property
    def device(self) -> torch.device:
        """Where the victims are."""
        return self.victims.inputs.device

    def cells(self, rows: JudgedRows) -> npt.NDArray[np.float64]:
        """The changes of cells, scaled, (rows, hours, features): of recorded means where recorded values change."""
        stays, point = rows.found.stay.to(self.device), rows.point.to(self.device)
        changed: npt.NDArray[np.float64] = self.space.cell_delta(stays, point).cpu().numpy()
        return changed

    def changes(self, rows: JudgedRows) -> ChangedValues | None:
        """The changes of recorded values, in modes that make any."""
        if self.record is None:
            return None
        return self.record.changes(rows.found.stay.cpu().numpy(), rows.point.numpy())


def cell_targets(victims: Victims, rules: Rules) -> Targets:
    """Values of hours are varied; a feasible one is a whole number of charted units away."""
    shape = victims.inputs.shape[1:]
    inputs, mutable = victims.inputs.cpu().numpy(), victims.mutable.cpu().numpy()
    lowest, highest = rules.room(inputs)

    def feasible(stays: Tensor, point: Tensor, outward: bool) -> Tensor:
        rows = stays.cpu().numpy()
        room = lowest[rows], highest[rows]
        wanted = point.view(-1, *shape).cpu().numpy()
        enforced = rules.enforce(inputs[rows], wanted, mutable[rows], outward=outward, room=room)
        return torch.from_numpy(enforced).to(point.device).flatten(1)

    return Targets(victims, CellSpace(victims.inputs, victims.mutable), feasible)


def value_targets(victims: Victims, space: MeasurementSpace, record: ChartedRecord) -> Targets:
    """Recorded values are varied, imputation is run again on them; a feasible one lies on the charted grid."""

    def feasible(stays: Tensor, point: Tensor, outward: bool) -> Tensor:
        return torch.from_numpy(record.rounded(stays.cpu().numpy(), point.cpu().numpy(), outward)).to(point.device)

    return Targets(victims, space, feasible, record)
