"""The null cohort: hours in random order, and nothing else changed."""

import numpy as np
import pandas as pd
import pytest

from ehr_attack.attacks.events import load_events
from ehr_attack.feature_tensor import load_tensor
from ehr_attack.features import build_features
from ehr_attack.null_cohort import null_models
from ehr_attack.null_cohort.shuffling import shuffle_cohort, shuffled_hours
from ehr_attack.schemas.cohort import MEASUREMENTS, STAYS
from ehr_attack.storage import file_digest, read_frame, read_parquet, write_frame
from verdict_builder import blank

NAMES = ("heart_rate", "lactate", "ph")
WINDOW, CARRY_IN = 12, 6
STAY_COUNT = 30


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """30 stays of 5 to 20 hours, with values before hour 0 and after the end, and several in one hour."""
    folder, random = tmp_path_factory.mktemp("original"), np.random.default_rng(0)
    stays = blank(STAYS, STAY_COUNT).assign(stay_id=np.arange(STAY_COUNT) + 100)
    for name in ("intime", "outtime"):
        stays[name] = pd.Timestamp("2100-01-01")
    stays["hours_observable"] = random.integers(5, 21, STAY_COUNT)
    rows = 2000
    measurements = pd.DataFrame(
        {
            "stay_id": random.integers(100, 100 + STAY_COUNT, rows),
            "hours": random.integers(-8 * 60, 25 * 60, rows) / 60,
            "variable": random.choice(NAMES, rows),
            "value": random.normal(size=rows),
        }
    )
    write_frame(stays, folder / "stays.parquet", STAYS)
    write_frame(measurements, folder / "measurements.parquet", MEASUREMENTS)
    return folder


def shuffled(original, folder):
    folder.mkdir(exist_ok=True)
    shuffle_cohort(
        stays=original / "stays.parquet", measurements=original / "measurements.parquet", variable_names=NAMES,
        carry_in_hours=CARRY_IN, window_hours=WINDOW, out_measurements=folder / "measurements.parquet",
        out_features=folder / "features.parquet",
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def null(original, tmp_path_factory):
    return shuffled(original, tmp_path_factory.mktemp("null"))


def test_hours_are_permuted_within_each_stay():
    n_hours = np.array([4, 1, 0, 6])
    new = shuffled_hours(n_hours, 6)
    for row, count in zip(new, n_hours, strict=True):
        assert sorted(row[:count]) == list(range(count))
        assert (row[count:] == -1).all()


def test_every_hour_goes_everywhere_equally_often():
    new = shuffled_hours(np.full(6000, 5), 5)
    shares = np.stack([(new == hour).mean(axis=0) for hour in range(5)])
    np.testing.assert_allclose(shares, 0.2, atol=4 * np.sqrt(0.16 / 6000))


def test_features_are_those_of_the_record_in_the_new_order(original, null, tmp_path):
    build_features(
        stays=original / "stays.parquet", measurements=original / "measurements.parquet", variable_names=NAMES,
        carry_in_hours=CARRY_IN, window_hours=WINDOW, out=tmp_path / "features.parquet",
    )  # fmt: skip
    before, after = (load_tensor(folder / "features.parquet", NAMES, WINDOW) for folder in (tmp_path, null))
    np.testing.assert_array_equal(after.stay_ids, before.stay_ids)
    np.testing.assert_array_equal(after.n_hours, before.n_hours)
    np.testing.assert_array_equal(after.carry_in, before.carry_in)
    assert not np.array_equal(after.values, before.values, equal_nan=True)
    new = shuffled_hours(before.n_hours, WINDOW)
    for stay in range(STAY_COUNT):
        for hour in range(WINDOW):
            if hour < before.n_hours[stay]:
                np.testing.assert_array_equal(after.values[stay, new[stay, hour]], before.values[stay, hour])
            else:
                assert np.isnan(after.values[stay, hour]).all()


def test_measurements_keep_their_minute_and_values(original, null):
    before, after = (read_frame(folder / "measurements.parquet") for folder in (original, null))
    written = read_parquet(null / "measurements.parquet").schema
    assert (written.names, written.types) == (MEASUREMENTS.names, MEASUREMENTS.types)
    ends = read_frame(original / "stays.parquet").set_index("stay_id")["hours_observable"].clip(upper=WINDOW)
    key = ["stay_id", "variable", "value"]
    both = before.merge(after, on=key, validate="one_to_one", suffixes=("", "_new"))
    assert len(both) == len(before) == len(after)
    inside = (both["hours"] >= 0) & (both["hours"] < both["stay_id"].map(ends))
    np.testing.assert_array_equal(both.loc[~inside, "hours"], both.loc[~inside, "hours_new"])
    np.testing.assert_allclose(both["hours"] % 1, both["hours_new"] % 1, atol=1e-9)
    moved = np.floor(both.loc[inside, "hours"]) != np.floor(both.loc[inside, "hours_new"])
    assert moved.mean() > 0.7


def test_recorded_values_and_features_belong_together_to_the_last_bit(null):
    """Modes that change recorded values ask for it."""
    tensor = load_tensor(null / "features.parquet", NAMES, WINDOW)
    events = load_events(null / "measurements.parquet", tensor.stay_ids, tensor.n_hours, NAMES, WINDOW)
    np.testing.assert_array_equal(events.means().astype(np.float32), tensor.values)


def test_the_same_records_give_the_same_bytes(original, null, tmp_path):
    again = shuffled(original, tmp_path / "again")
    for name in ("measurements.parquet", "features.parquet"):
        assert file_digest(again / name) == file_digest(null / name)


def test_which_models_have_a_null():
    models = ["lstm", "gru"]
    assert null_models(models, "first") == {"lstm": "lstmNull"}
    assert null_models(models, "all") == {"lstm": "lstmNull", "gru": "gruNull"}
    assert null_models(models, "none") == {}
