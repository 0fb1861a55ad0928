"""The measurement-level attack: what varies is the recorded values; the hourly means and the imputation follow.

Between the recorded values and the model lie the mean over an hour, imputation, winsorising and scaling, all fitted on
the fold's training patients. All but the winsorising is linear, so at a change `point` of the recorded values the model
sees clip(base + weights x changes of the cells' means), where `base` is what it sees of the record itself.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ehr_attack.attacks.charted import ChartedRecord
from ehr_attack.attacks.events import Events
from ehr_attack.attacks.measurement_tables import RowTables, Tables
from ehr_attack.errors import UserError
from ehr_attack.imputation_links import ImputationLinks
from ehr_attack.preprocessing import Preprocessing

_Floats = npt.NDArray[np.float64]


class MeasurementSpace:
    """One number a recorded value: its change, as a share of the scale of its variable (an `attacks.space.Space`).

    `size` is the number of values of the stay that has the most; a stay with fewer, or none, is padded with values
    that nothing depends on and whose bounds are 0. Masks and times of the model's other channels do not change: a
    changed value stays where it was charted.
    """

    def __init__(
        self,
        events: Events,
        links: ImputationLinks,
        base: _Floats,
        low: _Floats,
        high: _Floats,
        device: torch.device | str = "cpu",
    ) -> None:
        """events, links, base of the same stays; base: float64 (stays, hours, features), scaled, before the clip.

        low, high: float64 (stays, size), the smallest and largest change of each value, scaled; 0 where immutable.
        """
        self.size = events.size
        self.shape = (events.n_hours, events.n_features)
        self._tables = RowTables(events, links, base, device)
        self._linear, self._rounds = self._tables.linear, self._tables.rounds
        self._low, self._high = (torch.from_numpy(limit).float().to(device) for limit in (low, high))

    @classmethod
    def of(
        cls,
        preprocessing: Preprocessing,
        record: ChartedRecord,
        values: npt.NDArray[np.floating[Any]],
        carry_in: npt.NDArray[np.floating[Any]],
        n_hours: npt.NDArray[np.int64],
        device: torch.device | str = "cpu",
    ) -> "MeasurementSpace":
        """The space of the stays of `record`, whose hourly means are `values`; these as for `Preprocessing.apply`.

        Raises UserError when `values` are not the means of the recorded values: the two come from different runs.
        """
        means = record.events.means().astype(np.float32)
        if not np.array_equal(means, values.astype(np.float32), equal_nan=True):
            raise UserError(
                "features and measurements do not belong together: the hourly means of the recorded values are not "
                "the features. Delete the run's extract and features folders and run snakemake again."
            )
        links = ImputationLinks.of(preprocessing, values, carry_in, n_hours)
        filled = preprocessing.impute(values.astype(np.float64), carry_in.astype(np.float64))
        base = (filled - preprocessing.low) / preprocessing.scale
        base[..., ~preprocessing.varies] = 0.0
        base[np.arange(base.shape[1])[None, :] >= n_hours[:, None]] = 0.0
        low, high = record.bounds()
        return cls(record.events, links, base, low, high, device)

    def features(self, stays: Tensor, point: Tensor) -> Tensor:
        """The scaled features (rows, hours, features) of the records changed by `point`, in its dtype, in [0, 1].

        At 0 they are those of `Preprocessing.apply`. Differentiable with respect to `point`.
        """
        return self._unclipped(self._tables.rows(stays, point), point).clamp(0.0, 1.0).view(-1, *self.shape)

    def pull(self, stays: Tensor, point: Tensor, gradient: Tensor) -> Tensor:
        """The gradient (rows, size) with respect to `point`: the transpose of `features`' derivative, by hand.

        One exception: where a feature is winsorised it does not depend on the point, and its derivative is 0; here its
        gradient is let through if a step against it leads back to the values that make a difference. Without it no
        attack would ever move a value that lies beyond the training percentiles.
        """
        rows = self._tables.rows(stays, point)
        unclipped = self._unclipped(rows, point)
        beyond = unclipped - unclipped.clamp(0.0, 1.0)
        flat = gradient.flatten(1)
        passed = torch.where(beyond * flat < 0, 0.0, flat)
        if not self._linear:
            return (self._sums(passed, rows["run_end"], rows["cell"]) * rows["share"]).to(point.dtype)
        total = self._sums(passed * rows["weight_before"], rows["run_end"], rows["cell"])
        total += self._sums(passed * rows["weight_after"], rows["cell"], rows["lead_start"])
        return (total * rows["share"]).to(point.dtype)

    def bounds(self, stays: Tensor) -> tuple[Tensor, Tensor]:
        """The smallest and the largest change of each value, each (rows, size), scaled; 0 where nothing may change."""
        return self._low[stays], self._high[stays]

    def cell_delta(self, stays: Tensor, point: Tensor) -> Tensor:
        """The change of the recorded hourly means (rows, hours, features), scaled; 0 in cells without a record."""
        rows = self._tables.rows(stays, point)
        return self._changes(rows, point).gather(1, rows["own"]).view(-1, *self.shape)

    def _changes(self, rows: Tables, point: Tensor) -> Tensor:
        """Changes of the means of cells, by slot: parts of one value each, then 0, then sums of these."""
        slots = torch.cat([point * rows["share"], point.new_zeros(len(point), 1)], dim=1)
        for number in range(self._rounds):
            pairs = slots.gather(1, rows[f"left_{number}"]) + slots.gather(1, rows[f"right_{number}"])
            slots = torch.cat([slots, pairs], dim=1)
        return slots

    def _unclipped(self, rows: Tables, point: Tensor) -> Tensor:
        """Features before winsorising, (rows, hours x features)."""
        changes = self._changes(rows, point)
        if not self._linear:
            return rows["base"] + changes.gather(1, rows["before"])
        return (
            rows["base"]
            + rows["weight_before"] * changes.gather(1, rows["before"])
            + rows["weight_after"] * changes.gather(1, rows["after"])
        )

    def _sums(self, gradient: Tensor, end: Tensor, start: Tensor) -> Tensor:
        """Sums (rows, size) of the gradients of imputed cells (rows, hours x features) over runs of hours.

        end, start: (rows, size), cells of one feature; a run goes from its start to the hour before its end. As
        differences of running totals, in float64: exact to the rounding of float32, and the same in any order of rows.
        """
        by_hour = torch.nn.functional.pad(gradient.view(-1, *self.shape), (0, 0, 1, 0))
        if by_hour.device.type == "cpu":
            totals = by_hour.cumsum(1, dtype=torch.float64)
        else:  # A running total is not deterministic on a GPU, a product is.
            wide = by_hour if by_hour.device.type == "mps" else by_hour.double()
            totals = torch.matmul(wide.new_ones(wide.shape[1], wide.shape[1]).tril(), wide)
        flat = totals.flatten(1)
        return flat.gather(1, end) - flat.gather(1, start)
