"""The MIMIC-III demo through staging, extraction and features: counts, one stay by hand, and no leakage."""

import csv
import gzip
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ehr_attack.cohort_data import load_cohort
from ehr_attack.config import validated_config
from ehr_attack.feature_tensor import load_tensor
from ehr_attack.features import build_features
from ehr_attack.folds import assign_folds
from ehr_attack.sources import find_tables
from ehr_attack.training import train_fold
from ehr_attack.variables import load_variables
from mimic3_builder import Extracted, extract_staged, staged

NAMES = [variable.name for variable in load_variables()]
FOLDS = 3


@pytest.fixture(scope="module")
def demo(shared_dir) -> Path:
    return shared_dir / "data" / "mimiciii-demo-1.4"


@pytest.fixture(scope="module")
def tables(demo, tmp_path_factory) -> dict[str, Path]:
    return staged(demo, tmp_path_factory.mktemp("staged"), threads=2)


@pytest.fixture(scope="module")
def extract(tables, tmp_path_factory) -> Extracted:
    return extract_staged(tables, tmp_path_factory.mktemp("extract"))


def features_of(result: Extracted, carry_in_hours: float = 0.0) -> Path:
    out = result.folder / "features.parquet"
    build_features(
        stays=result.folder / "stays.parquet",
        measurements=result.folder / "measurements.parquet",
        variable_names=NAMES,
        window_hours=48,
        carry_in_hours=carry_in_hours,
        out=out,
    )
    return out


def counts(result: Extracted) -> tuple[int, int, int]:
    stays = result.stays
    return len(stays), stays["subject_id"].nunique(), int(stays["died_in_hospital"].sum())


def test_the_default_cohort(extract):
    # One patient of the demo was 17 years and two months old; without the age rule it is one stay more.
    assert counts(extract) == (71, 55, 26)
    assert extract.excluded() == {"age": 1, "icu_hours": 63, "full_window": 1}
    assert (extract.stays["hours_observable"] == 48).all()


def test_the_cohort_without_the_age_rule(tables, tmp_path):
    assert counts(extract_staged(tables, tmp_path, min_age_years=0)) == (72, 56, 26)


def test_the_cohort_of_sun2018_masks_short_windows(tables, tmp_path):
    result = extract_staged(tables, tmp_path, min_icu_hours=24, require_full_window=False)
    hours = result.stays["hours_observable"]
    # One ICU stay outlasts the patient's death, so its hours are fewer than the 24 of the rule.
    assert hours.between(1, 48).all() and (hours < 24).sum() == 1 and (hours < 48).sum() > 10
    assert len(result.stays) == 111


def test_the_first_stay_of_each_patient(tables, tmp_path):
    result = extract_staged(tables, tmp_path, first_stay_only=True)
    assert counts(result)[:2] == (55, 55)


def test_hidden_ages(extract):
    ages = extract.stays["age_years"]
    assert (ages == 91.4).sum() >= 1 and ages.max() == 91.4 and ages.min() >= 18


# --- one stay, worked out from the raw rows with nothing but the csv module and the lines below


def raw_rows(demo: Path, table: str):
    with gzip.open(find_tables("mimic3", demo)[table], "rt", newline="") as lines:
        yield from csv.DictReader(lines)


# heart_rate, sbp, temperature (CareVue and MetaVision items); sodium, creatinine, ph.
ITEMS_BY_HAND = {
    "heart_rate": {"211", "220045"},
    "sbp": {"51", "442", "455", "6701", "220050", "220179"},
    "temperature": {"676", "678", "223762", "223761"},
    "sodium": {"50983"},
    "creatinine": {"50912"},
    "ph": {"50820"},
}
FAHRENHEIT = {"678", "223761"}


@pytest.mark.parametrize("database", ["carevue", "metavision"])
def test_one_stay_by_hand(demo, extract, database):
    raw_stays = {row["ICUSTAY_ID"]: row for row in raw_rows(demo, "icustays") if row["DBSOURCE"] == database}
    busiest = extract.measurements["stay_id"].value_counts()
    stay_id = next(str(stay) for stay in busiest.index if str(stay) in raw_stays)
    stay = raw_stays[stay_id]
    intime = datetime.fromisoformat(stay["INTIME"])
    hourly: dict[tuple[str, int], list[float]] = {}
    for table in ("chartevents", "labevents"):
        for row in raw_rows(demo, table):
            if row["SUBJECT_ID"] != stay["SUBJECT_ID"] or not row["VALUENUM"] or row.get("ERROR") == "1":
                continue
            if row.get("ICUSTAY_ID", stay_id) not in (stay_id, ""):
                continue
            name = next((name for name, items in ITEMS_BY_HAND.items() if row["ITEMID"] in items), None)
            since = datetime.fromisoformat(row["CHARTTIME"]) - intime
            wrong_table = (table == "labevents") != (name in ("sodium", "creatinine", "ph"))
            if name is None or wrong_table or not timedelta(0) <= since < timedelta(hours=48):
                continue
            value = float(row["VALUENUM"])
            value = (value - 32) / 1.8 if row["ITEMID"] in FAHRENHEIT else value
            low, high = {"sbp": (0, 400), "heart_rate": (0, 300), "temperature": (25, 46)}.get(name, (0, 225))
            if low < value <= high:
                hourly.setdefault((name, since // timedelta(hours=1)), []).append(value)

    tensor = load_tensor(features_of(extract), NAMES, 48)
    values = tensor.values[tensor.stay_ids.tolist().index(int(stay_id))]
    assert len({name for name, _ in hourly}) >= 5 and len(hourly) > 100
    for name in ITEMS_BY_HAND:
        expected = np.full(48, np.nan)
        for (variable, hour), found in hourly.items():
            if variable == name:
                expected[hour] = sum(found) / len(found)
        np.testing.assert_allclose(values[:, NAMES.index(name)], expected, rtol=1e-6)


# --- no leakage, no dependence on threads


def with_noise_outside(tables: dict[str, Path], hours_before: int, folder: Path) -> tuple[dict[str, Path], int]:
    """Replace every value outside [-hours_before, 48) of all the patient's stays; also says how many."""
    stays = pd.read_parquet(tables["icustays"])[["subject_id", "intime"]]
    rng = np.random.default_rng(8)
    changed = 0
    noisy = dict(tables)
    for table in ("chartevents", "labevents"):
        events = pd.read_parquet(tables[table]).reset_index(names="event")
        placed = events[["event", "subject_id", "event_time"]].merge(stays, on="subject_id")
        since = placed["event_time"] - placed["intime"]
        inside = (since >= pd.Timedelta(hours=-hours_before)) & (since < pd.Timedelta(hours=48))
        outside = ~events["event"].isin(placed.loc[inside, "event"])
        events.loc[outside, "value"] = rng.uniform(1, 200, int(outside.sum()))
        changed += int(outside.sum())
        noisy[table] = folder / f"{table}.parquet"
        events.drop(columns="event").to_parquet(noisy[table], index=False)
    return noisy, changed


@pytest.mark.parametrize("carry_in", [0, 24])
def test_values_after_hour_48_change_nothing(tables, tmp_path, carry_in):
    noisy, changed = with_noise_outside(tables, carry_in, tmp_path)
    assert changed > 10_000
    made = []
    for name, files in (("before", tables), ("after", noisy)):
        result = extract_staged(files, tmp_path / name, carry_in_hours=carry_in)
        made.append(
            [
                features_of(result, carry_in).read_bytes(),
                (result.folder / "measurements.parquet").read_bytes(),
            ]
        )
    assert made[0] == made[1]


def scalers(result: Extracted, folds: Path) -> list[dict]:
    """The preprocessing that a training on each fold's other patients fits, of the model that one epoch makes."""
    settings = validated_config({})["training"] | {"epochs": 1, "class_balance": "none", "device": "cpu"}
    cohort = load_cohort(
        features_of(result), result.folder / "stays.parquet", folds, variables=load_variables(), window_hours=48
    )
    return [
        train_fold(
            cohort=cohort, fold=fold, model_name="lstm", seed=0, imputation="forward", settings=settings, code={}
        ).preprocessing.to_dict()
        for fold in range(FOLDS)
    ]


def with_noise_of(tables: dict[str, Path], subjects: set[int], folder: Path) -> dict[str, Path]:
    """Replace every value of these patients, at whatever time."""
    folder.mkdir()
    rng, noisy = np.random.default_rng(9), dict(tables)
    for table in ("chartevents", "labevents"):
        events = pd.read_parquet(tables[table])
        theirs = events["subject_id"].isin(subjects)
        assert theirs.sum() > 1000
        events.loc[theirs, "value"] = rng.uniform(1, 200, int(theirs.sum()))
        noisy[table] = folder / f"{table}.parquet"
        events.to_parquet(noisy[table], index=False)
    return noisy


def test_values_of_held_out_patients_change_no_scaler_of_their_fold(tables, extract, tmp_path):
    """From the staged rows on; the scalers of all other folds, which learn from these patients, do change."""
    stays = extract.stays
    assigned = assign_folds(stays, FOLDS, seed=0)
    folds = tmp_path / "folds.parquet"
    assigned.to_parquet(folds, index=False)
    before = scalers(extract, folds)
    fold_of = stays.merge(assigned, on="stay_id").groupby("subject_id")["fold"].first()
    for fold in range(FOLDS):
        noisy = with_noise_of(tables, set(fold_of.index[fold_of == fold]), tmp_path / f"noise_{fold}")
        result = extract_staged(noisy, tmp_path / f"fold_{fold}")
        assert result.stays["stay_id"].tolist() == stays["stay_id"].tolist()
        after = scalers(result, folds)
        assert [a == b for a, b in zip(before, after, strict=True)] == [other == fold for other in range(FOLDS)]


def test_one_thread_and_two_give_the_same_bytes(demo, tables, extract, tmp_path):
    again = staged(demo, tmp_path / "staged", threads=1)
    for table, file in tables.items():
        assert again[table].read_bytes() == file.read_bytes()
    result = extract_staged(again, tmp_path / "extract", threads=2)
    for name in ("stays.parquet", "measurements.parquet", "cohort_flow.json"):
        assert (result.folder / name).read_bytes() == (extract.folder / name).read_bytes()
