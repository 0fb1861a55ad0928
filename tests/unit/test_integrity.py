"""Integrity: rows as published, repeated keys and impossible times, on tables made by hand and on the demo."""

import csv
import gzip
from pathlib import Path

import pandas as pd
import pytest

from ehr_attack import integrity
from ehr_attack.errors import UserError
from ehr_attack.integrity import check_integrity, published_rows
from ehr_attack.sources import find_tables
from ehr_attack.sources.mimic3_staging import stage
from ehr_attack.staging import rows_file
from ehr_attack.storage import read_json
from ehr_attack.summaries.audit import integrity_table
from ehr_attack.variables import load_variables
from mimic3_builder import HEART_RATE, INTIME, SODIUM, Records, moment, staged


def checked(tables: dict[str, Path], out: Path, *, full_release: bool = False) -> pd.DataFrame:
    file = out / "integrity.parquet"
    check_integrity(
        kind="mimic3",
        version="1.4",
        full_release=full_release,
        tables=tables,
        rows_files={name: rows_file(path) for name, path in tables.items()},
        out=file,
        threads=1,
    )
    return pd.read_parquet(file)


def found(frame: pd.DataFrame) -> dict[tuple[str, str], int]:
    """Cases of every check that found something, but for the counts of rows."""
    frame = frame[(frame["cases"] > 0) & (frame["what"] != "rows read")]
    return frame.set_index(["table_name", "what"])["cases"].to_dict()


@pytest.fixture
def records() -> Records:
    """One faultless stay; the bystanders of the builder, who are in no stay, are taken out."""
    records = Records()
    for table in ("chartevents", "labevents"):
        records.rows[table].clear()
    records.patient().stay().charted(HEART_RATE, 80, hour=1).lab(SODIUM, 140, hour=1)
    return records


def test_sound_tables_have_no_cases(records, tmp_path):
    frame = checked(staged(records.write(tmp_path / "source"), tmp_path), tmp_path)
    assert found(frame) == {} and len(frame) > 20
    assert frame.query("what == 'rows read'")["cases"].tolist() == [1, 1, 1, 1, 1]


def test_each_fault_is_counted_once(records, tmp_path):
    stay = records.patient().stay()
    stay.charted(HEART_RATE, 81, hour=1).charted(HEART_RATE, 81, hour=1).charted(HEART_RATE, 81, hour=1)
    stay.lab(SODIUM, 141, hour=1).lab(SODIUM, 141, hour=1)
    stay.charted(HEART_RATE, 82, hour=2, named=False)
    stay.charted(HEART_RATE, 83, hour=3, icustay_id=999_999)
    stay.charted(HEART_RATE, 84, hour=-23).charted(HEART_RATE, 84, hour=-24)
    stay.lab(SODIUM, 142, hour=72 + 23).lab(SODIUM, 142, hour=72 + 24)
    records.patient(born="2110-03-01 11:00:00").stay().lab(SODIUM, 150, hour=0.5)
    records.patient().stay(died_at_hour=10).lab(SODIUM, 151, hour=33).lab(SODIUM, 151, hour=34)
    records.patient().stay(dischtime=moment(INTIME, -3))
    records.patient().stay(deathtime=moment(INTIME, -3))
    records.patient().stay(outtime=moment(INTIME))
    records.patient().stay(admittime=moment(INTIME, 24))
    records.patient().stay(hadm_id=7).admission["hadm_id"] = 8
    assert found(checked(staged(records.write(tmp_path / "source"), tmp_path), tmp_path)) == {
        ("chartevents", "equal to another row in all that is read"): 2,
        ("labevents", "equal to another row in all that is read"): 1,
        ("chartevents", "name no ICU stay"): 1,
        ("chartevents", "name an ICU stay that is not the patient's or unknown"): 1,
        ("chartevents", "a day or more before or after the stay that they name"): 1,
        ("chartevents", "a day or more from every ICU stay of the patient"): 1,
        ("labevents", "a day or more from every ICU stay of the patient"): 1,
        ("labevents", "before the patient was born"): 1,
        ("labevents", "a day or more after the patient's death in hospital"): 1,
        ("admissions", "discharged before they were admitted"): 1,
        ("admissions", "died before they were admitted"): 1,
        ("icustays", "without a time in or out, or out before in"): 1,
        # The one whose admission begins a day after it, and the one that was discharged before it.
        ("icustays", "begin a day or more before their admission, or after its end"): 2,
        ("icustays", "without their admission or patient"): 1,
    }


@pytest.mark.parametrize("table", ["icustays", "admissions", "patients"])
def test_repeated_keys_are_counted(records, tmp_path, table):
    records.rows[table].append(records.rows[table][0])
    frame = checked(staged(records.write(tmp_path / "source"), tmp_path), tmp_path)
    assert found(frame)[table, "keys that stand more than once"] == 1


# --- rows read


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_all_rows_are_counted_while_the_wanted_ones_are_read(records, tmp_path, suffix):
    stay = records.patient().stay()
    for _ in range(4000):
        stay.charted(1, 'two\nlines, and a "quotation"', hour=1, valuenum=None)
    folder = records.write(tmp_path / "source", suffix=suffix)
    counts = read_json(rows_file(staged(folder, tmp_path, threads=2)["chartevents"]))
    assert counts == {"rows_read": 4001, "rows_kept": 1}


def test_the_demo_is_counted_in_the_same_scan(shared_dir, tmp_path):
    folder = shared_dir / "data" / "mimiciii-demo-1.4"
    for table in ("chartevents", "labevents", "icustays"):
        file = find_tables("mimic3", folder)[table]
        out = tmp_path / f"{table}.parquet"
        stage(table, file, out, load_variables(), threads=2)
        with gzip.open(file, "rt", newline="") as lines:
            total = sum(1 for _ in csv.reader(lines)) - 1
        assert read_json(rows_file(out))["rows_read"] == total


def test_a_full_release_that_is_short_or_long_ends_the_run_with_a_table(records, tmp_path, monkeypatch):
    file = tmp_path / "published.csv"
    file.write_text(
        "kind,version,table,rows\nmimic3,1.4,chartevents,1234567\nmimic3,1.4,labevents,1\nmimic3,1.4,icustays,0\n"
    )
    monkeypatch.setattr(integrity, "PUBLISHED_ROWS_FILE", file)
    tables = staged(records.write(tmp_path / "source"), tmp_path)
    with pytest.raises(UserError) as caught:
        checked(tables, tmp_path, full_release=True)
    lines = [line.split() for line in str(caught.value).splitlines()]
    assert ["chartevents", "1", "1,234,567", "-1,234,566"] in lines and ["icustays", "1", "0", "+1"] in lines
    assert "labevents" not in str(caught.value) and "source.full_release" in str(caught.value)
    assert not (tmp_path / "integrity.parquet").exists()


def test_a_full_release_with_all_rows_passes_and_says_so(records, tmp_path, monkeypatch):
    file = tmp_path / "published.csv"
    file.write_text("kind,version,table,rows\nmimic3,1.4,chartevents,1\n")
    monkeypatch.setattr(integrity, "PUBLISHED_ROWS_FILE", file)
    tables = staged(records.write(tmp_path / "source"), tmp_path)
    notes = checked(tables, tmp_path, full_release=True).query("what == 'rows read'").set_index("table_name")
    assert notes.loc["chartevents", "consequence"] == "as published"
    assert notes.loc["labevents", "consequence"] == "not compared with a release"


def test_the_published_numbers():
    assert published_rows("mimic3", "v1.4") == {
        "chartevents": 330_712_483,
        "labevents": 27_854_055,
        "icustays": 61_532,
        "admissions": 58_976,
        "patients": 46_520,
    }
    assert published_rows("mimic4", None) == {
        "chartevents": 432_997_491,
        "labevents": 158_374_764,
        "icustays": 94_458,
    }


@pytest.mark.parametrize(("kind", "version"), [("mimic4", "2.2"), ("physionet2012", None)])
def test_a_release_of_unknown_size_is_refused(kind, version):
    with pytest.raises(UserError, match=r"source\.full_release: .* is not known"):
        published_rows(kind, version)


def test_small_numbers_are_hidden():
    rows = [(3, 500, "<10", "500"), (497, 500, "all but <10", "500"), (40, 500, "40", "500"), (4, 7, "<10", "<10")]
    frame = pd.DataFrame(
        [{"table_name": "t", "what": "w", "cases": a, "total": b, "consequence": "c"} for a, b, *_ in rows]
    )
    table = integrity_table(frame)
    assert list(zip(table["cases"], table["total"], strict=True)) == [tuple(row[2:]) for row in rows]
    assert table["percent"].notna().tolist() == [False, False, True, False]
