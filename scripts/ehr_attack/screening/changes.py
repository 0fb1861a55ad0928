"""A change of one stay's record: which recorded values, and what they become."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ehr_attack.attacks.charted import ChartedRecord

_NEAR = 0.01
_DECIMALS = 9


@dataclass(frozen=True)
class RecordChange:
    """stay: position in its batch; place: int64 (k,), of the recorded values; value: float64 (k,), clinical units."""

    stay: int
    place: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]

    @classmethod
    def none(cls, stay: int) -> "RecordChange":
        """The record of `stay` as it is."""
        return cls(stay, np.empty(0, dtype=np.int64), np.empty(0))

    def without(self, index: int) -> "RecordChange":
        """All changes but number `index`."""
        return replace(self, place=np.delete(self.place, index), value=np.delete(self.value, index))

    def with_value(self, index: int, value: float) -> "RecordChange":
        """The same with another value at number `index`."""
        changed = self.value.copy()
        changed[index] = value
        return replace(self, value=changed)

    def sizes(self, record: ChartedRecord) -> npt.NDArray[np.float64]:
        """How far each value moves, as a share of the scale of its variable, (k,)."""
        before, feature = record.events.value[self.stay, self.place], record.events.feature[self.stay, self.place]
        moved: npt.NDArray[np.float64] = np.abs(self.value - before) / record.rules.scale[feature]
        return moved

    def steps_between(self, index: int, record: ChartedRecord) -> int:
        """How many charted values lie strictly between what was recorded and value number `index`."""
        before, _, step = self._of(index, record)
        return max(0, int(np.floor(abs(self.value[index] - before) / step - _NEAR)))

    def nearer_by(self, steps: int, index: int, record: ChartedRecord) -> "RecordChange":
        """The same with value number `index` so many charted steps nearer to what was recorded."""
        before, _, step = self._of(index, record)
        value = self.value[index] - np.sign(self.value[index] - before) * steps * step
        return self.with_value(index, round(float(np.rint(value / step) * step), _DECIMALS))

    def _of(self, index: int, record: ChartedRecord) -> tuple[float, int, float]:
        """What was recorded, the number of its variable, and its charted step."""
        feature = int(record.events.feature[self.stay, self.place[index]])
        before = float(record.events.value[self.stay, self.place[index]])
        return before, feature, float(record.rules.precision[feature])


def change_at(stay: int, point: npt.NDArray[np.float64], record: ChartedRecord) -> RecordChange:
    """The change that a feasible `point` (size,) makes in the record of `stay`."""
    place = np.flatnonzero((point != 0) & record.events.real[stay])
    return RecordChange(stay, place, record.value_after(np.array([stay]), point[None])[0, place])
