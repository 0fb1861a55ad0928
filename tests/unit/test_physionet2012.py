"""The PhysioNet 2012 source: sets found, records read as written, and every mistake named."""

import gzip
import shutil

import pytest

from ehr_attack.errors import UserError
from ehr_attack.folds import folds_by_set
from ehr_attack.sources import find_tables, held_out_sets
from ehr_attack.variables import load_variables
from physionet2012_builder import HEADER, KIND, extracted, features_of, record_text, staged, write_set

TWO = {11: ["00:07,HR,73", "01:30,Na,140"], 12: ["02:00,HR,90"]}


# --- finding the sets


def test_folders_and_archives_are_found_with_their_outcomes(tmp_path):
    write_set(tmp_path, "a", TWO)
    write_set(tmp_path, "b", {21: []}, archive=True)
    (tmp_path / "README.txt").write_text("not a record")
    found = {table: path.name for table, path in find_tables(KIND, tmp_path).items()}
    assert found == {
        "records_a": "set-a", "records_b": "set-b.tar.gz",
        "outcomes_a": "Outcomes-a.txt", "outcomes_b": "Outcomes-b.txt",
    }  # fmt: skip


def test_of_a_folder_and_an_archive_the_archive_is_taken(tmp_path):
    write_set(tmp_path, "a", TWO, archive=True)
    (tmp_path / "set-a").mkdir()
    assert find_tables(KIND, tmp_path)["records_a"].name == "set-a.tar.gz"


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (shutil.rmtree, ["no such folder", "source.path", "set-<x>"]),
        (lambda folder: shutil.rmtree(folder / "set-a"), ["no set of records", "set-<x>.tar.gz", "download"]),
        (lambda folder: (folder / "Outcomes-a.txt").unlink(), ["no Outcomes-a.txt", "download"]),
        (lambda folder: (folder / "set-a").rename(folder / "set-a.zip"), ["set-a.zip", "Unpack it"]),
    ],
)
def test_a_folder_without_its_parts_is_refused(tmp_path, prepare, words):
    folder = write_set(tmp_path / "sets", "a", TWO)
    prepare(folder)
    with pytest.raises(UserError) as caught:
        find_tables(KIND, folder)
    assert all(word in str(caught.value) for word in [str(folder), *words])


def test_the_folder_of_the_records_themselves_points_one_folder_up(tmp_path):
    folder = write_set(tmp_path, "a", TWO) / "set-a"
    with pytest.raises(UserError, match=r"set source\.path to the folder above"):
        find_tables(KIND, folder)


# --- reading records


def test_descriptors_become_the_stay(tmp_path):
    write_set(
        tmp_path / "sets",
        "a",
        {
            11: record_text(11, ["00:07,HR,73"], age=90, gender=0, icu_type=1),
            12: record_text(12, ["00:07,HR,73"], age=18, gender=1, icu_type=2),
            13: record_text(13, ["00:07,HR,73"], age=44, gender=-1, icu_type=4),
            14: record_text(14, ["00:07,HR,73"], age=-1),
            15: record_text(15, ["00:07,HR,73"], age=17),
        },
        deaths=[12],
        hospital_days=-1,
    )
    result = extracted(tmp_path / "sets", tmp_path / "out")
    stays = result.stays.set_index("stay_id")
    assert stays["age_years"].to_dict() == {11: 90.0, 12: 18.0, 13: 44.0}
    assert stays["sex"].fillna("unknown").to_list() == ["F", "M", "unknown"]
    assert stays["care_unit"].to_list() == ["CCU", "CSRU", "SICU"]
    assert stays["died_in_hospital"].to_list() == [False, True, False]
    assert (stays["subject_id"] == stays.index).all() and (stays["hours_observable"] == 48).all()
    for column in ("hadm_id", "intime", "outtime", "los_icu_days", "los_hospital_days"):
        assert stays[column].isna().all()
    assert result.excluded() == {"age": 2}


def test_hours_are_since_admission_and_hour_48_is_outside(tmp_path):
    lines = ["00:00,HR,60", "00:59,HR,61", "01:00,HR,62", "47:59,HR,63", "48:00,HR,64"]
    write_set(tmp_path / "sets", "a", {11: lines})
    result = extracted(tmp_path / "sets", tmp_path / "out")
    assert result.cells("heart_rate") == [(0.0, 60.0), (59 / 60, 61.0), (1.0, 62.0), (47 + 59 / 60, 63.0)]
    cells = features_of(result)["heart_rate"].dropna()
    assert cells.to_dict() == {(11, 0): 60.5, (11, 1): 62.0, (11, 47): 63.0}


def test_minus_one_and_implausible_values_are_missing(tmp_path):
    lines = [
        "01:00,Weight,-1", "01:00,Temp,-17.8", "01:00,Temp,36.6", "01:00,pH,735", "01:00,pH,7.35",
        "01:00,SysABP,0", "01:00,Urine,0", "01:00,Urine,-1", "01:00,GCS,3",
    ]  # fmt: skip
    write_set(tmp_path / "sets", "a", {11: lines})
    measured = extracted(tmp_path / "sets", tmp_path / "out", profile="all").measurements
    found = {name: rows["value"].to_list() for name, rows in measured.groupby("variable")}
    assert found == {"age": [60.0], "temperature": [36.6], "ph": [7.35], "urine": [0.0], "gcs": [3.0]}


def test_invasive_and_cuff_pressures_are_one_variable(tmp_path):
    lines = ["01:05,SysABP,120", "01:35,NISysABP,110", "01:05,DiasABP,60", "01:06,NIMAP,77", "01:07,MAP,79"]
    write_set(tmp_path / "sets", "a", {11: lines})
    cells = features_of(extracted(tmp_path / "sets", tmp_path / "out", profile="all"), "all").loc[(11, 1)].dropna()
    assert cells.to_dict() == {"sbp": 115.0, "dbp": 60.0, "map": 78.0}


def test_the_profiles_take_what_the_source_has():
    clinical = {variable.name for variable in load_variables("clinical")}
    ours = {variable.name for variable in load_variables("clinical", KIND)}
    everything = load_variables("all", KIND)
    assert clinical - ours == {"calcium"} and ours <= {variable.name for variable in everything}
    # The 37 time series that the challenge documents, and age.
    parameters = {name for variable in everything for name in variable.physionet2012}
    assert parameters == {
        "Albumin", "ALP", "ALT", "AST", "Bilirubin", "BUN", "Cholesterol", "Creatinine", "DiasABP", "FiO2", "GCS",
        "Glucose", "HCO3", "HCT", "HR", "K", "Lactate", "Mg", "MAP", "MechVent", "Na", "NIDiasABP", "NIMAP", "NISysABP",
        "PaCO2", "PaO2", "pH", "Platelets", "RespRate", "SaO2", "SysABP", "Temp", "TroponinI", "TroponinT", "Urine",
        "WBC", "Weight", "Age",
    }  # fmt: skip


def test_a_stay_with_descriptors_only_is_excluded_and_counted(tmp_path):
    write_set(tmp_path / "sets", "a", {11: [], 12: ["00:10,HR,80"]})
    result = extracted(tmp_path / "sets", tmp_path / "out", profile="clinical")
    assert result.stays["stay_id"].to_list() == [12] and result.excluded() == {"no_measurement": 1}


def test_folder_and_archive_line_ends_and_threads_give_the_same_bytes(tmp_path):
    write_set(tmp_path / "one", "a", TWO)
    write_set(tmp_path / "two", "a", TWO, archive=True)
    windows = {record: record_text(record, lines).replace("\n", "\r\n") + "\r\n" for record, lines in TWO.items()}
    write_set(tmp_path / "three", "a", windows)
    made = []
    for name, threads in (("one", 1), ("two", 2), ("three", 1)):
        views = staged(tmp_path / name, tmp_path / f"out_{name}", threads=threads)
        made.append([path.read_bytes() for paths in views.values() for path in paths])
    assert made[0] == made[1] == made[2]


def test_several_sets_are_one_cohort_and_keep_their_names(tmp_path):
    write_set(tmp_path / "sets", "a", TWO)
    write_set(tmp_path / "sets", "c", {31: ["00:10,HR,80"]}, deaths=[31], archive=True)
    stays = extracted(tmp_path / "sets", tmp_path / "out").stays
    assert dict(zip(stays["stay_id"], stays["source_set"], strict=True)) == {11: "a", 12: "a", 31: "c"}


# --- mistakes

BAD_LINES = {
    "a text for a number": ("03:00,HR,high", ", line 9"),
    "a line cut short": ("03:00,HR", ", line 9"),
    "no time": ("HR,80", ", line 9"),
    "no number": ("03:00,HR,", ""),
    "a time without minutes": ("3,HR,80", ""),
}


@pytest.mark.parametrize("kind", BAD_LINES)
@pytest.mark.parametrize("archive", [False, True])
def test_a_bad_line_is_named_by_its_file(tmp_path, kind, archive):
    line, place = BAD_LINES[kind]
    folder = write_set(tmp_path / "sets", "a", TWO | {13: ["00:05,HR,77", line]}, archive=archive)
    with pytest.raises(UserError) as caught:
        staged(folder, tmp_path / "out")
    message = str(caught.value)
    assert f"set-a/13.txt{place}: expected a time as hours:minutes" in message
    assert "high" not in message and "77" not in message
    assert not list((tmp_path / "out").glob("records*")) and not list((tmp_path / "out").glob(".*"))


def test_a_record_without_its_header_line_is_named(tmp_path):
    folder = write_set(tmp_path / "sets", "a", TWO | {13: record_text(13, []).removeprefix(HEADER + "\n")})
    with pytest.raises(UserError, match=r"set-a/13.txt does not begin with the line Time,Parameter,Value"):
        staged(folder, tmp_path / "out")


def test_an_empty_set_is_named(tmp_path):
    folder = write_set(tmp_path / "sets", "a", {})
    with pytest.raises(UserError, match=r"set-a: no record in it. Expected files named <RecordID>.txt"):
        staged(folder, tmp_path / "out")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: data[: len(data) // 2], "cut short, damaged or not compressed"),
        (lambda data: b"<html>404 Not found</html>", "cut short, damaged or not compressed"),
        (lambda data: gzip.compress(b"no tar archive, but a gzip file"), "not a tar archive"),
        (lambda data: gzip.compress(gzip.decompress(data)[:1500]), "cut short"),
    ],
    ids=["truncated", "not a gzip", "not a tar", "truncated inside"],
)
def test_a_damaged_archive_is_named(tmp_path, damage, words):
    folder = write_set(tmp_path / "sets", "a", TWO, archive=True)
    archive = folder / "set-a.tar.gz"
    archive.write_bytes(damage(archive.read_bytes()))
    with pytest.raises(UserError, match=words) as caught:
        staged(folder, tmp_path / "out")
    assert "set-a.tar.gz" in str(caught.value) and "ownload it again" in str(caught.value).replace("\n", " ")
    assert not list((tmp_path / "out").glob("records*")) and not list((tmp_path / "out").glob(".*"))


def test_parts_of_a_set_that_do_not_fit_are_refused(tmp_path):
    for name, spoil, message in (
        ("record", lambda folder: (folder / "set-a" / "12.txt").unlink(), "have no file set-<x>/<RecordID>.txt"),
        ("outcome", lambda folder: drop_last_line(folder / "Outcomes-a.txt"), "no line in the Outcomes files"),
        ("name", lambda folder: swap_files(folder / "set-a", "11.txt", "12.txt"), "another RecordID"),
        ("twice", lambda folder: copy_set(folder, "a", "b"), "stand more than once"),
    ):
        folder = write_set(tmp_path / name, "a", TWO)
        spoil(folder)
        with pytest.raises(UserError, match=message):
            extracted(folder, tmp_path / f"out_{name}")


def drop_last_line(file):
    file.write_text("\n".join(file.read_text().splitlines()[:-1]) + "\n")


def swap_files(folder, one, other):
    first = (folder / one).read_bytes()
    (folder / one).write_bytes((folder / other).read_bytes())
    (folder / other).write_bytes(first)


def copy_set(folder, one, other):
    shutil.copytree(folder / f"set-{one}", folder / f"set-{other}")
    shutil.copy(folder / f"Outcomes-{one}.txt", folder / f"Outcomes-{other}.txt")


# --- folds by set


def two_sets(tmp_path, deaths_b=(21,)):
    write_set(tmp_path / "sets", "a", {11: ["00:10,HR,80"], 12: ["00:10,HR,80"]}, deaths=[11])
    write_set(tmp_path / "sets", "b", {21: ["00:10,HR,80"], 22: ["00:10,HR,80"]}, deaths=deaths_b)
    return extracted(tmp_path / "sets", tmp_path / "out").stays


def test_each_set_is_held_out_in_turn(tmp_path):
    stays = two_sets(tmp_path)
    every = folds_by_set(stays, ["a", "b"])
    assert dict(zip(every["stay_id"], every["fold"], strict=True)) == {11: 0, 12: 0, 21: 1, 22: 1}
    only_b = folds_by_set(stays, ["b"])
    assert dict(zip(only_b["stay_id"], only_b["fold"], strict=True)) == {11: -1, 12: -1, 21: 0, 22: 0}


def test_a_set_of_one_outcome_cannot_be_held_out(tmp_path):
    with pytest.raises(UserError, match="with set b held out, it would hold only survivors"):
        folds_by_set(two_sets(tmp_path, deaths_b=()), ["b"])


def test_a_patient_in_two_sets_is_refused(tmp_path):
    stays = two_sets(tmp_path).assign(subject_id=1)
    with pytest.raises(UserError, match="by_set needs sets that share no patient"):
        folds_by_set(stays, ["a", "b"])


def test_the_sets_to_hold_out_are_those_found_or_those_wanted(tmp_path):
    tables = dict.fromkeys(("records_a", "records_b", "outcomes_a", "outcomes_b"), tmp_path)
    assert held_out_sets(tables, None) == ["a", "b"]
    assert held_out_sets(tables, ["b"]) == ["b"]
    with pytest.raises(UserError, match=r"folds.held_out_sets: there is no set 'c' in source.path; found a, b"):
        held_out_sets(tables, ["c"])
    with pytest.raises(UserError, match=r"folds.method: by_set .* has only set a"):
        held_out_sets({"records_a": tmp_path, "outcomes_a": tmp_path}, None)
