"""The benchmark of extraction: its copies are sources with unique keys, its slow reference is right and equals ours."""

import gzip

import numpy as np
import pandas as pd
import pytest

from benchmarks.extract import targets
from benchmarks.replicate import replicate
from benchmarks.slow_reference import hourly_means, merge_stays, read_events
from ehr_attack.feature_tensor import load_tensor
from ehr_attack.features import build_features
from ehr_attack.variables import load_variables
from mimic3_builder import (
    HEADERS,
    HEART_RATE,
    HEART_RATE_CAREVUE,
    SODIUM,
    TEMPERATURE_C,
    TEMPERATURE_F,
    Records,
    extract_staged,
    staged,
)

KEYS = {"patients": "SUBJECT_ID", "admissions": "HADM_ID", "icustays": "ICUSTAY_ID"}
NAMES = [variable.name for variable in load_variables()]


@pytest.fixture
def records() -> Records:
    """Three stays of two patients, with every way in which a value finds its stay, and values that must be dropped."""
    records = Records()
    first = records.patient().stay(hours=72)
    first.charted(HEART_RATE, 80, hour=0).charted(HEART_RATE, 90, hour=0.99).charted(HEART_RATE, 100, hour=1)
    first.charted(TEMPERATURE_F, 100.4, hour=5).charted(TEMPERATURE_C, 37, hour=5.5)
    first.charted(HEART_RATE, 999, hour=7).charted(HEART_RATE, 70, hour=8, error=1)
    first.charted(HEART_RATE, 60, hour=9, named=False).lab(SODIUM, 140, hour=47.9, hadm_id=None)
    first.lab(SODIUM, 150, hour=48).lab(SODIUM, 130, hour=-1)
    first.next_stay(after_days=30).charted(HEART_RATE_CAREVUE, 66, hour=3, error=None)
    records.patient().stay(hours=50).charted(HEART_RATE, 77, hour=10).lab(SODIUM, 139, hour=10, valuenum=None)
    return records


def frames(folder, tables=HEADERS) -> dict[str, pd.DataFrame]:
    return {table: pd.read_csv(folder / f"{table.upper()}.csv.gz", dtype=str) for table in tables}


def test_copies_have_unique_keys_and_the_same_values(records, tmp_path):
    source = records.write(tmp_path / "source", suffix=".csv.gz")
    original, copied = frames(source), frames(replicate(source, tmp_path / "copies", 12))
    for table, frame in original.items():
        keys = [name for name in ("ROW_ID", "SUBJECT_ID", "HADM_ID", "ICUSTAY_ID") if name in frame]
        values = [name for name in frame if name not in keys]
        assert copied[table]["ROW_ID"].is_unique and len(copied[table]) == 12 * len(frame)
        for copy in (1, 7, 12):
            part = copied[table].iloc[(copy - 1) * len(frame) : copy * len(frame)].reset_index(drop=True)
            pd.testing.assert_frame_equal(part[values], frame[values])
            for key in keys:
                width = 9 if key == "ROW_ID" else 6
                expected = [copy * 10**width + int(old) if pd.notna(old) else None for old in frame[key]]
                assert [None if pd.isna(new) else int(new) for new in part[key]] == expected
    for table, key in KEYS.items():
        assert copied[table][key].is_unique


def test_a_copied_source_has_the_features_of_the_original_in_every_copy(records, tmp_path):
    source = records.write(tmp_path / "source", suffix=".csv.gz")
    once = fast_features(source, tmp_path / "once").values
    thrice = fast_features(replicate(source, tmp_path / "x3", 3), tmp_path / "thrice").values
    np.testing.assert_array_equal(thrice, np.concatenate([once] * 3))


def test_copies_that_are_there_are_kept(records, tmp_path):
    source = records.write(tmp_path / "source")
    file = replicate(source, tmp_path / "copies", 2) / "PATIENTS.csv.gz"
    before = file.stat().st_mtime_ns
    assert replicate(source, tmp_path / "copies", 2) / file.name == file
    assert file.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('"GENDER","SUBJECT_ID"\n"F",1\n', "first columns are its keys"),
        ('"ROW_ID","SUBJECT_ID","NOTE"\n1,1234567,"x"\n', "at most"),
        ('"ROW_ID","SUBJECT_ID","NOTE"\n1,2,"a\nb,c,d"\n', "keys"),
    ],
)
def test_a_table_that_cannot_be_copied_line_by_line_is_refused(records, tmp_path, text, message):
    source = records.write(tmp_path / "source", suffix=".csv.gz")
    (source / "PATIENTS.csv.gz").write_bytes(gzip.compress(text.encode()))
    with pytest.raises(ValueError, match=message):
        replicate(source, tmp_path / "copies", 2)
    assert not (tmp_path / "copies").exists()


def fast_features(source, out):
    extract_staged(staged(source, out / "staged"), out)
    build_features(
        stays=out / "stays.parquet",
        measurements=out / "measurements.parquet",
        variable_names=NAMES,
        carry_in_hours=0.0,
        window_hours=48,
        out=out / "features.parquet",
    )
    return load_tensor(out / "features.parquet", NAMES, 48)


def test_the_pandas_loop_is_right_and_equals_the_fast_features(records, tmp_path):
    source = records.write(tmp_path / "source")
    fast = fast_features(source, tmp_path / "out")
    stays = pd.read_parquet(tmp_path / "out" / "stays.parquet")
    events = merge_stays(read_events(source, load_variables()), stays, load_variables())
    slow = hourly_means(events, stays, NAMES, 48)

    recorded = {
        (int(stay), int(hour), NAMES[variable]): round(float(slow[stay, hour, variable]), 6)
        for stay, hour, variable in np.argwhere(np.isfinite(slow))
    }
    assert recorded == {
        (0, 0, "heart_rate"): 85.0,  # the mean of 80 and 90; the value at one hour sharp is in the next hour
        (0, 1, "heart_rate"): 100.0,
        (0, 5, "temperature"): 37.5,  # the mean of 100.4 F = 38 C and 37 C
        (0, 9, "heart_rate"): 60.0,  # a value that names no stay
        (0, 47, "sodium"): 140.0,  # a result without admission; the one at hour 48 is outside
        (1, 3, "heart_rate"): 66.0,
        (2, 10, "heart_rate"): 77.0,
    }
    assert fast.stay_ids.tolist() == stays["stay_id"].tolist()
    np.testing.assert_allclose(fast.values, slow, rtol=1e-6)


@pytest.mark.parametrize(
    ("numbers", "met"),
    [
        ({}, [True, True, True, True]),
        ({"seconds_duckdb": 90.0}, [False, True, True, True]),
        ({"seconds_duckdb": 90.0, "events_per_second": 2.6e6}, [True, True, True, True]),
        ({"peak_mb": 600.0, "features_speedup": 49.0, "cost_per_event_ratio": 1.3}, [True, False, False, False]),
    ],
)
def test_targets_are_judged_by_their_numbers(numbers, met):
    good = {
        "copies": 50,
        "seconds_duckdb": 20.0,
        "seconds_zlib": 10.0,
        "events_per_second": 1e6,
        "peak_mb": 500.0,
        "features_speedup": 60.0,
        "cost_per_event_ratio": 1.0,
    }
    assert [target["met"] for target in targets(good | numbers)] == met
