"""MIMIC-IV: its tables wherever they lie, ages by anchor year, and the same records as in the shape of MIMIC-III."""

import copy
import csv
import gzip
import shutil

import duckdb
import numpy as np
import pandas as pd
import pytest

from ehr_attack.errors import UserError
from ehr_attack.features import build_features
from ehr_attack.paths import VARIABLES_FILE
from ehr_attack.sources import find_tables, load_shape, load_staging, table_kind
from ehr_attack.sources.mimic4 import OPTIONAL_TABLES, TABLES, codes
from ehr_attack.sources.published import published_file
from ehr_attack.synthetic import generate
from ehr_attack.synthetic.catalogue import CAREVUE_TO_METAVISION, LATER_ALBUMIN, MIMIC4_CHART_ITEMS, MIMIC4_LAB_ITEMS
from ehr_attack.synthetic.mimic4 import _birthdays
from ehr_attack.variables import item_ids, load_variables
from mimic3_builder import moment
from mimic4_builder import HEADERS, HEART_RATE, INTIME, SODIUM, Records, a_usual_stay, extracted, extracted_from

STAYS, SEED = 700, 7  # two blocks, with minors and organ donors among them


# Finding the tables


def names_of(folder, find=find_tables):
    return {table: path.relative_to(folder).as_posix() for table, path in find("mimic4", folder).items()}


@pytest.mark.parametrize(
    "place",
    [str, str.upper, str.title, lambda table: table.partition("/")[2], lambda table: table.partition("/")[2].upper()],
    ids=["as published", "upper case", "title case", "one folder", "one folder, upper case"],
)
def test_tables_are_found_in_their_modules_or_in_one_folder(tmp_path, place):
    folder = Records().write(tmp_path, place=place)
    assert names_of(folder) == {table.partition("/")[2]: f"{place(table)}.csv.gz" for table in HEADERS}


def test_dictionaries_are_taken_where_present_and_other_tables_ignored(tmp_path):
    folder = Records().write(tmp_path)
    for name in ("icu/d_items.csv", "hosp/d_labitems.csv.gz", "hosp/omr.csv.gz", "note/discharge.csv.gz"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    assert set(find_tables("mimic4", folder)) == {*TABLES, "d_items", "d_labitems"}


def test_a_missing_module_is_named_by_its_tables(tmp_path):
    folder = Records().write(tmp_path)
    shutil.rmtree(folder / "hosp")
    with pytest.raises(UserError) as caught:
        find_tables("mimic4", folder)
    message = str(caught.value)
    assert "no file for hosp/admissions, hosp/patients and hosp/labevents. Expected" in message
    assert "source.path" in message and str(folder) in message


def test_the_same_table_in_two_places_is_refused(tmp_path):
    folder = Records().write(tmp_path)
    shutil.copy(folder / "icu" / "icustays.csv.gz", folder)
    with pytest.raises(UserError, match=r"icustays\.csv\.gz and icu/icustays\.csv\.gz hold the same table"):
        find_tables("mimic4", folder)


def test_published_files_are_those_that_are_looked_for(tmp_path):
    for table in (*TABLES, *OPTIONAL_TABLES):
        file = tmp_path / published_file("mimic4", table)
        file.parent.mkdir(exist_ok=True)
        file.touch()
    assert set(find_tables("mimic4", tmp_path)) == {*TABLES, *OPTIONAL_TABLES}


# Reading them


def test_columns_are_matched_by_name_in_any_order_and_case(tmp_path):
    records = Records()
    stay = a_usual_stay(records)
    records.lab(stay, SODIUM, 140, hour=2.25)
    plain = extracted(records, tmp_path / "plain")
    other = records.write(
        tmp_path / "other", case=str.upper, columns=lambda names: ["error", *sorted(names, reverse=True), "note"]
    )
    shuffled = extracted_from(other, tmp_path / "shuffled")
    assert plain.cells("sodium") == [(2.25, 140.0)]
    pd.testing.assert_frame_equal(plain.stays, shuffled.stays)
    pd.testing.assert_frame_equal(plain.measurements, shuffled.measurements)


def test_a_missing_column_is_named(tmp_path):
    records = Records()
    a_usual_stay(records)
    folder = records.write(tmp_path, columns=lambda names: [name for name in names if name != "anchor_age"])
    with pytest.raises(UserError, match=r"patients\.csv\.gz.*anchor_age"):
        extracted_from(folder, tmp_path / "out")


def test_charted_numbers_belong_to_the_stay_that_they_name(tmp_path):
    records = Records()
    stay = a_usual_stay(records)
    records.charted(stay, HEART_RATE, 90, hour=3, stay_id=None)  # no stay: by patient and time
    records.charted(stay, HEART_RATE, 91, hour=4, stay_id=999)  # another stay: not this one's
    records.charted(stay, HEART_RATE, 92, hour=5, warning=1)
    records.charted(stay, HEART_RATE, None, hour=6)  # no number
    records.charted(stay, HEART_RATE, 93, hour=60)  # after the window
    assert extracted(records, tmp_path).cells("heart_rate") == [(0.5, 80.0), (3.0, 90.0), (5.0, 92.0)]


def test_results_are_joined_by_patient_and_time(tmp_path):
    records = Records()
    stay = a_usual_stay(records)
    records.lab(stay, SODIUM, 138, hour=1, hadm_id=None)
    records.lab(stay, 50862, 3.1, hour=1)
    records.lab(stay, 53085, 3.3, hour=9)  # the second item id of albumin
    records.lab(stay, 51478, 300, hour=1)  # glucose, but of urine
    result = extracted(records, tmp_path)
    assert result.cells("sodium") == [(1.0, 138.0)]
    assert result.cells("albumin") == [(1.0, 3.1), (9.0, 3.3)]
    assert result.cells("glucose") == []


def test_all_pressures_and_both_scales_of_temperature_are_read(tmp_path):
    records = Records()
    stay = a_usual_stay(records)
    for hour, item in enumerate((220050, 220179, 225309)):
        records.charted(stay, item, 120 + hour, hour=hour)
    for hour, item in enumerate((220051, 220180, 225310)):
        records.charted(stay, item, 60 + hour, hour=hour)
    records.charted(stay, 223761, 99.5, hour=1)
    records.charted(stay, 223762, 38.0, hour=2)
    result = extracted(records, tmp_path)
    assert result.cells("sbp") == [(0.0, 120.0), (1.0, 121.0), (2.0, 122.0)]
    assert result.cells("dbp") == [(0.0, 60.0), (1.0, 61.0), (2.0, 62.0)]
    assert result.cells("temperature") == [(1.0, pytest.approx(37.5)), (2.0, 38.0)]


# Ages and the cohort


@pytest.mark.parametrize(
    ("anchor_age", "anchor_year", "intime", "expected"),
    [
        (60, 2150, "2150-01-01 00:00:00", 60),
        (60, 2150, "2150-12-31 23:59:00", 60),
        (60, 2150, "2151-01-01 00:00:00", 61),
        (60, 2147, INTIME, 63),
        (60, 2152, INTIME, 58),
        (88, 2149, INTIME, 89),
        (88, 2148, INTIME, 91),  # over 89 by counting: grouped as those over 89 in the anchor year are
        (91, 2150, INTIME, 91),
        (91, 2140, INTIME, 91),
        (91, 2155, INTIME, 91),  # over 89 in 2155; how old in 2150 is not known
        (18, 2150, INTIME, 18),
    ],
)
def test_age_is_counted_in_years_from_the_anchor(tmp_path, anchor_age, anchor_year, intime, expected):
    records = Records()
    a_usual_stay(records, anchor_age=anchor_age, anchor_year=anchor_year, intime=intime)
    assert extracted(records, tmp_path).stays["age_years"].tolist() == [expected]


def test_every_exclusion_is_counted(tmp_path):
    records = Records()
    kept = a_usual_stay(records)
    a_usual_stay(records, anchor_age=17)
    a_usual_stay(records, anchor_age=20, anchor_year=2153)  # 17 in 2150
    a_usual_stay(records, hours=47)
    a_usual_stay(records, died_at_hour=-1)  # before the ICU stay, as organ donors may be
    a_usual_stay(records, died_at_hour=40)
    records.stay()  # nothing measured
    no_patient = a_usual_stay(records)
    records.rows["hosp/patients"] = [
        row for row in records.rows["hosp/patients"] if row["subject_id"] != no_patient["subject_id"]
    ]
    result = extracted(records, tmp_path)
    assert result.stays["stay_id"].tolist() == [kept["stay_id"]]
    assert result.excluded() == {"age": 3, "time_order": 1, "icu_hours": 1, "full_window": 1, "no_measurement": 1}


def test_a_stay_as_the_canonical_table_has_it(tmp_path):
    records = Records()
    stay = a_usual_stay(records, died_at_hour=60)
    row = extracted(records, tmp_path).stays.iloc[0]
    assert (row["stay_id"], row["subject_id"], row["hadm_id"]) == (stay["stay_id"], 1, 101)
    assert (row["intime"], row["outtime"]) == (moment(INTIME), moment(INTIME, 72))
    assert (row["sex"], row["care_unit"], row["source"]) == ("F", "MICU", "mimic4")
    assert (row["los_icu_days"], row["los_hospital_days"]) == (3.0, 62 / 24)
    assert bool(row["died_in_hospital"]) is True


def test_a_repeated_stay_is_refused_without_its_id(tmp_path):
    records = Records()
    stay = a_usual_stay(records)
    records.rows["icu/icustays"].append(stay)
    with pytest.raises(UserError, match="Expected stay_id once in icustays") as caught:
        extracted(records, tmp_path)
    assert str(stay["stay_id"]) not in str(caught.value)


# Item ids


def test_item_ids_are_those_of_the_column_mimic4():
    with VARIABLES_FILE.open(newline="") as lines:
        rows = {row["variable"]: row for row in csv.DictReader(lines) if "clinical" in row["profile"].split("|")}
    variables = load_variables("clinical", "mimic4")
    for variable in variables:
        expected = [cell.partition(":") for cell in rows[variable.name]["mimic4"].split("|")]
        found = [(code["item_id"], code["fahrenheit"], code["table_name"]) for code in codes(variable)]
        assert found == [(int(item), mark == "F", rows[variable.name]["table"]) for item, _, mark in expected]
    for table in ("chartevents", "labevents"):
        wanted = {code["item_id"] for variable in variables for code in codes(variable) if variable.table == table}
        assert set(item_ids(variables, table, "mimic4")) == wanted
    assert not [item for item in item_ids(variables, "chartevents", "mimic4") if item < 220_000]  # none of CareVue


# The synthetic cohort in both shapes


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Folders of one synthetic cohort in both shapes."""
    folder = tmp_path_factory.mktemp("shapes")
    for shape in ("mimic3", "mimic4"):
        generate(folder / shape, STAYS, SEED, "late", shape)
    return folder


@pytest.fixture(scope="module")
def mimic4(both):
    """The tables of the shape of MIMIC-IV as frames."""
    files = find_tables("mimic4", both / "mimic4")
    return {table: pd.read_csv(path, dtype={"value": str}) for table, path in files.items()}


def features_of(result, kind, profile, carry_in_hours=0.0):
    names = [variable.name for variable in load_variables(profile, kind)]
    out = result.folder / "features.parquet"
    build_features(
        stays=result.folder / "stays.parquet",
        measurements=result.folder / "measurements.parquet",
        variable_names=names,
        carry_in_hours=carry_in_hours,
        window_hours=48,
        out=out,
    )
    return out


@pytest.mark.parametrize(
    ("profile", "carry_in_hours", "cohort"),
    [
        ("clinical", 0.0, {}),
        ("reproduction2023", 6.0, {"min_icu_hours": 3, "require_full_window": False, "first_stay_only": True}),
    ],
)
def test_both_shapes_give_the_same_features(both, tmp_path, profile, carry_in_hours, cohort):
    options = {"profile": profile, "carry_in_hours": carry_in_hours, **cohort}
    results = {kind: extracted_from(both / kind, tmp_path / kind, kind, **options) for kind in ("mimic3", "mimic4")}
    files = [features_of(result, kind, profile, carry_in_hours) for kind, result in results.items()]
    assert files[0].read_bytes() == files[1].read_bytes()
    features = pd.read_parquet(files[0])
    assert features["stay_id"].nunique() > 500
    assert features.drop(columns=["stay_id", "hour"]).notna().any().all()
    agreeing = ["stay_id", "subject_id", "hadm_id", "intime", "outtime", "sex", "died_in_hospital", "los_icu_days"]
    stays = [result.stays[agreeing] for result in results.values()]
    pd.testing.assert_frame_equal(*stays)


def test_what_mimic4_cannot_tell_is_what_the_shapes_differ_in(both, tmp_path):
    """Minors and organ donors, whom the rules exclude in one shape, are absent from the other."""
    three, four = (extracted_from(both / kind, tmp_path / kind, kind) for kind in ("mimic3", "mimic4"))
    excluded = three.excluded()
    assert excluded["age"] > 0 and excluded["organ_donor"] > 0  # the seed has what the test is about
    assert {"age", "organ_donor"}.isdisjoint(four.excluded())
    assert four.flow["steps"][0]["stays"] < three.flow["steps"][0]["stays"] == STAYS
    ages = three.stays.merge(four.stays, on="stay_id", suffixes=("_exact", "_anchor"))
    known = ages[(ages["age_years_exact"] < 89) & (ages["age_years_anchor"] < 89)]
    assert len(known) > 500
    # An anchor age is whole years at the first stay; later ones count calendar years.
    assert (known["age_years_exact"] - known["age_years_anchor"]).between(-1, 2, inclusive="neither").all()
    hidden = ages[ages["age_years_exact"] == 91.4]
    assert len(hidden) > 10 and (hidden["age_years_anchor"] == 91).mean() > 0.9


def test_headers_are_those_of_the_release(both):
    headers = HEADERS | {
        "icu/d_items": "itemid label abbreviation linksto category unitname param_type lownormalvalue highnormalvalue",
        "hosp/d_labitems": "itemid label fluid category",
    }
    found = {path.relative_to(both / "mimic4").as_posix() for path in (both / "mimic4").glob("*/*")}
    assert found == {f"{table}.csv.gz" for table in headers}
    for table, names in headers.items():
        with gzip.open(both / "mimic4" / f"{table}.csv.gz", "rt") as lines:
            assert lines.readline().strip().replace('"', "").split(",") == names.split()


def test_the_same_arguments_give_the_same_bytes(both, tmp_path):
    generate(tmp_path, STAYS, SEED, "late", "mimic4")
    for path in (both / "mimic4").glob("*/*"):
        assert (tmp_path / path.relative_to(both / "mimic4")).read_bytes() == path.read_bytes()


def test_the_shape_refers_to_itself_alone(mimic4):
    """Every row names a patient, admission, stay and item that are there, and nothing is there without a stay."""
    stays, admissions, patients = (mimic4[table] for table in ("icustays", "admissions", "patients"))
    assert stays["stay_id"].is_unique and admissions["hadm_id"].is_unique and patients["subject_id"].is_unique
    assert set(stays["subject_id"]) == set(patients["subject_id"])
    assert set(stays["hadm_id"]) == set(admissions["hadm_id"])
    assert set(mimic4["chartevents"]["stay_id"]) <= set(stays["stay_id"])
    assert set(mimic4["labevents"]["subject_id"]) <= set(patients["subject_id"])
    assert set(mimic4["labevents"]["hadm_id"].dropna()) <= set(admissions["hadm_id"])
    assert set(mimic4["chartevents"]["itemid"]) <= set(mimic4["d_items"]["itemid"])
    assert set(mimic4["labevents"]["itemid"]) <= set(mimic4["d_labitems"]["itemid"])
    assert mimic4["labevents"]["labevent_id"].tolist() == list(range(1, len(mimic4["labevents"]) + 1))
    samples = mimic4["labevents"].groupby("specimen_id")
    assert (samples["charttime"].nunique() == 1).all() and (samples["subject_id"].nunique() == 1).all()


def test_anchors_fit_the_dates(mimic4):
    stays = mimic4["icustays"].merge(mimic4["patients"], on="subject_id")
    years = pd.to_datetime(stays["intime"].astype("datetime64[s]")).dt.year
    assert (years >= stays["anchor_year"]).all()
    first = years.groupby(stays["subject_id"]).transform("min")
    assert (first == stays["anchor_year"]).all()
    anchor_age = mimic4["patients"]["anchor_age"]
    assert anchor_age.min() >= 18 and anchor_age[anchor_age > 89].unique().tolist() == [91]


def test_only_items_of_one_charting_system_are_left(mimic4):
    assert mimic4["chartevents"]["itemid"].min() > 220_000
    counts = mimic4["labevents"]["itemid"].value_counts()
    assert counts[50862] > 100 and counts[LATER_ALBUMIN] > 100  # albumin under both of its item ids
    assert {223761, 223762, 225309, 225310} <= set(mimic4["chartevents"]["itemid"])


def test_every_item_keeps_its_variable_and_its_scale():
    """What CareVue charted for a variable is charted for the same variable, on the same scale, by MetaVision."""
    variables = [v for p in ("clinical", "reproduction2023") for v in load_variables(p)]
    meanings = {
        item.item_id: (variable.name, item.fahrenheit)
        for variable in variables
        for items in variable.items.values()
        for item in items
    }
    for old, new in CAREVUE_TO_METAVISION.items():
        assert meanings.get(old) == meanings.get(new), old
    assert {old for old in meanings if old < 1_000 or 6_000 < old < 9_000} <= set(CAREVUE_TO_METAVISION)
    for items in (MIMIC4_CHART_ITEMS, MIMIC4_LAB_ITEMS):
        ids = [item.item_id for item in items]
        assert ids == sorted(set(ids))


def test_an_unknown_shape_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"synthetic\.shape: 'eicu' is unknown; expected one of mimic3, mimic4"):
        generate(tmp_path / "out", 20, 1, "late", "eicu")
    assert not (tmp_path / "out").exists()


def test_a_block_may_lose_all_its_stays(tmp_path, monkeypatch):
    """A short last block may hold one patient only, who is left out."""
    monkeypatch.setattr("ehr_attack.synthetic.mimic4.ADULT_YEARS", 1_000)
    generate(tmp_path, 20, 1, "late", "mimic4")
    assert duckdb.sql(f"SELECT count(*) FROM read_csv('{tmp_path}/icu/icustays.csv.gz')").fetchall() == [(0,)]


def test_the_kind_of_tables_is_that_of_the_source_or_of_the_synthetic_shape():
    config = {"source": {"kind": "synthetic"}, "synthetic": {"shape": "mimic4"}}
    assert table_kind(config) == "mimic4"
    other = copy.deepcopy(config)
    other["source"]["kind"] = "physionet2012"
    assert table_kind(other) == "physionet2012"
    assert load_shape(table_kind(config)).TABLES is TABLES
    assert load_staging("mimic4").__name__ == "ehr_attack.sources.mimic4_staging"


def test_birthdays_are_had_at_their_midnight():
    """Of somebody born on 2100-06-15: 17 in the last second before the 18th birthday, 18 in its first."""
    born = np.array(["2100-06-15"] * 4, dtype="datetime64[s]").astype(np.int64)
    times = ["2118-06-14 23:59:59", "2118-06-15 00:00:00", "2119-01-01 00:00:00", "2100-06-15 00:00:00"]
    assert _birthdays(born, np.array(times, dtype="datetime64[s]").astype(np.int64)).tolist() == [17, 18, 18, 0]
