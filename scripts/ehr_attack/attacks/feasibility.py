"""What a charted record could look like: box, plausible range, mutable cells, charted precision, relations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ehr_attack.errors import UserError
from ehr_attack.preprocessing import Preprocessing
from ehr_attack.relations import load_relations
from ehr_attack.variables import Variable

_Floats = npt.NDArray[np.float64]
SWEEPS = 4
"""How often all relations are settled in turn before what is still at odds is dropped."""


@dataclass(frozen=True)
class OrderRule:
    """Feature number `larger` lies above feature number `smaller` by more than `margin` clinical units."""

    larger: int
    smaller: int
    margin: float


@dataclass(frozen=True)
class Rules:
    """The rules of one fold, float64 arrays (features,).

    `low`, `scale` turn scaled into clinical units, as are all others; a value v is plausible when
    low_exclusive < v <= high_inclusive; `precision` is the charted step.
    """

    low: _Floats
    scale: _Floats
    precision: _Floats
    low_exclusive: _Floats
    high_inclusive: _Floats
    relations: tuple[OrderRule, ...] = ()

    @classmethod
    def of(cls, preprocessing: Preprocessing, variables: Sequence[Variable]) -> "Rules":
        """The rules for `variables` as scaled by a fold's preprocessing."""
        names = [variable.name for variable in variables]
        return cls(
            low=preprocessing.low,
            scale=preprocessing.scale,
            precision=np.array([variable.precision for variable in variables]),
            low_exclusive=np.array([variable.low_exclusive for variable in variables]),
            high_inclusive=np.array([variable.high_inclusive for variable in variables]),
            relations=tuple(
                OrderRule(names.index(relation.larger), names.index(relation.smaller), relation.margin)
                for relation in load_relations(variables)
            ),
        )

    @property
    def slack(self) -> _Floats:
        """Share of a charted unit, (features,), that is taken for float32 noise, not for a breach of a rule."""
        slack: _Floats = 1e-4 + 4 * float(np.finfo(np.float32).eps) * (self.scale + np.abs(self.low)) / self.precision
        return slack

    def enforce(
        self,
        inputs: npt.NDArray[np.float32],
        perturbation: npt.NDArray[np.floating[Any]],
        mutable: npt.NDArray[np.bool_],
        outward: bool = False,
        room: tuple[_Floats, _Floats] | None = None,
    ) -> _Floats:
        """The nearest feasible perturbation, in scaled units as float64 (rows, hours, features).

        inputs, perturbation, mutable: (rows, hours, features). Immutable cells do not change. The others change by
        whole charted units: the nearest number of them (`outward`: the next one away from zero), drawn back into the
        box [0, 1] and the plausible range; an input outside of these may stay or move towards them. Then every
        relation of which a variable has changed in an hour is made to hold there; see `_settle`. room: that of the
        inputs, where it is known (see `room`).
        """
        wanted = np.where(mutable, perturbation, 0.0).astype(np.float64) * (self.scale / self.precision)
        units = np.sign(wanted) * np.ceil(np.abs(wanted) - self.slack) if outward else np.rint(wanted)
        lowest, highest = self.room(inputs) if room is None else room
        np.clip(units, lowest, highest, out=units)
        if self.relations:
            self._settle(inputs.astype(np.float64) * self.scale + self.low, units, lowest, highest)
        feasible: _Floats = units * self.precision / self.scale + 0.0  # which turns -0 into 0
        return feasible

    def room(self, inputs: npt.NDArray[np.float32]) -> tuple[_Floats, _Floats]:
        """The fewest and the most charted units, each of the shape of `inputs`, by which a cell may change."""
        clinical = inputs.astype(np.float64) * self.scale
        into_box_low, into_box_high = -clinical, self.scale - clinical
        to_low, to_high = self.low_exclusive - self.low - clinical, self.high_inclusive - self.low - clinical
        lowest = np.maximum(
            np.ceil(into_box_low / self.precision - self.slack), np.floor(to_low / self.precision + self.slack) + 1
        )
        highest = np.floor(np.minimum(into_box_high, to_high) / self.precision + self.slack)
        return np.minimum(lowest, 0.0), np.maximum(highest, 0.0)

    def _settle(self, clinical: _Floats, units: _Floats, lowest: _Floats, highest: _Floats) -> None:
        """Make every relation hold where one of its variables has changed, by moving changed cells, in place.

        One relation by itself is settled at the smallest sum of moves in scaled units (when both variables are charted
        at the same step); relations that share a variable are settled in turn. Where it is nearer, or nothing else is
        possible, both changes are dropped: a pair that nobody touched is as it was charted.
        """
        for _ in range(SWEEPS):
            moved = [self._part(relation, clinical, units, lowest, highest) for relation in self.relations]
            if not any(moved):
                return
        # Every drop leaves fewer changed cells, so this ends.
        while any(self._drop(relation, clinical, units) for relation in self.relations):
            pass

    def _breaches(
        self, relation: OrderRule, clinical: _Floats, units: _Floats
    ) -> tuple[npt.NDArray[np.bool_], _Floats]:
        """Where a touched pair breaches `relation`, (rows, hours), and by how much it must at least be parted."""
        pair = [relation.larger, relation.smaller]
        larger, smaller = (clinical[..., index] + units[..., index] * self.precision[index] for index in pair)
        lacking = relation.margin + (self.slack * self.precision)[pair].max() - (larger - smaller)
        return (units[..., pair] != 0).any(axis=-1) & (lacking >= 0), lacking

    def _drop(self, relation: OrderRule, clinical: _Floats, units: _Floats) -> bool:
        wrong, _ = self._breaches(relation, clinical, units)
        units[..., relation.larger][wrong] = 0.0
        units[..., relation.smaller][wrong] = 0.0
        return bool(wrong.any())

    def _part(self, relation: OrderRule, clinical: _Floats, units: _Floats, lowest: _Floats, highest: _Floats) -> bool:
        """Part the pairs that breach `relation`, in place; False when there were none."""
        wrong, lacking = self._breaches(relation, clinical, units)
        if not wrong.any():
            return False
        lacking = lacking[wrong]
        up, down = units[..., relation.larger][wrong], units[..., relation.smaller][wrong]
        room = {
            relation.larger: np.where(up != 0, highest[..., relation.larger][wrong] - up, 0.0),
            relation.smaller: np.where(down != 0, down - lowest[..., relation.smaller][wrong], 0.0),
        }
        # A clinical unit of the variable with the larger scale is the smaller move in scaled units.
        first, second = sorted(room, key=lambda index: -self.scale[index])
        moves = {first: np.minimum(room[first], _units_above(lacking, self.precision[first]))}
        moves[second] = _units_above(lacking - moves[first] * self.precision[first], self.precision[second])
        step = self.precision / self.scale
        cost = moves[first] * step[first] + moves[second] * step[second]
        cost_of_dropping = np.abs(up) * step[relation.larger] + np.abs(down) * step[relation.smaller]
        drop = (moves[second] > room[second]) | (cost > cost_of_dropping * (1 + 1e-9))
        units[..., relation.larger][wrong] = np.where(drop, 0.0, up + moves[relation.larger])
        units[..., relation.smaller][wrong] = np.where(drop, 0.0, down - moves[relation.smaller])
        return True


def _units_above(amount: _Floats, precision: float) -> _Floats:
    """The fewest whole units that are more than `amount`; 0 where that is negative."""
    return np.where(amount < 0, 0.0, np.floor(amount / precision) + 1)


def mutable_cells(
    rule: str | Sequence[str],
    observed: npt.NDArray[np.bool_],
    n_hours: npt.NDArray[np.int64],
    preprocessing: Preprocessing,
    fixed: Sequence[str] = (),
    limits: Sequence[int] | None = None,
) -> npt.NDArray[np.bool_]:
    """Cells that a constrained attack may change, bool (stays, hours, features).

    rule: `all`, `observed` (cells with a recorded value), or a list of variable names; limits: see `in_hours`. Never
    the hours after the end of a stay, nor a variable that training never saw, nor one of `fixed`. Raises UserError for
    an unknown variable.
    """
    names = preprocessing.variable_names
    hours = np.arange(observed.shape[1])[None, :, None]
    chosen = preprocessing.seen & np.isin(names, chosen_names(rule, names)) & ~np.isin(names, list(fixed))
    cells = (hours < n_hours[:, None, None]) & in_hours(hours, limits) & chosen
    return cells & observed if rule == "observed" else cells


def chosen_names(rule: str | Sequence[str], names: Sequence[str]) -> Sequence[str]:
    """Those of `names` that `attack.mutable` says: all of them, or those it lists. Raises UserError for any other."""
    if isinstance(rule, str):
        return names
    if unknown := sorted(set(rule) - set(names)):
        raise UserError(
            f"attack.mutable: {', '.join(unknown)} is not a variable of this run; expected all, observed, or a list of "
            f"names out of {', '.join(names)}."
        )
    return rule


def in_hours(hours: npt.NDArray[np.int64], limits: Sequence[int] | None) -> npt.NDArray[np.bool_]:
    """Bool, of the shape of `hours`: which of them may change; limits: the first and the last such hour, None: all."""
    first, last = limits or (0, np.iinfo(np.int64).max)
    return np.asarray((hours >= first) & (hours <= last))
