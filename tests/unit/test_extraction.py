"""Extraction: who is in the cohort, what is measured of it, and that every exclusion is counted."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from ehr_attack.errors import UserError
from ehr_attack.schemas.cohort import MEASUREMENTS, STAYS
from mimic3_builder import (
    CREATININE,
    DEFAULT_COHORT,
    HEART_RATE,
    HEART_RATE_CAREVUE,
    INTIME,
    PH,
    SBP,
    SODIUM,
    SPO2,
    TEMPERATURE_C,
    TEMPERATURE_F,
    Records,
    a_usual_stay,
    extract_staged,
    extracted,
    moment,
    staged,
)

SECOND = 1 / 3600


@pytest.fixture
def records() -> Records:
    return Records()


# --- the canonical tables


def test_a_stay_and_its_measurements_as_the_canonical_tables_have_them(records, tmp_path):
    stay = records.patient(born="2050-03-01 10:00:00", sex="M").stay(hours=72, died_at_hour=90)
    stay.lab(SODIUM, 140, hour=2.5).charted(HEART_RATE, 80, hour=1).charted(HEART_RATE_CAREVUE, 70, hour=0.25)
    result = extracted(records, tmp_path)
    for name, schema in (("stays", STAYS), ("measurements", MEASUREMENTS)):
        made = pq.read_schema(result.folder / f"{name}.parquet")
        assert (made.names, made.types) == (schema.names, schema.types)
    assert result.stays["source_set"].isna().all()
    assert result.stays.drop(columns="source_set").to_dict("records") == [
        {
            "stay_id": stay.stay_id,
            "subject_id": 1,
            "hadm_id": 100_001,
            "intime": moment(INTIME),
            "outtime": moment(INTIME, 72),
            "age_years": 60.0,
            "sex": "M",
            "care_unit": "MICU",
            "los_icu_days": 3.0,
            "los_hospital_days": pytest.approx(92 / 24),
            "died_in_hospital": True,
            "source": "mimic3",
            "hours_observable": 48,
        }
    ]
    assert result.measurements.values.tolist() == [
        [stay.stay_id, 0.25, "heart_rate", 70.0],
        [stay.stay_id, 1.0, "heart_rate", 80.0],
        [stay.stay_id, 2.5, "sodium", 140.0],
    ]


def test_rows_are_sorted_by_stay_then_variable_then_time_then_value(records, tmp_path):
    first, second = a_usual_stay(records), a_usual_stay(records)
    second.lab(SODIUM, 141, hour=0).charted(SBP, 120, hour=2).charted(HEART_RATE, 70, hour=0.5)
    first.lab(SODIUM, 139, hour=9)
    result = extracted(records, tmp_path)
    assert result.measurements["stay_id"].is_monotonic_increasing
    assert result.measurements.query("stay_id == @second.stay_id")[["variable", "value"]].values.tolist() == [
        ["heart_rate", 70.0],
        ["heart_rate", 80.0],
        ["sbp", 120.0],
        ["sodium", 141.0],
    ]


# --- which values


def test_the_window_begins_at_hour_0_and_ends_before_hour_48(records, tmp_path):
    stay = a_usual_stay(records)
    for hour in (0, 48):
        for seconds in (-1, 0, 1):
            stay.lab(SODIUM, 140, hour, seconds).charted(SBP, 120, hour, seconds)
    result = extracted(records, tmp_path)
    expected = [0.0, SECOND, 48 - SECOND]
    assert [hours for hours, _ in result.cells("sodium")] == expected
    assert [hours for hours, _ in result.cells("sbp")] == expected


def test_carry_in_begins_at_its_first_second(records, tmp_path):
    stay = a_usual_stay(records)
    for seconds in (-1, 0):
        stay.lab(SODIUM, 140, -24, seconds)
    stay.lab(SODIUM, 141, hour=0, seconds=-1)
    assert extracted(records, tmp_path / "without").cells("sodium") == []
    result = extracted(records, tmp_path / "with", carry_in_hours=24.0)
    assert result.cells("sodium") == [(-24.0, 140.0), (-SECOND, 141.0)]


def test_fahrenheit_is_converted_before_the_plausible_range_is_applied(records, tmp_path):
    a_usual_stay(records).charted(TEMPERATURE_F, 98.6, hour=1).charted(TEMPERATURE_C, 37.5, hour=2).charted(
        TEMPERATURE_F, 37.0, hour=3
    ).charted(TEMPERATURE_C, 98.6, hour=4)
    values = extracted(records, tmp_path).cells("temperature")
    assert values == [(1.0, pytest.approx(37.0)), (2.0, 37.5)]


@pytest.mark.parametrize(
    ("item", "values", "kept"),
    [
        (SBP, [0, -1, 11647, 400.001, "NaN", "inf", "-inf", "1e308", "1e999", 0.001, 400], [0.001, 400]),
        (SPO2, [0, 101, 100], [100]),
        (CREATININE, [0, 138, "nan", "Infinity", "-1e308", "1e308", "-1", 0.1, 66], [0.1, 66]),
        (PH, [6.3, 8.41, 74, 6.31, 8.4], [6.31, 8.4]),
    ],
)
def test_values_outside_the_plausible_range_are_dropped(records, tmp_path, item, values, kept):
    stay = a_usual_stay(records)
    variable = {SBP: "sbp", SPO2: "spo2", CREATININE: "creatinine", PH: "ph"}[item]
    for hour, value in enumerate(values):
        (stay.charted if item in (SBP, SPO2) else stay.lab)(item, value, hour=hour)
    assert [value for _, value in extracted(records, tmp_path).cells(variable)] == kept


def test_laboratory_items_in_the_charts_are_not_laboratory_values(records, tmp_path):
    a_usual_stay(records).lab(SODIUM, 140, hour=1).charted(SODIUM, 140, hour=2).lab(HEART_RATE, 90, hour=3)
    result = extracted(records, tmp_path)
    assert result.cells("sodium") == [(1.0, 140.0)]
    assert result.cells("heart_rate") == [(0.5, 80.0)]
    # Extraction alone tells the tables apart too, whatever staging let through.
    tables = staged(tmp_path / "source", tmp_path / "staged")
    charts = pd.read_parquet(tables["chartevents"])
    charts.assign(item_id=SODIUM).to_parquet(tables["chartevents"], index=False)
    assert extract_staged(tables, tmp_path / "again").cells("sodium") == [(1.0, 140.0)]


def test_labels_that_look_alike_are_not_values(records, tmp_path):
    urine_glucose, urine_ph, spo2_limit, set_rate, set_rate_total, skin, copy_c, copy_f = (
        51478, 51491, 226253, 619, 224688, 224027, 677, 679,
    )  # fmt: skip
    stay = a_usual_stay(records).lab(urine_glucose, 300, hour=1).lab(urine_ph, 7.0, hour=1)
    for item in (spo2_limit, set_rate, set_rate_total, skin, copy_c, copy_f):
        stay.charted(item, 30, hour=1)
    assert set(extracted(records, tmp_path).measurements["variable"]) == {"heart_rate"}


def test_errors_are_dropped_and_warnings_kept(records, tmp_path):
    stay = a_usual_stay(records)
    stay.charted(SBP, 120, hour=1, error=1).charted(SBP, 121, hour=2, warning=1).charted(SBP, 122, hour=3, error=None)
    assert extracted(records, tmp_path).cells("sbp") == [(2.0, 121.0), (3.0, 122.0)]


def test_results_without_an_admission_are_joined_by_patient_and_time(records, tmp_path):
    a_usual_stay(records).lab(SODIUM, 140, hour=1, hadm_id=None).lab(SODIUM, 141, hour=2, hadm_id=999)
    a_usual_stay(records)
    assert extracted(records, tmp_path).cells("sodium") == [(1.0, 140.0), (2.0, 141.0)]


def test_a_result_belongs_to_every_stay_of_the_patient_whose_window_holds_it(records, tmp_path):
    first = a_usual_stay(records, hours=60)
    second = first.next_stay(after_days=1).charted(HEART_RATE, 90, hour=0)
    first.lab(SODIUM, 140, hour=30)
    stranger = a_usual_stay(records)
    result = extracted(records, tmp_path)
    assert result.cells("sodium", first) == [(30.0, 140.0)]
    assert result.cells("sodium", second) == [(6.0, 140.0)]
    assert result.cells("sodium", stranger) == []


def test_a_charted_value_belongs_to_the_stay_it_names_else_to_the_patient_and_time(records, tmp_path):
    first = a_usual_stay(records, hours=60)
    second = first.next_stay(after_days=1).charted(HEART_RATE, 90, hour=0)
    first.charted(SBP, 120, hour=30).charted(SBP, 121, hour=31, named=False)
    result = extracted(records, tmp_path)
    assert result.cells("sbp", first) == [(30.0, 120.0), (31.0, 121.0)]
    assert result.cells("sbp", second) == [(7.0, 121.0)]


def test_values_after_the_end_of_a_short_stay_are_left_out(records, tmp_path):
    stay = a_usual_stay(records, hours=30.5)
    stay.lab(SODIUM, 140, hour=30.9).lab(SODIUM, 141, hour=31)
    result = extracted(records, tmp_path, min_icu_hours=24, require_full_window=False)
    assert result.stays["hours_observable"].tolist() == [31]
    assert result.cells("sodium") == [(pytest.approx(30.9), 140.0)]


@pytest.mark.parametrize(
    ("hours", "died_at_hour", "observable"),
    [(30, None, 30), (30, 25.5, 26), (47.999, None, 48), (48, None, 48), (100, 40, 40), (100, 120, 48)],
)
def test_hours_observable_end_with_the_stay_or_the_life(records, tmp_path, hours, died_at_hour, observable):
    a_usual_stay(records, hours=hours, died_at_hour=died_at_hour)
    result = extracted(records, tmp_path, min_icu_hours=24, require_full_window=False)
    assert result.stays["hours_observable"].tolist() == [observable]


# --- who


def ages_by_birth(records: Records, tmp_path, *births: str | None, **settings) -> list[float]:
    for birth in births:
        records.patient(born=birth).stay().charted(HEART_RATE, 80, hour=1)
    return extracted(records, tmp_path, **settings).stays["age_years"].tolist()


def test_age_is_counted_in_birthdays(records, tmp_path):
    # The ICU intime is 2110-03-01 10:00; 2110 has 365 days and half a year after 1 September is 1 March.
    assert ages_by_birth(records, tmp_path, "2092-03-01 00:00:00", "2092-03-02 00:00:00", "2049-09-01 10:00:00") == [
        pytest.approx(18 + 10 / 24 / 365),
        pytest.approx(60 + 181 / 365),
    ]


def test_hidden_ages_become_91_4_and_unknown_or_negative_ones_are_excluded(records, tmp_path):
    births = ["1810-02-25 00:00:00", "2021-06-01 00:00:00", None, "2111-01-01 00:00:00"]
    assert ages_by_birth(records, tmp_path, *births) == [91.4, pytest.approx(88 + (273 + 10 / 24) / 365)]


def test_an_age_just_over_89_is_hidden_too(records, tmp_path):
    assert ages_by_birth(records, tmp_path, "2020-12-01 00:00:00") == [91.4]


OUT_OF_ORDER = {
    "left hospital before admission": {"dischtime": moment(INTIME, -3)},
    "left ICU at intime": {"outtime": moment(INTIME)},
    "left ICU before intime": {"outtime": moment(INTIME, -1)},
    "never left ICU": {"outtime": None},
    "died before admission": {"deathtime": moment(INTIME, -3), "hospital_expire_flag": 1},
    "died before a late admission": {"admittime": moment(INTIME, 2), "deathtime": moment(INTIME, 1)},
    "died before ICU": {"deathtime": moment(INTIME, -1), "hospital_expire_flag": 1},
    "outcome unknown": {"hospital_expire_flag": None},
    "discharge unknown": {"dischtime": None},
}


@pytest.mark.parametrize("columns", OUT_OF_ORDER.values(), ids=OUT_OF_ORDER.keys())
@pytest.mark.parametrize("full_window", [True, False])
def test_times_out_of_order_or_missing_exclude(records, tmp_path, columns, full_window):
    a_usual_stay(records)
    a_usual_stay(records, **columns)
    result = extracted(records, tmp_path, require_full_window=full_window)
    assert result.excluded() == {"time_order": 1} and len(result.stays) == 1


def test_a_stay_without_its_admission_is_excluded_and_counted(records, tmp_path):
    a_usual_stay(records)
    orphan = a_usual_stay(records)
    records.rows["admissions"].remove(orphan.admission)
    assert extracted(records, tmp_path).excluded() == {"time_order": 1}


@pytest.mark.parametrize("diagnosis", ["ORGAN DONOR ACCOUNT", "Head injury; organ donor"])
def test_organ_donors_are_excluded(records, tmp_path, diagnosis):
    a_usual_stay(records, diagnosis=None)
    a_usual_stay(records, diagnosis="DONOR LIVER TRANSPLANT")
    a_usual_stay(records, diagnosis=diagnosis)
    result = extracted(records, tmp_path)
    assert result.excluded() == {"organ_donor": 1} and len(result.stays) == 2


@pytest.mark.parametrize(
    ("columns", "rule"),
    [
        ({"hours": 48}, None),
        ({"hours": 48 - SECOND}, "icu_hours"),
        ({"died_at_hour": 48}, None),
        ({"died_at_hour": 48 - SECOND}, "full_window"),
        ({"admittime": moment(INTIME, -2), "dischtime": moment(INTIME, 22)}, None),
        ({"admittime": moment(INTIME, -2), "dischtime": moment(INTIME, 22, -1)}, "hospital_hours"),
    ],
)
def test_lengths_are_compared_to_the_second(records, tmp_path, columns, rule):
    a_usual_stay(records)
    a_usual_stay(records, **columns)
    assert extracted(records, tmp_path).excluded() == ({rule: 1} if rule else {})


def test_the_full_window_is_a_choice(records, tmp_path):
    a_usual_stay(records, hours=30)
    a_usual_stay(records, died_at_hour=30)
    result = extracted(records, tmp_path, min_icu_hours=24, require_full_window=False)
    assert result.excluded() == {}
    assert "full_window" not in [step["key"] for step in result.flow["steps"]]


def test_first_stay_only_keeps_the_first_that_meets_the_other_rules(records, tmp_path):
    short = a_usual_stay(records, hours=20)
    second = short.next_stay(after_days=30).charted(HEART_RATE, 80, hour=1)
    second.next_stay(after_days=30).charted(HEART_RATE, 80, hour=1)
    other = a_usual_stay(records)
    result = extracted(records, tmp_path, first_stay_only=True)
    assert result.stays["stay_id"].tolist() == [second.stay_id, other.stay_id]
    assert result.excluded() == {"icu_hours": 1, "first_stay": 1}


def test_all_stays_of_a_patient_are_kept_by_default(records, tmp_path):
    a_usual_stay(records).next_stay(after_days=30).charted(HEART_RATE, 80, hour=1)
    result = extracted(records, tmp_path)
    assert len(result.stays) == 2 and result.stays["subject_id"].nunique() == 1


def test_a_stay_without_a_value_in_the_window_is_excluded_with_its_carried_values(records, tmp_path):
    a_usual_stay(records)
    records.patient().stay().lab(SODIUM, 140, hour=-3).lab(SODIUM, 9999, hour=3).lab(SODIUM, 140, hour=48)
    result = extracted(records, tmp_path, carry_in_hours=24)
    assert result.excluded() == {"no_measurement": 1} and len(result.stays) == 1
    assert result.cells("sodium") == []


# --- the flow


def test_the_flow_counts_each_exclusion_once_at_the_first_rule_broken(records, tmp_path):
    a_usual_stay(records)
    a_usual_stay(records, died_at_hour=60).next_stay(after_days=40).charted(HEART_RATE, 80, hour=1)
    # Each of these breaks its rule and all that come later.
    records.patient(born="2100-01-01").stay(hours=1, diagnosis="ORGAN DONOR", dischtime=moment(INTIME, -9))
    records.patient().stay(hours=1, diagnosis="ORGAN DONOR", dischtime=moment(INTIME, -9))
    records.patient().stay(hours=1, diagnosis="ORGAN DONOR", died_at_hour=1)
    records.patient().stay(hours=1, died_at_hour=1)
    records.patient().stay(died_at_hour=20)
    records.patient().stay(died_at_hour=40)
    records.patient().stay()
    flow = extracted(records, tmp_path, first_stay_only=True).flow
    assert flow["time_zero"] == "ICU intime"
    assert flow["source"] == {"kind": "mimic3", "version": "test", "profile": "clinical"}
    shown = [
        (step["key"], step["excluded_stays"], step["stays"], step["patients"], step["deaths"]) for step in flow["steps"]
    ]
    assert shown == [
        ("all", 0, 10, 9, 5),
        ("age", 1, 9, 8, 5),
        ("time_order", 1, 8, 7, 5),
        ("organ_donor", 1, 7, 6, 4),
        ("icu_hours", 1, 6, 5, 3),
        ("hospital_hours", 1, 5, 4, 2),
        ("full_window", 1, 4, 3, 1),
        ("first_stay", 1, 3, 3, 1),
        ("no_measurement", 1, 2, 2, 1),
    ]
    assert flow["steps"][4]["label"] == "ICU stay shorter than 48 hours"


def test_an_empty_cohort_is_explained(records, tmp_path):
    for _ in range(12):
        a_usual_stay(records, hours=30)
    for _ in range(3):
        a_usual_stay(records, died_at_hour=40)
    with pytest.raises(UserError) as caught:
        extracted(records, tmp_path)
    message = str(caught.value)
    assert "of the 15 ICU stays in the source none is left" in message
    assert "left the ICU or died before hour 48: <10 excluded" in message
    assert "cohort.min_icu_hours, cohort.require_full_window" in message and "cohort.min_age_years" not in message
    # Twelve of fifteen would give the three away.
    assert "12" not in message
    assert not list((tmp_path / "extract").iterdir())


def test_an_empty_cohort_for_want_of_values_points_at_the_source(records, tmp_path):
    records.patient().stay()
    with pytest.raises(UserError, match=r"Check that source.path and source.profile fit together"):
        extracted(records, tmp_path)


@pytest.mark.parametrize("table", ["admissions", "patients", "icustays"])
def test_a_repeated_key_is_refused(records, tmp_path, table):
    a_usual_stay(records)
    records.rows[table] *= 2
    with pytest.raises(UserError, match="ICU stays are repeated"):
        extracted(records, tmp_path)


# --- what must not matter


def many_stays(records: Records, count: int = 30) -> Records:
    rng = np.random.default_rng(11)
    for number in range(count):
        stay = a_usual_stay(records, died_at_hour=60 if number % 4 == 0 else None)
        for hour, value in zip(rng.uniform(-24, 60, 40), rng.integers(600, 1800, 40) / 10, strict=True):
            stay.charted(SBP, value, hour=round(hour, 2)).lab(SODIUM, value, hour=round(hour, 1))
    return records


OUTPUTS = ("stays.parquet", "measurements.parquet", "cohort_flow.json")


def output_bytes(result) -> list[bytes]:
    return [(result.folder / name).read_bytes() for name in OUTPUTS]


def test_the_number_of_threads_changes_no_byte(records, tmp_path):
    tables = staged(many_stays(records).write(tmp_path / "source"), tmp_path / "staged")
    one, two, again = (
        output_bytes(extract_staged(tables, tmp_path / name, threads=threads, carry_in_hours=24))
        for name, threads in (("one", 1), ("two", 2), ("again", 2))
    )
    assert one == two == again


def test_a_large_table_is_written_alike_by_any_number_of_threads(records, tmp_path):
    # More than one row group of measurements, and many threads' batches of them.
    source = many_stays(records).write(tmp_path / "source")
    tables = staged(source, tmp_path / "staged")
    labs = pd.read_parquet(tables["labevents"])
    rng = np.random.default_rng(2)
    many = labs.sample(400_000, replace=True, random_state=1).assign(value=rng.uniform(100, 180, 400_000))
    many.to_parquet(tables["labevents"], index=False)
    made = [output_bytes(extract_staged(tables, tmp_path / str(threads), threads=threads)) for threads in (1, 2)]
    assert made[0] == made[1]
    assert pq.ParquetFile(tmp_path / "1" / "measurements.parquet").num_row_groups > 1


def test_the_order_of_the_rows_changes_no_byte(records, tmp_path):
    before = output_bytes(extracted(many_stays(records), tmp_path / "before"))
    rng = np.random.default_rng(4)
    for table, rows in records.rows.items():
        records.rows[table] = [rows[index] for index in rng.permutation(len(rows))]
    assert output_bytes(extracted(records, tmp_path / "after")) == before


def test_nothing_after_hour_48_matters(records, tmp_path):
    before = output_bytes(extracted(many_stays(records), tmp_path / "before", carry_in_hours=24))
    rng = np.random.default_rng(6)
    changed = 0
    for table in ("chartevents", "labevents"):
        for row in records.rows[table]:
            if row["charttime"] >= moment(INTIME, 48):
                row["valuenum"] = row["value"] = rng.uniform(1, 300)
                changed += 1
    assert changed > 100
    assert output_bytes(extracted(records, tmp_path / "after", carry_in_hours=24)) == before


def test_defaults_of_these_tests_are_the_documented_ones():
    assert DEFAULT_COHORT == {
        "min_age_years": 18,
        "min_icu_hours": 48,
        "min_hospital_hours": 24,
        "require_full_window": True,
        "first_stay_only": False,
    }
