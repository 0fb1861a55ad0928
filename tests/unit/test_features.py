"""Features: hourly means equal to a slow and obvious loop in any order of rows, and as a tensor."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ehr_attack.errors import UserError
from ehr_attack.feature_tensor import load_tensor
from ehr_attack.features import build_features
from ehr_attack.schemas.cohort import MEASUREMENTS, STAYS, features_schema
from ehr_attack.storage import write_frame, write_parquet
from mimic3_builder import INTIME, moment

NAMES = ("heart_rate", "sodium", "ph")
HOUR_US = 3_600_000_000
Measurement = tuple[int, float, str, float]


def write_extract(folder: Path, observable: dict[int, int], rows: list[Measurement]) -> dict[str, Path]:
    """The two canonical tables: hours observable by stay id, and measurements in the order given."""
    ids = list(observable)
    stays = pd.DataFrame({"stay_id": ids, "subject_id": ids, "hadm_id": ids, "hours_observable": observable.values()})
    stays = stays.assign(intime=moment(INTIME), outtime=moment(INTIME, 72), age_years=60.0, sex="F", source="test")
    stays = stays.assign(care_unit="MICU", los_icu_days=3.0, los_hospital_days=4.0, died_in_hospital=False)
    stays = stays.assign(source_set=None)
    paths = {"stays": folder / "stays.parquet", "measurements": folder / "measurements.parquet"}
    write_frame(stays, paths["stays"], STAYS)
    by_column = list(zip(*rows, strict=True)) or [[], [], [], []]
    arrays = [pa.array(values, field.type) for values, field in zip(by_column, MEASUREMENTS, strict=True)]
    write_parquet(pa.Table.from_arrays(arrays, schema=MEASUREMENTS), paths["measurements"])
    return paths


def built(folder: Path, observable: dict[int, int], rows: list[Measurement], **options) -> Path:
    """The features file of these stays and measurements."""
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / "features.parquet"
    settings_ = {"window_hours": 48, "carry_in_hours": 0.0, "variable_names": NAMES} | options
    build_features(**write_extract(folder, observable, rows), out=out, **settings_)
    return out


def test_means_by_hour_with_both_boundaries(tmp_path):
    last_moment = (HOUR_US - 1) / HOUR_US
    rows = [
        (7, 0.0, "sodium", 140.0),
        (7, last_moment, "sodium", 143.0),
        (7, 1.0, "sodium", 150.0),
        (7, 47 + last_moment, "ph", 7.3),
        (3, 2.5, "sodium", 130.0),
    ]
    frame = pd.read_parquet(built(tmp_path, {7: 48, 3: 48}, rows)).set_index(["stay_id", "hour"])
    assert frame.index.tolist() == [(stay, hour) for stay in (3, 7) for hour in range(48)]
    assert frame["sodium"].dropna().to_dict() == {(7, 0): 141.5, (7, 1): 150.0, (3, 2): 130.0}
    assert frame["ph"].dropna().to_dict() == {(7, 47): float(np.float32(7.3))}
    assert frame["heart_rate"].isna().all()


def test_the_table_is_the_canonical_one_with_nan_and_no_nulls(tmp_path):
    table = pq.read_table(built(tmp_path, {1: 48}, [(1, 0.5, "ph", 7.4)]))
    wanted = features_schema(NAMES)
    assert (table.schema.names, table.schema.types) == (wanted.names, wanted.types)
    assert all(column.null_count == 0 for column in table.columns)
    assert np.isnan(table["sodium"].to_numpy()).all()


def test_a_stay_has_its_observable_hours_and_no_more(tmp_path):
    rows = [(1, 4.5, "ph", 7.4), (2, 60.0, "ph", 7.1)]
    out = built(tmp_path, {1: 5, 2: 72, 3: 1}, rows)
    assert pd.read_parquet(out).groupby("stay_id")["hour"].agg(["min", "max", "size"]).values.tolist() == [
        [0, 4, 5],
        [0, 47, 48],
        [0, 0, 1],
    ]
    assert load_tensor(out, NAMES, 48).n_hours.tolist() == [5, 48, 1]


def test_carry_in_is_the_last_value_before_hour_0(tmp_path):
    rows = [
        (1, -24.0, "ph", 7.1),
        (1, -24.001, "sodium", 120.0),
        (1, -3.0, "heart_rate", 80.0),
        (1, -1 / HOUR_US, "heart_rate", 90.0),
        (1, 0.0, "heart_rate", 100.0),
    ]
    out = built(tmp_path, {1: 48}, rows, carry_in_hours=24.0)
    assert pd.read_parquet(out)["hour"].tolist() == list(range(-1, 48))
    tensor = load_tensor(out, NAMES, 48)
    np.testing.assert_array_equal(tensor.carry_in, np.array([[90.0, np.nan, 7.1]], dtype=np.float32))
    assert tensor.values[0, 0, 0] == 100.0 and np.isnan(tensor.values[0, 1:, 0]).all()


def test_of_several_carried_values_at_one_time_the_largest(tmp_path):
    rows = [(1, -1.0, "ph", value) for value in (7.2, 7.4, 7.3)]
    assert load_tensor(built(tmp_path, {1: 48}, rows, carry_in_hours=2), NAMES, 48).carry_in[0, 2] == np.float32(7.4)


def test_without_carry_in_earlier_values_do_not_count(tmp_path):
    out = built(tmp_path, {1: 48}, [(1, -0.5, "ph", 7.1)])
    tensor = load_tensor(out, NAMES, 48)
    assert np.isnan(tensor.values).all() and np.isnan(tensor.carry_in).all()
    assert pd.read_parquet(out)["hour"].min() == 0


def test_sums_do_not_depend_on_the_order_of_the_rows(tmp_path):
    # In floating point 1e16 + 1 - 1e16 is 0 or 1, as the order has it.
    rows = [(1, 0.5, "ph", value) for value in (1e16, 1.0, -1e16, 3.0)]
    made = {built(tmp_path, {1: 48}, [rows[i] for i in order]).read_bytes() for order in
            ([0, 1, 2, 3], [3, 2, 1, 0], [0, 2, 1, 3], [1, 0, 3, 2])}  # fmt: skip
    assert len(made) == 1


times = st.one_of(
    st.integers(-30 * HOUR_US, 60 * HOUR_US),
    st.integers(-30, 60).flatmap(lambda hour: st.integers(-1, 1).map(lambda step: hour * HOUR_US + step)),
)
values = st.floats(0.125, 400)
measurements = st.lists(st.tuples(st.integers(1, 3), times, st.sampled_from(NAMES), values), max_size=60)


def slow_features(observable, rows, carry_in_us) -> tuple[np.ndarray, np.ndarray]:
    """One cell at a time, times in whole microseconds."""
    cells = np.full((3, 48, 3), np.nan)
    carried = np.full((3, 3), np.nan)
    for i, stay in enumerate(sorted(observable)):
        for j, name in enumerate(NAMES):
            own = [(time, value) for owner, time, variable, value in rows if (owner, variable) == (stay, name)]
            for hour in range(min(48, observable[stay])):
                inside = [value for time, value in own if hour * HOUR_US <= time < (hour + 1) * HOUR_US]
                if inside:
                    cells[i, hour, j] = math.fsum(inside) / len(inside)
            before = [pair for pair in own if -carry_in_us <= pair[0] < 0]
            if carry_in_us and before:
                carried[i, j] = max(before)[1]
    return cells, carried


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=measurements,
    hours=st.tuples(*[st.integers(1, 48)] * 3),
    carry_in=st.sampled_from([0, 6, 24]),
    random=st.randoms(use_true_random=False),
)
def test_features_equal_a_slow_loop_in_any_order_of_rows(tmp_path, rows, hours, carry_in, random):
    observable = {3: hours[2], 1: hours[0], 2: hours[1]}
    table = [(stay, time / HOUR_US, name, value) for stay, time, name, value in rows]
    out = built(tmp_path / "a", observable, table, carry_in_hours=carry_in)
    tensor = load_tensor(out, NAMES, 48)
    cells, carried = slow_features(observable, rows, carry_in * HOUR_US)
    np.testing.assert_allclose(tensor.values, cells, rtol=1e-6)
    np.testing.assert_allclose(tensor.carry_in, carried, rtol=1e-6)
    assert tensor.n_hours.tolist() == list(hours) and tensor.stay_ids.tolist() == [1, 2, 3]
    random.shuffle(table)
    assert built(tmp_path / "b", observable, table, carry_in_hours=carry_in).read_bytes() == out.read_bytes()


def test_the_tensor_takes_variables_in_the_order_asked_for(tmp_path):
    out = built(tmp_path, {9: 48, 4: 2}, [(9, 0.5, "ph", 7.4), (4, 1.5, "sodium", 140.0)])
    tensor = load_tensor(out, ("ph", "sodium"), 48)
    assert tensor.stay_ids.dtype == np.int64 and tensor.n_hours.dtype == np.int64
    assert tensor.values.dtype == np.float32 and tensor.carry_in.dtype == np.float32
    assert tensor.values.shape == (2, 48, 2) and tensor.carry_in.shape == (2, 2)
    assert tensor.values[1, 0, 0] == np.float32(7.4) and tensor.values[0, 1, 1] == 140.0
    assert np.isfinite(tensor.values).sum() == 2


def test_features_made_with_other_variables_or_another_window_are_refused(tmp_path):
    out = built(tmp_path, {1: 48}, [(1, 0.5, "ph", 7.4)])
    with pytest.raises(UserError, match="no column lactate"):
        load_tensor(out, ("ph", "lactate"), 48)
    with pytest.raises(UserError, match="hours -1 to 23"):
        load_tensor(out, NAMES, 24)
    with pytest.raises(UserError, match="no such file"):
        load_tensor(tmp_path / "none.parquet", NAMES, 48)


def test_a_variable_with_a_quote_in_its_name(tmp_path):
    name = 'it\'s "odd"'
    tensor = load_tensor(built(tmp_path, {1: 48}, [(1, 0.5, name, 7.4)], variable_names=[name]), [name], 48)
    assert tensor.values[0, 0, 0] == np.float32(7.4)
