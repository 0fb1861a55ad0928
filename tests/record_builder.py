"""Made-up recorded values of a few stays, with gaps, crowded hours, early ends and values beyond the percentiles."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ehr_attack.attacks.charted import ChartedRecord
from ehr_attack.attacks.events import Events, events_of
from ehr_attack.attacks.measurement_space import MeasurementSpace
from ehr_attack.preprocessing import Preprocessing
from ehr_attack.variables import Variable, load_variables

NAMES = ("sbp", "dbp", "ph", "lactate", "sodium")
VARIABLES: tuple[Variable, ...] = tuple(
    next(variable for variable in load_variables() if variable.name == name) for name in NAMES
)
LOW = np.array([60.0, 30.0, 7.0, 0.3, 140.0])
HIGH = np.array([180.0, 110.0, 7.6, 9.0, 140.0])
"""The last variable never varied in training."""


@dataclass(frozen=True)
class Cohort:
    """Recorded values, and all that `Preprocessing.apply` wants of the same stays."""

    preprocessing: Preprocessing
    events: Events
    values: npt.NDArray[np.float32]
    carry_in: npt.NDArray[np.float32]
    n_hours: npt.NDArray[np.int64]

    @property
    def record(self) -> ChartedRecord:
        """The record with every variable mutable."""
        return ChartedRecord.of(self.preprocessing, VARIABLES, self.events, "all")

    @property
    def space(self) -> MeasurementSpace:
        """The space of the recorded values."""
        return MeasurementSpace.of(self.preprocessing, self.record, self.values, self.carry_in, self.n_hours)


def preprocessing_of(imputation: str) -> Preprocessing:
    """Limits as if fitted; the fourth variable was never seen in training."""
    seen = np.array([True, True, True, True, True])
    return Preprocessing(imputation, NAMES, LOW, HIGH, (LOW + HIGH) / 2, seen)


def made_up(seed: int, imputation: str, stays: int = 5, hours: int = 9, unseen: bool = False) -> Cohort:
    """A random cohort; stay 0 has nothing recorded."""
    random = np.random.default_rng(seed)
    n_hours = random.integers(hours // 2, hours + 1, size=stays)
    columns: list[tuple[int, float, int, float]] = []
    for stay in range(1, stays):
        for feature in range(len(NAMES)):
            if random.random() < 0.15:
                continue
            for hour in np.flatnonzero(random.random(n_hours[stay]) < random.choice([0.15, 0.5, 0.9])):
                span = HIGH[feature] - LOW[feature]
                for _ in range(random.choice([1, 1, 1, 2, 4])):
                    value = random.uniform(LOW[feature] - 0.2 * span, HIGH[feature] + 0.2 * span)
                    decimals = round(-np.log10(VARIABLES[feature].precision))
                    minute = random.choice([0.0, 0.25, 0.5])
                    columns.append((stay, hour + minute, feature, round(value, decimals + random.choice([0, 0, 1]))))
    stay, when, feature, value = (np.array(column) for column in zip(*columns, strict=True))
    events = events_of(
        stay.astype(np.int64), when.astype(np.float64), feature.astype(np.int64), value.astype(np.float64),
        n_stays=stays, n_hours=hours, n_features=len(NAMES),
    )  # fmt: skip
    carry_in = np.where(random.random((stays, len(NAMES))) < 0.5, random.uniform(LOW, HIGH + 20), np.nan)
    preprocessing = preprocessing_of(imputation)
    if unseen:
        seen = np.array([True, True, True, False, True])
        limits = [np.where(seen, numbers, other) for numbers, other in ((LOW, 0), (HIGH, 1), (preprocessing.median, 0))]
        preprocessing = replace(preprocessing, low=limits[0], high=limits[1], median=limits[2], seen=seen)
    values = slow_means(events, events.value)
    return Cohort(preprocessing, events, values, carry_in.astype(np.float32), n_hours.astype(np.int64))


def slow_means(events: Events, value: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Hourly means of `value`, one cell at a time."""
    means = np.full((len(value), events.n_hours, events.n_features), np.nan)
    for stay, hour, feature in np.ndindex(means.shape):
        here = events.real[stay] & (np.floor(events.hours[stay]) == hour) & (events.feature[stay] == feature)
        if here.any():
            means[stay, hour, feature] = sum(value[stay, here].tolist()) / here.sum()
    return means.astype(np.float32)
