"""The index tables of the measurement space: which recorded values make which cells, stay by stay.

Changes of recorded values are laid out in slots: first each value's own part in the change of its cell's mean, then a
0, which is the change of cells without a record, then sums of two slots each, round by round, until the change of every
cell is one slot. From these the cells of the imputed record are gathered.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ehr_attack.attacks.events import Events
from ehr_attack.imputation_links import ImputationLinks

_Floats = npt.NDArray[np.float64]
Tables = dict[str, Tensor]
"""Tables by name; the first axis is the row."""


@dataclass(frozen=True)
class _Held:
    """The tables of the rows that were asked for last: `tables` are views of `indices` and `numbers`."""

    stays: Tensor
    indices: Tensor
    numbers: Tensor
    tables: Tables


class RowTables:
    """The tables of some stays, looked up for rows.

    Indices: `own`, `before`, `after` (hours x features), slots of a cell itself and of the cells that it is imputed
    from; `cell`, `run_end`, `lead_start` (size), the cell of a value, and the ends of the runs of cells made of it,
    those that follow and those that lead up to it; `left_r`, `right_r`, slots to add in round r. Numbers: `base`,
    `weight_before`, `weight_after` (hours x features); `share` (size), one by the number of values in the cell, 0 in
    padding. `after`, `lead_start` and the weights are there only with `linear`.
    """

    def __init__(self, events: Events, links: ImputationLinks, base: _Floats, device: torch.device | str) -> None:
        """base: float64 (stays, hours, features); all of the same stays."""
        self.linear = bool(links.weight_after.any())
        indices, self.rounds = _indices(events, links, self.linear)
        numbers = {"base": base, "share": np.where(events.real, 1.0 / events.in_cell.clip(1), 0.0)}
        if self.linear:
            numbers |= {"weight_before": links.weight_before, "weight_after": links.weight_after}
        self._indices, self._index_columns = _side_by_side(indices)
        self._numbers, self._number_columns = _side_by_side(numbers)
        if torch.device(device).type == "mps":  # It has no float64.
            self._numbers = self._numbers.float()
        self._indices, self._numbers = self._indices.to(device), self._numbers.to(device)
        self._held: _Held | None = None

    def rows(self, stays: Tensor, point: Tensor) -> Tables:
        """The tables of `stays` (rows,), int64 and in the dtype of `point`; valid until the next call.

        An engine asks for nearly the same rows again and again: only those that are new are looked up.
        """
        if torch.is_grad_enabled() and point.requires_grad:  # Tensors that autograd holds must not change.
            return self._looked_up(stays, point.dtype).tables
        held = self._held
        if held is None or held.numbers.dtype != point.dtype or held.stays.shape != stays.shape:
            self._held = held = self._looked_up(stays.clone(), point.dtype)
        new = (held.stays != stays).nonzero().flatten()
        if len(new):
            chosen = stays[new]
            held.stays[new] = chosen
            held.indices[new] = self._indices[chosen].long()
            held.numbers[new] = self._numbers[chosen].to(point.dtype)
        return held.tables

    def _looked_up(self, stays: Tensor, dtype: torch.dtype) -> _Held:
        indices, numbers = self._indices[stays].long(), self._numbers[stays].to(dtype)
        tables = {name: indices[:, columns] for name, columns in self._index_columns.items()}
        tables |= {name: numbers[:, columns] for name, columns in self._number_columns.items()}
        return _Held(stays, indices, numbers, tables)


def _side_by_side(arrays: Mapping[str, npt.NDArray[np.generic]]) -> tuple[Tensor, dict[str, slice]]:
    """Arrays (stays, ...) as one table (stays, columns), looked up at once, and the columns of each."""
    flat = {name: array.reshape(len(array), math.prod(array.shape[1:])) for name, array in arrays.items()}
    ends = np.cumsum([part.shape[1] for part in flat.values()]).tolist()
    columns = {name: slice(end - part.shape[1], end) for (name, part), end in zip(flat.items(), ends, strict=True)}
    return torch.from_numpy(np.concatenate(list(flat.values()), axis=1)), columns


def _indices(events: Events, links: ImputationLinks, linear: bool) -> tuple[dict[str, npt.NDArray[np.int32]], int]:
    """The index tables by name, and in how many rounds the changes in a cell are added up."""
    n_stays, size = events.value.shape
    n_cells = events.n_hours * events.n_features
    own = np.full((n_stays, n_cells), size)
    rounds = _summing(events, own)

    def slot_of(hour: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
        cell = (hour * events.n_features + np.arange(events.n_features)).reshape(n_stays, n_cells)
        slot = np.where(cell < 0, size, np.take_along_axis(own, cell.clip(0), axis=1))
        return slot.astype(np.int32)

    def reach(hour: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """How many cells are made of the cell of each value, by `hour`, their `before` or `after`."""
        stay, _, feature = np.nonzero(hour >= 0)
        made = np.zeros((n_stays, n_cells), dtype=np.int64)
        np.add.at(made, (stay, hour[hour >= 0] * events.n_features + feature), 1)
        return np.take_along_axis(made, events.cell, axis=1)

    # Cells made of a recorded one follow it in time, itself the first, or lead up to it.
    arrays = {
        "own": own.astype(np.int32),
        "cell": events.cell.astype(np.int32),
        "run_end": (events.cell + reach(links.before) * events.n_features).astype(np.int32),
        "before": slot_of(links.before),
    }
    if linear:
        arrays |= {
            "after": slot_of(links.after),
            "lead_start": (events.cell - reach(links.after) * events.n_features).astype(np.int32),
        }
    for number, (left, right) in enumerate(rounds):
        arrays |= {f"left_{number}": left, f"right_{number}": right}
    return arrays, len(rounds)


def _summing(events: Events, own: npt.NDArray[np.int64]) -> list[tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]]:
    """Slots to add, left and right, each (stays, sums), round by round; writes the slot of each recorded cell in `own`.

    In a round the slots of a cell are added in pairs; the last of an odd number is paired with the 0. So a cell with n
    values takes log2(n) rounds, and all cells together no more sums than there are values.
    """
    n_stays, size = events.value.shape
    stay, slot = np.nonzero(events.real)
    cell, place, count = events.cell[stay, slot], events.rank[stay, slot], events.in_cell[stay, slot]
    rounds: list[tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]] = []
    width = size + 1
    while True:
        done = count == 1
        own[stay[done], cell[done]] = slot[done]
        stay, slot, cell, place, count = (part[~done] for part in (stay, slot, cell, place, count))
        if not len(stay):
            return rounds
        has_next = place + 1 < count
        following = np.where(has_next, np.roll(slot, -1), size)
        left = place % 2 == 0
        stay, cell, place, count = stay[left], cell[left], place[left] // 2, (count[left] + 1) // 2
        first_of_stay = np.searchsorted(stay, stay)
        number = np.arange(len(stay)) - first_of_stay
        tables = np.full((2, n_stays, int(number.max()) + 1), size, dtype=np.int32)
        tables[:, stay, number] = slot[left], following[left]
        rounds.append((tables[0], tables[1]))
        slot = width + number
        width += tables.shape[2]
