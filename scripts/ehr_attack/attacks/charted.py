"""What the changed values of a record could be as charted: whole steps, plausible, in the order that relations ask."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ehr_attack.attacks.events import Events
from ehr_attack.attacks.feasibility import SWEEPS, OrderRule, Rules, chosen_names, in_hours
from ehr_attack.preprocessing import Preprocessing
from ehr_attack.variables import Variable

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]
_Flags = npt.NDArray[np.bool_]
_NEAR = 0.01
"""A changed value within this share of a charted step is on it: the rest is noise of float32 points."""
_TIE = 1e-9
DECIMALS = 9
"""Values on the charted grid are written with so many decimals, so that 3 x 0.1 is 0.3."""


@dataclass(frozen=True)
class ChangedValues:
    """Recorded values that an attack changes, one entry each, sorted by row, time and feature.

    row, feature: int64; hours: float64, since ICU intime; value_before, value_after: float64, clinical units.
    """

    row: _Ints
    feature: _Ints
    hours: _Floats
    value_before: _Floats
    value_after: _Floats


@dataclass(frozen=True)
class ChartedRecord:
    """The recorded values of some stays with the rules for changing them; `mutable`: bool (stays, size)."""

    events: Events
    rules: Rules
    mutable: _Flags

    @classmethod
    def of(
        cls,
        preprocessing: Preprocessing,
        variables: Sequence[Variable],
        events: Events,
        mutable: str | Sequence[str],
        limits: Sequence[int] | None = None,
    ) -> "ChartedRecord":
        """The rules of a fold; mutable: `all` or `observed` (every recorded value), or a list of variable names.

        Never what a variable's row in variables.csv says is not mutable, nor a variable that training never saw, or
        never saw vary. limits: see `in_hours`. Raises UserError for an unknown variable.
        """
        names = [variable.name for variable in variables]
        free = np.isin(names, chosen_names(mutable, names)) & [variable.mutable for variable in variables]
        free_here = (free & preprocessing.varies)[events.feature] & in_hours(events.hour, limits)
        return cls(events, Rules.of(preprocessing, variables), events.real & free_here)

    @property
    def limits(self) -> tuple[_Floats, _Floats]:
        """The smallest and largest plausible value on the charted grid, each (features,)."""
        rules = self.rules
        low = np.floor(rules.low_exclusive / rules.precision + _TIE) + 1
        high = np.floor(rules.high_inclusive / rules.precision + _TIE)
        return np.round(low * rules.precision, DECIMALS), np.round(high * rules.precision, DECIMALS)

    def bounds(self) -> tuple[_Floats, _Floats]:
        """The smallest and the largest change of each value, scaled, each (stays, size); low <= 0 <= high."""
        events, scale = self.events, self.rules.scale[self.events.feature]
        low, high = ((limit[events.feature] - events.value) / scale for limit in self.limits)
        return np.where(self.mutable, low.clip(max=0.0), 0.0), np.where(self.mutable, high.clip(min=0.0), 0.0)

    def rounded(self, stays: _Ints, point: npt.NDArray[np.floating[Any]], outward: bool = False) -> _Floats:
        """The nearest feasible change of the recorded values, scaled, float64 (rows, size).

        stays: (rows,); point: (rows, size), scaled. A changed value lands on the charted grid (`outward`: on its next
        step away from the recorded value), inside the plausible range; where the recorded value itself, which need not
        be on the grid, is nearer, it stays. In every hour in which a changed value of a related pair lies, the relation
        holds between the hourly means of the two, if both were recorded there.
        """
        events, rules = self.events, self.rules
        before, feature = events.value[stays], events.feature[stays]
        step, scale = rules.precision[feature], rules.scale[feature]
        free = self.mutable[stays] & (point != 0)
        after = before + np.where(free, point, 0.0) * scale
        steps = np.where(free, after / step, 0.0)
        if outward:
            slack = rules.slack[feature]
            steps = np.where(point < 0, np.floor(steps + slack), np.ceil(steps - slack))
        else:
            steps = np.rint(steps)
        low, high = (limit[feature] for limit in self.limits)
        landed = np.clip(np.round(steps * step, DECIMALS), low, high)
        kept = free & (np.sign(landed - before) == np.sign(point)) & (np.abs(landed - before) > _NEAR * step)
        if not outward:
            kept &= np.abs(after - landed) <= np.abs(after - before)
        changed = np.where(kept, landed, before)
        self._settle(stays, changed)
        return np.where(events.real[stays], (changed - before) / scale, 0.0)

    def value_after(self, stays: _Ints, point: npt.NDArray[np.floating[Any]]) -> _Floats:
        """The recorded values changed by `point`, clinical units, (rows, size); decimals that the grid has not, cut."""
        before, feature = self.events.value[stays], self.events.feature[stays]
        after = before + point.astype(np.float64) * self.rules.scale[feature]
        on_grid = np.round(np.rint(after / self.rules.precision[feature]) * self.rules.precision[feature], DECIMALS)
        near = np.abs(after - on_grid) <= _NEAR * self.rules.precision[feature]
        return np.where(point == 0, before, np.where(near, on_grid, after))

    def changes(self, stays: _Ints, point: npt.NDArray[np.floating[Any]]) -> ChangedValues:
        """The values that `point` (rows, size) changes in the records of `stays` (rows,)."""
        events = self.events
        row, place = np.nonzero((point != 0) & events.real[stays])
        stay = stays[row]
        order = np.lexsort([events.feature[stay, place], events.hours[stay, place], row])
        row, place, stay = row[order], place[order], stay[order]
        return ChangedValues(
            row=row,
            feature=events.feature[stay, place],
            hours=events.hours[stay, place],
            value_before=events.value[stay, place],
            value_after=self.value_after(stays, point)[row, place],
        )

    def keeps_relations(self, stay: int, place: _Ints, value: _Floats) -> _Flags:
        """Bool (n,): in the hour of value number `place` of a stay, set to `value` alone, its relations hold.

        place, value: (n,), clinical units.
        """
        events = self.events
        holds = np.ones(len(place), dtype=bool)
        for relation in self.rules.relations:
            for own, other, sign in ((relation.larger, relation.smaller, 1), (relation.smaller, relation.larger, -1)):
                rows = np.flatnonzero(events.feature[stay, place] == own)
                hour = events.hour[stay, place[rows]]
                whole = np.array([stay])
                own_mean, other_mean = (
                    self._means(feature, whole, events.value[whole])[0, hour] for feature in (own, other)
                )
                moved = value[rows] - events.value[stay, place[rows]]
                own_mean = own_mean + moved / events.in_cell[stay, place[rows]]
                holds[rows] &= ~(sign * (own_mean - other_mean) <= relation.margin + _TIE)
        return holds

    def _settle(self, stays: _Ints, changed: _Floats) -> None:
        """Make the relations hold in the hours of changed values (rows, size), by moving changed ones, in place.

        As `Rules.enforce` does for cells: by the smallest sum of moves in scaled units, relation by relation, and by
        dropping the changes of both variables in that hour where this is nearer or nothing else is possible.
        """
        for _ in range(SWEEPS):
            moved = False
            for relation in self.rules.relations:
                for row, hour in self._breaches(relation, stays, changed):
                    self._part(relation, int(stays[row]), hour, changed[row])
                    moved = True
            if not moved:
                return
        dropped = True
        while dropped:  # Every drop leaves fewer changed values, so this ends.
            dropped = False
            for relation in self.rules.relations:
                for row, hour in self._breaches(relation, stays, changed):
                    self._drop(relation, int(stays[row]), hour, changed[row])
                    dropped = True

    def _breaches(self, relation: OrderRule, stays: _Ints, changed: _Floats) -> list[tuple[int, int]]:
        """Rows and hours in which a changed value's hourly mean is at odds with the other variable's."""
        events = self.events
        touched = np.zeros((len(stays), events.n_hours), dtype=bool)
        row, place = np.nonzero((changed != events.value[stays]) & events.real[stays])
        feature = events.feature[stays[row], place]
        pair = (feature == relation.larger) | (feature == relation.smaller)
        touched[row[pair], events.hour[stays[row], place][pair]] = True
        rows = np.flatnonzero(touched.any(axis=1))
        larger, smaller = (
            self._means(index, stays[rows], changed[rows]) for index in (relation.larger, relation.smaller)
        )
        with np.errstate(invalid="ignore"):
            wrong = touched[rows] & (larger - smaller <= relation.margin + _TIE)
        return [(int(rows[at]), int(hour)) for at, hour in np.argwhere(wrong)]

    def _means(self, feature: int, stays: _Ints, values: _Floats) -> _Floats:
        """Hourly means of one feature, (rows, hours), NaN where nothing was recorded."""
        events = self.events
        total, count = np.zeros((2, len(stays), events.n_hours))
        row, place = np.nonzero(events.real[stays] & (events.feature[stays] == feature))
        hour = events.hour[stays[row], place]
        np.add.at(total, (row, hour), values[row, place])
        np.add.at(count, (row, hour), 1.0)
        means: _Floats = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
        return means

    def _cell(self, stay: int, hour: int, feature: int) -> _Ints:
        """The places of the values of one cell."""
        events = self.events
        here = events.real[stay] & (events.hour[stay] == hour) & (events.feature[stay] == feature)
        return np.flatnonzero(here)

    def _drop(self, relation: OrderRule, stay: int, hour: int, values: _Floats) -> None:
        """Put the values of both variables in one hour back to what was recorded."""
        for feature in (relation.larger, relation.smaller):
            places = self._cell(stay, hour, feature)
            values[places] = self.events.value[stay, places]

    def _part(self, relation: OrderRule, stay: int, hour: int, values: _Floats) -> None:
        """Move the larger variable's changed values in one hour up, the smaller's down, until the relation holds."""
        rules, before = self.rules, self.events.value[stay]
        limits = {relation.larger: self.limits[1], relation.smaller: self.limits[0]}
        cells = {feature: self._cell(stay, hour, feature) for feature in limits}
        larger, smaller = (values[cells[feature]].mean() for feature in limits)
        lacking = relation.margin + _TIE - (larger - smaller)
        # A step moves the mean by step / count and the point by step / scale: cheapest mean first; of equal ones first
        # those that go back towards what was recorded.
        options = sorted(
            (len(cells[feature]) / rules.scale[feature], (values[place] > before[place]) == up, place, feature, up)
            for feature, up in ((relation.larger, True), (relation.smaller, False))
            for place in cells[feature]
            if values[place] != before[place]
        )
        cost = 0.0
        cost_of_dropping = sum(
            abs(values[place] - before[place]) / rules.scale[feature] for _, _, place, feature, _ in options
        )
        for _, _, place, feature, up in options:
            if lacking < 0:
                break
            step = rules.precision[feature]
            room = np.floor(abs(limits[feature][feature] - values[place]) / step + _TIE)
            count = len(cells[feature])
            steps = min(room, np.floor(lacking * count / step) + 1)
            values[place] = np.round(values[place] + (steps if up else -steps) * step, DECIMALS)
            lacking -= steps * step / count
            cost += steps * step / rules.scale[feature]
        if lacking >= 0 or cost > cost_of_dropping * (1 + _TIE):
            self._drop(relation, stay, hour, values)
