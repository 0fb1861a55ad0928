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
from ehr_attack.errors import UserError
from ehr_attack.imputation_links import ImputationLinks
from ehr_attack.preprocessing import Preprocessing

_Floats = npt.NDArray[np.float64]
Tables = dict[str, Tensor]
"""Per-stay arrays; the first axis is the stay."""


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
        self._linear = bool(links.weight_after.any())
        tables, self._levels = _tables(events, links, self._linear)
        tables |= {
            "base": torch.from_numpy(base).flatten(1),
            "low": torch.from_numpy(low).float(),
            "high": torch.from_numpy(high).float(),
        }
        if torch.device(device).type == "mps":  # It has no float64.
            tables = {name: table.float() if table.dtype == torch.float64 else table for name, table in tables.items()}
        self._stored = {name: table.contiguous().to(device) for name, table in tables.items()}
        self._held: tuple[Tensor, torch.dtype, Tables] | None = None

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
        varies = preprocessing.seen & (preprocessing.high > preprocessing.low)
        base[..., ~varies] = 0.0
        base[np.arange(base.shape[1])[None, :] >= n_hours[:, None]] = 0.0
        low, high = record.bounds()
        return cls(record.events, links, base, low, high, device)

    def features(self, stays: Tensor, point: Tensor) -> Tensor:
        """The scaled features (rows, hours, features) of the records changed by `point`, in its dtype, in [0, 1].

        At 0 they are those of `Preprocessing.apply`. Differentiable with respect to `point`.
        """
        return self._unclipped(self._rows(stays, point), point).clamp(0.0, 1.0).view(-1, *self.shape)

    def pull(self, stays: Tensor, point: Tensor, gradient: Tensor) -> Tensor:
        """The gradient (rows, size) with respect to `point`: the transpose of `features`' derivative, by hand.

        One exception: where a feature is winsorised it does not depend on the point, and its derivative is 0; here its
        gradient is let through if a step against it leads back to the values that make a difference. Without it no
        attack would ever move a value that lies beyond the training percentiles.
        """
        rows = self._rows(stays, point)
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
        return self._stored["low"][stays], self._stored["high"][stays]

    def cell_delta(self, stays: Tensor, point: Tensor) -> Tensor:
        """The change of the recorded hourly means (rows, hours, features), scaled; 0 in cells without a record."""
        rows = self._rows(stays, point)
        return self._changes(rows, point).gather(1, rows["own"]).view(-1, *self.shape)

    def _changes(self, rows: Tables, point: Tensor) -> Tensor:
        """Changes of the means of cells, by slot: of one value each, then 0, then of the cells with several values."""
        zero = point.new_zeros(len(point), 1)
        slots = torch.cat([point, zero], dim=1)
        if not self._levels:
            return slots
        total = slots.gather(1, rows["level_0"])
        for level in range(1, self._levels):
            here = rows[f"level_{level}"]
            more = slots.gather(1, here)
            total = torch.cat([total[:, : here.shape[1]] + more, total[:, here.shape[1] :]], dim=1)
        return torch.cat([slots, total * rows["crowded_share"]], dim=1)

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

    def _rows(self, stays: Tensor, point: Tensor) -> Tables:
        """The tables of `stays`, as the indices and floats that a step computes with.

        An engine asks for nearly the same rows again and again: only those that are new are looked up.
        """
        if torch.is_grad_enabled() and point.requires_grad:  # Tensors that autograd holds must not change.
            return self._looked_up(stays, point.dtype)
        held = self._held
        if held is None or held[1] != point.dtype or held[0].shape != stays.shape:
            self._held = held = (stays.clone(), point.dtype, self._looked_up(stays, point.dtype))
            return held[2]
        if held[0] is not stays:
            new = (held[0] != stays).nonzero().flatten()
            if len(new):
                held[0][new] = stays[new]
                for name, table in self._looked_up(stays[new], point.dtype).items():
                    held[2][name][new] = table
        return held[2]

    def _looked_up(self, stays: Tensor, dtype: torch.dtype) -> Tables:
        picked = {name: table[stays] for name, table in self._stored.items() if name not in ("low", "high")}
        return {name: table.long() if table.dtype == torch.int32 else table.to(dtype) for name, table in picked.items()}


def _tables(events: Events, links: ImputationLinks, linear: bool) -> tuple[Tables, int]:
    """The index tables of `MeasurementSpace`, and how many values the fullest cell has (0: none has more than one).

    A slot is the place of a cell's change in `_changes`: that of its value where it has one only, `size` (which holds
    0) where it has none, and one beyond where it has several. Those are sorted by their number of values, so that the
    r-th values of all cells that have as many are gathered at once, and summed in the order in which they are averaged.
    """
    n_stays, size = events.value.shape
    n_cells = events.n_hours * events.n_features
    crowded = (events.in_cell > 1) & (events.rank == 0)
    order = np.argsort(np.where(crowded, -events.in_cell, 0), axis=1, kind="stable")
    place = np.empty_like(order)
    np.put_along_axis(place, order, np.broadcast_to(np.arange(size), order.shape), axis=1)
    slot = np.where(crowded, size + 1 + place, np.arange(size))
    own = np.full((n_stays, n_cells), size)
    stay, first = np.nonzero(events.real & (events.rank == 0))
    own[stay, events.cell[stay, first]] = slot[stay, first]

    def slot_of(hour: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        cell = hour * events.n_features + np.arange(events.n_features)
        flat = cell.reshape(n_stays, n_cells)
        return np.where(hour.reshape(n_stays, n_cells) < 0, size, np.take_along_axis(own, flat.clip(0), axis=1))

    def reach(hour: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """How many cells are made of the cell of each value, by `hour`, their `before` or `after`."""
        stay, _, feature = np.nonzero(hour >= 0)
        made = np.zeros((n_stays, n_cells), dtype=np.int64)
        np.add.at(made, (stay, hour[hour >= 0] * events.n_features + feature), 1)
        return np.take_along_axis(made, events.cell, axis=1)

    # Cells made of a recorded one follow it in time, itself the first, or lead up to it.
    following = reach(links.before)
    arrays: dict[str, npt.NDArray[np.generic]] = {
        "own": own.astype(np.int32),
        "cell": events.cell.astype(np.int32),
        "run_end": (events.cell + following * events.n_features).astype(np.int32),
        "share": np.where(events.real & (following > 0), 1.0 / events.in_cell.clip(1), 0.0),
        "before": slot_of(links.before).astype(np.int32),
    }
    if linear:
        arrays |= {
            "after": slot_of(links.after).astype(np.int32),
            "lead_start": (events.cell - reach(links.after) * events.n_features).astype(np.int32),
            "weight_before": links.weight_before.reshape(n_stays, n_cells),
            "weight_after": links.weight_after.reshape(n_stays, n_cells),
        }
    levels = _levels(events, crowded, np.take_along_axis(own, events.cell, axis=1) - size - 1)
    return {name: torch.from_numpy(array) for name, array in (arrays | levels).items()}, max(0, len(levels) - 1)


def _levels(
    events: Events, crowded: npt.NDArray[np.bool_], place: npt.NDArray[np.int64]
) -> dict[str, npt.NDArray[np.generic]]:
    """Where the r-th value of each cell with several is, table `level_r`, and the shares by which their sum counts.

    crowded: bool (stays, size), the first values of these cells; place: int64, same shape, the number of such a cell.
    """
    n_stays, size = events.value.shape
    levels: dict[str, npt.NDArray[np.generic]] = {}
    several = events.in_cell > 1
    for rank in range(int(events.in_cell.max(initial=0)) if several.any() else 0):
        stay, position = np.nonzero(several & (events.rank == rank))
        table = np.full((n_stays, int(place[stay, position].max()) + 1), size, dtype=np.int32)
        table[stay, place[stay, position]] = position
        levels[f"level_{rank}"] = table
    if levels:
        stay, position = np.nonzero(crowded)
        share = np.zeros(levels["level_0"].shape)
        share[stay, place[stay, position]] = 1.0 / events.in_cell[stay, position]
        levels["crowded_share"] = share
    return levels
