"""What is found of one stay: its prediction, and the changes of its record that flip it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ehr_attack.attacks.charted import ChartedRecord
from ehr_attack.screening.changes import RecordChange


@dataclass(frozen=True)
class Entry:
    """A recorded value and what it becomes; feature: number of the variable; hours: since ICU admission.

    cell_size: how far the mean of its hour moves, as a share of the variable's scale.
    """

    feature: int
    hours: float
    value_before: float
    value_after: float
    size: float
    cell_size: float


@dataclass(frozen=True)
class Flip:
    """A change that flips the prediction; logits: of death, by each model, after it, (models,)."""

    entries: tuple[Entry, ...]
    logits: npt.NDArray[np.float64]

    @property
    def order(self) -> tuple[int, float]:
        """What comes first: fewer values, then the smaller sum of moves, in shares of the variables' scales."""
        return len(self.entries), sum(entry.size for entry in self.entries)


@dataclass(frozen=True)
class ScreenedStay:
    """One stay.

    folds: of the models that judged it; logits: of death, of the record as it is, by each model, (models,); n_values:
    recorded values inside the window; smallest: the smallest flip found, None: none was found; single: values that flip
    by themselves, the smallest moves first; n_single: how many there are; traces: hours and values, by the number of
    the variable, of what was recorded of the variables that `smallest` and `single` name.
    """

    stay_id: int
    folds: tuple[int, ...]
    n_hours: int
    n_values: int
    logits: npt.NDArray[np.float64]
    smallest: Flip | None
    single: tuple[Flip, ...]
    n_single: int
    traces: dict[int, list[tuple[float, float]]]

    @property
    def predicts_death(self) -> bool:
        """Whether the mean logit of death is above 0."""
        return bool(self.logits.mean() > 0)

    def agreeing(self, flip: Flip) -> int:
        """How many models predict, after the flip, the outcome that the mean of all then predicts."""
        return int(((flip.logits > 0) != self.predicts_death).sum())


def flip_of(change: RecordChange, logits: npt.NDArray[np.float64], record: ChartedRecord) -> Flip:
    """The change in clinical terms, its entries by time and variable."""
    events, place = record.events, change.place
    feature, hours, before = (part[change.stay, place] for part in (events.feature, events.hours, events.value))
    sizes, crowd = change.sizes(record), events.in_cell[change.stay, place]
    entries = [
        Entry(
            feature=int(feature[at]),
            hours=float(hours[at]),
            value_before=float(before[at]),
            value_after=float(change.value[at]),
            size=float(sizes[at]),
            cell_size=float(sizes[at] / crowd[at]),
        )
        for at in np.lexsort([feature, hours])
    ]
    return Flip(tuple(entries), logits)
