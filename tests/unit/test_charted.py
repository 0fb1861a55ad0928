"""Rounding changed values to what could be charted, against hand-computed records and the rules in words."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ehr_attack.attacks.charted import ChartedRecord
from ehr_attack.attacks.events import events_of
from record_builder import NAMES, VARIABLES, made_up, preprocessing_of

SYSTOLIC, DIASTOLIC, PH, LACTATE = range(4)
PREPROCESSING = preprocessing_of("forward")
STAY = np.zeros(1, dtype=np.int64)


def record_of(*values, mutable="all"):
    """One stay; `values` are (hours, feature, value), in the order of the events."""
    hours, feature, value = (np.array(column) for column in zip(*values, strict=True))
    zeros = np.zeros(len(values), dtype=np.int64)
    events = events_of(zeros, hours * 1.0, feature, value * 1.0, n_stays=1, n_hours=9, n_features=len(NAMES))
    assert events.value[0].tolist() == value.tolist(), "values out of order"
    return ChartedRecord.of(PREPROCESSING, VARIABLES, events, mutable)


def rounded(record, *clinical, outward=False):
    """The values after rounding the given changes, both in clinical units."""
    scale = PREPROCESSING.scale[record.events.feature]
    point = record.rounded(STAY, np.array([clinical]) / scale, outward)
    return record.value_after(STAY, point)[0].tolist()


def test_a_changed_value_lands_on_the_charted_grid():
    record = record_of((0, SYSTOLIC, 120), (0, PH, 7.4), (1, LACTATE, 2.25))
    assert rounded(record, 3.4, 0.016, 0.22) == [123, 7.42, 2.5]
    assert rounded(record, 0.4, -0.004, 0.0) == [120, 7.4, 2.25]
    assert rounded(record, 3.4, 0.011, -0.2, outward=True) == [124, 7.42, 2.0]
    assert rounded(record, 3.0, 0.01, -0.25, outward=True) == [123, 7.41, 2.0]


def test_a_value_charted_between_two_steps_stays_where_it_is_nearer():
    record = record_of((0, LACTATE, 2.24))
    # 2.26 is nearer to 2.24 than to 2.3; 2.28 is not; and nothing ever moves against what was asked.
    assert rounded(record, 0.02) == [2.24]
    assert rounded(record, 0.04) == [2.3]
    assert rounded(record, 0.01, outward=True) == [2.3]
    assert rounded(record, -0.01, outward=True) == [2.2]


def test_values_stay_inside_the_plausible_range():
    record = record_of((0, SYSTOLIC, 120), (0, PH, 7.4), (1, LACTATE, 2.0))
    assert rounded(record, 900, 9, 99) == [400, 8.4, 50]
    # above 0, above 6.3, above 0
    assert rounded(record, -900, -9, -99) == [1, 6.31, 0.1]
    below_the_grid = record_of((1, LACTATE, 0.05))
    assert rounded(below_the_grid, -0.04) == [0.05]
    assert rounded(below_the_grid, -0.04, outward=True) == [0.05]


def test_only_mutable_values_change():
    record = record_of((0, SYSTOLIC, 120), (0, PH, 7.4), mutable=["ph"])
    assert rounded(record, 30, 0.1) == [120, 7.5]


def test_systolic_stays_above_diastolic_where_both_were_recorded():
    record = record_of((0, SYSTOLIC, 100), (0, DIASTOLIC, 90), (1, SYSTOLIC, 100), (2, DIASTOLIC, 90))
    assert rounded(record, -20, 0, -20, 0) == [91, 90, 80, 90]
    # A mmHg of the systolic is the smaller move, 1/120 against 1/80 of a scaled unit.
    assert rounded(record, -8, 5, 0, 20) == [96, 95, 100, 110]


def test_the_relation_is_that_of_the_hourly_means():
    record = record_of((0.2, SYSTOLIC, 100), (0.8, SYSTOLIC, 120), (0.5, DIASTOLIC, 90))
    # Means 110 and 90. To 60: mean 90, which is not above 90; one step more of this value parts them by half.
    assert rounded(record, -40, 0, 0) == [61, 120, 90]
    assert rounded(record, -40, -1, 0) == [62, 119, 90]


def test_values_charted_in_the_wrong_order_may_stay_or_be_put_in_order():
    record = record_of((0, SYSTOLIC, 80), (0, DIASTOLIC, 90))
    assert rounded(record, 0, 0) == [80, 90]
    # -3 would have to become -11; to drop it is nearer.
    assert rounded(record, 0, -3) == [80, 90]
    assert rounded(record, 0, -9) == [80, 79]


@settings(max_examples=60)
@given(
    seed=st.integers(0, 50),
    size=st.sampled_from([0.01, 0.1, 1.0, 5.0]),
    outward=st.booleans(),
    kind=st.sampled_from([np.float32, np.float64]),
)
def test_what_is_rounded_satisfies_every_rule_and_stays_put(seed, size, outward, kind):
    cohort = made_up(seed, "forward", stays=3, hours=6)
    record, events = cohort.record, cohort.events
    stays = np.array([1, 2, 2, 0, 1])
    random = np.random.default_rng(seed)
    point = (random.normal(size=(5, events.size)) * size * (random.random((5, events.size)) < 0.7)).astype(kind)
    found = record.rounded(stays, point, outward)
    after = record.value_after(stays, found)
    assert not found[(point == 0) | ~record.mutable[stays]].any()
    low, high = record.bounds()
    assert (found >= low[stays] - 1e-12).all() and (found <= high[stays] + 1e-12).all()
    for row, stay in enumerate(stays):
        changed = found[row] != 0
        for place in np.flatnonzero(changed):
            variable = VARIABLES[events.feature[stay, place]]
            steps = after[row, place] / variable.precision
            assert steps == pytest.approx(round(steps), abs=1e-6)
            assert variable.low_exclusive < after[row, place] <= variable.high_inclusive
        for hour in range(events.n_hours):
            cells = [events.real[stay] & (events.hour[stay] == hour) & (events.feature[stay] == f) for f in (0, 1)]
            if (cells[0] | cells[1])[changed].any() and cells[0].any() and cells[1].any():
                assert after[row, cells[0]].mean() > after[row, cells[1]].mean()
    assert np.array_equal(record.rounded(stays, found, outward), found)
    assert np.array_equal(record.rounded(stays, found.astype(np.float32), outward) != 0, found != 0)


@settings(max_examples=40)
@given(
    values=st.tuples(*[st.integers(60, 120)] * 2),
    wanted=st.tuples(*[st.one_of(st.just(0), st.integers(-60, 60))] * 2),
)
def test_a_pair_moves_no_further_than_the_slow_obvious_search(values, wanted):
    record = record_of((0, SYSTOLIC, values[0]), (0, DIASTOLIC, values[1]))
    after = rounded(record, *wanted)
    scale = PREPROCESSING.scale[:2]

    def distance(systolic, diastolic):
        moved = (systolic - values[0] - wanted[0], diastolic - values[1] - wanted[1])
        return abs(moved[0]) / scale[0] + abs(moved[1]) / scale[1]

    ranges = [range(1, 250) if change else [value] for value, change in zip(values, wanted, strict=True)]
    allowed = [pair for pair in itertools.product(*ranges) if pair[0] > pair[1]]
    assert distance(*after) == pytest.approx(min(distance(*pair) for pair in [*allowed, values]))


def test_the_changes_are_listed_with_time_and_both_values():
    record = record_of((0.5, SYSTOLIC, 120), (3.75, SYSTOLIC, 130), (3.25, PH, 7.4))
    scale = PREPROCESSING.scale[record.events.feature]
    point = np.array([[0, 0, 0], [4, -7, 0.03]]) / scale
    changes = record.changes(np.array([0, 0]), point.astype(np.float32))
    assert changes.row.tolist() == [1, 1, 1]
    assert changes.hours.tolist() == [0.5, 3.25, 3.75]
    assert [NAMES[feature] for feature in changes.feature] == ["sbp", "ph", "sbp"]
    assert changes.value_before.tolist() == [120, 7.4, 130]
    assert changes.value_after.tolist() == [124, 7.43, 123]
