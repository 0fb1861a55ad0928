"""Damaged tables of the sources: the rows that a slow reader finds, or one message that names the file."""

import csv
import gzip
import io
import random
import re
import tarfile
from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mimic3_builder as mimic3
import mimic4_builder as mimic4
import physionet2012_builder as physionet2012
from ehr_attack.errors import UserError
from ehr_attack.sources import find_tables, load_staging
from ehr_attack.variables import item_ids, load_variables

ONE_FOLDER = [HealthCheck.function_scoped_fixture]
PIECES = [
    b"\0", b'"', b'""', b"\n", b"\r", b"\r\n", b",", b";", b"\t", b"\\", b"\xff", b"\xc3", b"\xef\xbb\xbf",
    b"\xe2\x80\xa8", b"1e400", b"NaN", b"-inf", b"-1", b"0x10", b"abc", b"9" * 20, b"1" * 5000, b"9999-99-99",
    b"0000-01-01", b"2110-02-30 00:00:00", b"2110-03-01", b"infinity", b"2110-03-01 10:00:00", b"50983", b" 50983 ",
]  # fmt: skip


def damaged(content: bytes, dice: random.Random) -> bytes:
    """`content` with one to three pieces cut out, put in, put in place of others or of whole fields, or cut short."""
    harmed = bytearray(content)
    for _ in range(dice.randint(1, 3)):
        start = dice.randrange(len(harmed) + 1)
        end = start + dice.choice([0, 1, 5, 40])
        if dice.random() < 0.5:  # a whole field
            bounds = [0, *(place + 1 for place, sign in enumerate(harmed) if sign in b",\n")]
            if len(bounds) > 1:
                start = dice.choice(bounds[:-1])
                end = next(bound for bound in bounds if bound > start) - 1
        harmed[start:end] = dice.choice([b"", dice.choice(PIECES)])
        if dice.random() < 0.1:
            del harmed[start:]
    return bytes(harmed)


def staged(kind: str, table: str, file: Path, out: Path) -> pd.DataFrame | None:
    """The staged rows; None where the file is refused: in one short line that names it, with nothing left behind."""
    try:
        load_staging(kind).stage(table, file, out / "staged.parquet", load_variables("clinical", kind), threads=1)
    except UserError as error:
        message = str(error)
        assert message.isprintable() and len(message) < 2000, message
        assert message.startswith(str(file.parent)), message
        assert [path for path in out.rglob("*") if path.is_file()] == []
        return None
    return pd.read_parquet(out / "staged.parquet")


# --- MIMIC

WANTED = item_ids(load_variables(), "labevents")
TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")


def labs() -> str:
    records = mimic3.Records()
    stay = mimic3.a_usual_stay(records)
    for hour in range(6):
        stay.lab(mimic3.SODIUM, 130 + hour, hour=hour)
    return records.csv("labevents")


def slowly_read(content: bytes) -> list[tuple] | None:
    """The wanted laboratory rows by Python's own reader and one cell at a time; None where a cell is not plain."""
    try:
        header, *rows = [row for row in csv.reader(io.StringIO(content.decode(), newline=""), strict=True) if row]
    except (UnicodeDecodeError, csv.Error, ValueError):
        return None
    names = [name.strip().lower() for name in header]
    found = []
    for row in rows:
        if len(row) != len(names):
            return None
        cell = dict(zip(names, row, strict=True))
        subject, item, time, value = (cell.get(name, "x") for name in ("subject_id", "itemid", "charttime", "valuenum"))
        if not (re.fullmatch(r"\d{1,9}", subject) and re.fullmatch(r"\d{1,9}", item)):
            return None
        if not (re.fullmatch(r"(\d{1,9}(\.\d{1,9})?)?", value) and (not time or TIME.fullmatch(time))):
            return None
        if int(item) in WANTED and time and value:
            found.append((int(subject), int(item), datetime.fromisoformat(time), float(value)))
    return sorted(found)


def rows_of(frame: pd.DataFrame) -> list[tuple]:
    columns = ["subject_id", "item_id", "event_time", "value"]
    return sorted(
        (int(subject), int(item), time.to_pydatetime(), float(value))
        for subject, item, time, value in frame[columns].itertuples(index=False)
    )


@settings(derandomize=True, max_examples=80, suppress_health_check=ONE_FOLDER)
@given(dice=st.randoms(use_true_random=False))
def test_a_damaged_table_gives_the_rows_that_stand_in_it_or_one_message(tmp_path_factory, dice):
    folder = tmp_path_factory.mktemp("table")
    content = damaged(labs().encode(), dice)
    (folder / "LABEVENTS.csv").write_bytes(content)
    frame = staged("mimic3", "labevents", folder / "LABEVENTS.csv", folder / "out")
    expected = slowly_read(content)
    if frame is not None and expected is not None:
        assert rows_of(frame) == expected


@settings(derandomize=True, max_examples=50, suppress_health_check=ONE_FOLDER)
@given(dice=st.randoms(use_true_random=False), table=st.sampled_from(["admissions", "patients", "icustays"]))
def test_any_damaged_table_of_either_release_is_read_or_refused(tmp_path_factory, dice, table):
    folder = tmp_path_factory.mktemp("table")
    if dice.random() < 0.5:
        kind, records = "mimic3", mimic3.Records()
        mimic3.a_usual_stay(records)
        files = records.write(folder / "in")
    else:
        kind, records = "mimic4", mimic4.Records()
        records.stay(anchor_age=60)
        files = records.write(folder / "in")
    file = find_tables(kind, files)[table]
    file.write_bytes(damaged(file.read_bytes(), dice))
    staged(kind, table, file, folder / "out")


@settings(derandomize=True, max_examples=60, suppress_health_check=ONE_FOLDER)
@given(dice=st.randoms(use_true_random=False))
def test_a_damaged_gzip_gives_all_the_rows_or_is_refused(tmp_path_factory, dice):
    """Its checksums cover every byte, so what is read at all is what was compressed, or nothing but its header fields
    (time, name) has changed."""
    folder = tmp_path_factory.mktemp("gzip")
    plain = labs().encode()
    file = folder / "LABEVENTS.csv.gz"
    file.write_bytes(damaged(gzip.compress(plain, mtime=0), dice))
    frame = staged("mimic3", "labevents", file, folder / "out")
    assert frame is None or rows_of(frame) == slowly_read(plain)


HEADER_DAMAGE = {
    "twice": (lambda names: [*names, "VALUENUM"], "names valuenum twice"),
    "none": (lambda _: [""], "names no column at all"),
    "one is missing": (lambda names: [name for name in names if name != "ITEMID"], "no column itemid"),
    "another separator": (lambda names: [";".join(names)], "names no column at all"),
    "numbers": (lambda names: [str(number) for number, _ in enumerate(names)], "names no column at all"),
    "two lines": (lambda names: [f'"{name[:2]}\n{name[2:]}"' for name in names], "names no column at all"),
    "very long": (lambda names: [f"{name}{'x' * 50_000}" for name in names], "names no column at all"),
}


@pytest.mark.parametrize(("change", "words"), HEADER_DAMAGE.values(), ids=HEADER_DAMAGE)
def test_a_damaged_header_is_told_on_one_short_line(tmp_path, change, words):
    header, rest = labs().replace('"', "").split("\n", 1)
    file = tmp_path / "LABEVENTS.csv"
    file.write_text(",".join(change(header.split(","))) + "\n" + rest)
    with pytest.raises(UserError, match=words) as caught:
        load_staging("mimic3").stage("labevents", file, tmp_path / "out.parquet", load_variables(), threads=1)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 1000


YEAR_290000 = "290000-01-01 00:00:00"
FAR = [
    ("icustays", "intime", YEAR_290000), ("icustays", "intime", "infinity"), ("patients", "dob", YEAR_290000),
    ("patients", "dob", "-infinity"), ("admissions", "dischtime", "0044-03-01 (BC) 10:00:00"),
]  # fmt: skip


@pytest.mark.parametrize(("table", "column", "far"), FAR)
def test_a_date_far_outside_stops_with_one_message_or_leaves_the_other_stays_as_they_are(tmp_path, table, column, far):
    def stays(number: int) -> mimic3.Records:
        records = mimic3.Records()
        for _ in range(number):
            mimic3.a_usual_stay(records)
        return records

    alone = mimic3.extracted(stays(1), tmp_path / "alone")
    records = stays(2)
    records.rows[table][-1][column] = far
    try:
        result = mimic3.extracted(records, tmp_path / "both")
    except UserError as error:
        assert "beyond what can be computed with" in str(error) and "290000-" not in str(error)
        assert not list((tmp_path / "both/extract").glob("*.parquet"))
        return
    first = alone.stays["stay_id"].item()
    assert result.stays[result.stays["stay_id"] == first].reset_index(drop=True).equals(alone.stays)
    kept = result.measurements[result.measurements["stay_id"] == first].reset_index(drop=True)
    assert kept.equals(alone.measurements)


@pytest.mark.parametrize("flag", [2, -1])
def test_an_outcome_that_is_neither_death_nor_survival_is_missing(tmp_path, flag):
    """Not a survivor: the stay is excluded, as where nothing is said."""
    records = mimic3.Records()
    mimic3.a_usual_stay(records)
    mimic3.a_usual_stay(records).admission["hospital_expire_flag"] = flag
    result = mimic3.extracted(records, tmp_path)
    assert len(result.stays) == 1 and result.excluded() == {"time_order": 1}


# --- PhysioNet 2012


@settings(derandomize=True, max_examples=60, suppress_health_check=ONE_FOLDER)
@given(dice=st.randoms(use_true_random=False))
def test_a_damaged_record_gives_the_lines_that_stand_in_it_or_one_message(tmp_path_factory, dice):
    folder = physionet2012.write_set(tmp_path_factory.mktemp("sets"), "a", {11: ["00:07,HR,73", "01:30,Na,140"]})
    record = folder / "set-a/11.txt"
    content = damaged(record.read_bytes(), dice)
    record.write_bytes(content)
    frame = staged("physionet2012", "records_a", folder / "set-a", folder / "out")
    if frame is not None:
        found = sorted(zip(frame["hours"], frame["parameter"], frame["value"], strict=True))
        assert found == lines_of(content)


def lines_of(content: bytes) -> list[tuple]:
    """The wanted lines of a record that was read, one at a time."""
    wanted = {"RecordID", "Age", "Gender", "ICUType"}
    wanted |= {name for variable in load_variables("clinical", "physionet2012") for name in variable.physionet2012}
    found = []
    for line in content.removeprefix(b"\xef\xbb\xbf").splitlines()[1:]:
        fields = (
            line.decode().removesuffix(",").split(",")
        )  # an empty field at the end holds nothing that could be lost
        if len(fields) == 3 and fields[1] in wanted:
            hours, minutes = fields[0].split(":")
            found.append((int(hours) + int(minutes) / 60, fields[1], float(fields[2])))
    return sorted(found)


@settings(derandomize=True, max_examples=40, suppress_health_check=ONE_FOLDER)
@given(dice=st.integers(0, 2**32).map(random.Random), part=st.sampled_from(["set-a.tar.gz", "Outcomes-a.txt"]))
def test_a_damaged_archive_or_table_of_outcomes_is_read_or_refused(tmp_path_factory, dice, part):
    folder = physionet2012.write_set(
        tmp_path_factory.mktemp("sets"), "a", {11: ["00:07,HR,73"]}, deaths=[11], archive=True
    )
    file = folder / part
    file.write_bytes(damaged(file.read_bytes(), dice))
    table = "records_a" if part.startswith("set") else "outcomes_a"
    frame = staged("physionet2012", table, file, folder / "out")
    assert frame is None or table == "outcomes_a" or set(frame["parameter"]) >= {"HR", "Age"}


def test_a_member_of_an_archive_that_leads_elsewhere_is_read_as_a_record_and_written_nowhere(tmp_path):
    text = physionet2012.record_text(11, ["00:07,HR,73"]).encode()
    folder = physionet2012.write_set(tmp_path / "sets", "a", {11: ["00:07,HR,73"]}, archive=True)
    with tarfile.open(folder / "set-a.tar.gz", "w:gz") as archive:
        for name in ("../../../../11.txt", "/12.txt"):
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))
        link = tarfile.TarInfo("set-a/13.txt")
        link.type, link.linkname = tarfile.SYMTYPE, str(folder / "Outcomes-a.txt")
        archive.addfile(link)
    frame = staged("physionet2012", "records_a", folder / "set-a.tar.gz", tmp_path / "out")
    assert frame is not None and set(frame["stay_id"]) == {11, 12}
    assert {path.name for path in tmp_path.rglob("*.txt")} == {"Outcomes-a.txt"}
