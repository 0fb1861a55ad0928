"""Whatever the shape of a CSV table, its rows are the right ones: generated files, and tables in parts."""

import gzip
import random
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ehr_attack.digests import data_digest
from ehr_attack.errors import UserError
from ehr_attack.sources import find_tables, mimic3_staging
from ehr_attack.staging import rows_file
from ehr_attack.storage import read_json
from ehr_attack.variables import item_ids, load_variables
from mimic3_builder import SODIUM, Records, a_usual_stay

VARIABLES = load_variables()
WANTED = item_ids(VARIABLES, "labevents")
COLUMNS = ["row_id", "subject_id", "hadm_id", "itemid", "charttime", "value", "valuenum", "valueuom", "flag"]
KEPT = ["subject_id", "item_id", "event_time", "value", "unit"]


def staged(source: Path, out: Path) -> pd.DataFrame:
    mimic3_staging.stage("labevents", source, out, VARIABLES, threads=1)
    return pd.read_parquet(out)


# --- generated files

awkward_text = st.text(st.sampled_from("ab °µ,\"\n'\\;|#"), max_size=6).map(lambda text: text.replace("\r", ""))
numbers = st.one_of(
    st.none(),
    st.integers(-5, 3000).map(str),
    st.floats(allow_nan=False, allow_infinity=False, width=32).map(repr),
    st.sampled_from(["1e308", "-0.0", ".5", "5.", "1E-3", "+7", "NaN", "nan", "inf", "-Infinity"]),
)
rows_of_a_table = st.lists(
    st.fixed_dictionaries(
        {
            "subject_id": st.integers(0, 10**9),
            "hadm_id": st.one_of(st.none(), st.integers(0, 10**6)),
            "itemid": st.one_of(st.sampled_from(WANTED), st.integers(1, 60000)),
            "charttime": st.one_of(
                st.none(),
                st.integers(0, 10**9).map(lambda seconds: datetime(2100, 1, 1) + timedelta(seconds=seconds)),
            ),
            "value": awkward_text,
            "valuenum": numbers,
            "valueuom": st.sampled_from([None, "mg/dL", "mEq/L", 'in"ch', "a,b", " µg "]),
            "flag": st.sampled_from([None, "abnormal"]),
        }
    ),
    min_size=1,
    max_size=12,
)


class Shape:
    """A way to write a table: order and case of the columns, extra ones, quoting, line ends, encoding, compression."""

    def __init__(self, dice: random.Random) -> None:
        self.columns = [*COLUMNS, *dice.sample(["extra", "note", "storetime"], dice.randrange(3))]
        dice.shuffle(self.columns)
        self.case = dice.choice([str.upper, str.lower, str.title])
        self.quote_all, self.quote_header = dice.random() < 0.3, dice.random() < 0.5
        self.line_end = dice.choice(["\n", "\r\n"])
        self.mark = dice.choice(["", "\ufeff"])
        self.last_end = dice.random() < 0.8
        self.members = dice.choice([0, 1, 3])

    def text(self, rows: list[dict]) -> str:
        header = [f'"{self.case(name)}"' if self.quote_header else self.case(name) for name in self.columns]
        lines = [",".join(header), *(self._line(number, row) for number, row in enumerate(rows, start=1))]
        return self.mark + self.line_end.join(lines) + (self.line_end if self.last_end else "")

    def _line(self, number: int, row: dict) -> str:
        full = {"row_id": number, "extra": 'x,"y', "note": "two\nlines", "storetime": "2100-01-01 00:00:00"} | row
        return ",".join(self._field(full[column]) for column in self.columns)

    def _field(self, value: object) -> str:
        if value is None:
            return ""
        text = str(value)
        if self.quote_all or any(sign in text for sign in ',"\n') or text != text.strip():
            return '"' + text.replace('"', '""') + '"'
        return text

    def write(self, rows: list[dict], folder: Path, name: str = "LABEVENTS.csv") -> Path:
        content = self.text(rows).encode()
        if not self.members:
            (folder / name).write_bytes(content)
            return folder / name
        size = -(-len(content) // self.members)
        parts = [content[start : start + size] for start in range(0, len(content), size)]
        (folder / f"{name}.gz").write_bytes(b"".join(map(gzip.compress, parts)))
        return folder / f"{name}.gz"


def expected(rows: list[dict]) -> list[tuple]:
    """What staging must keep, from the rows themselves: wanted items with a time and a number, as float64 (its repr, by
    which NaN equals itself)."""
    kept = [
        (row["subject_id"], row["itemid"], row["charttime"], repr(float(row["valuenum"])), row["valueuom"])
        for row in rows
        if row["itemid"] in WANTED and row["charttime"] is not None and row["valuenum"] is not None
    ]
    return sorted(kept, key=repr)


def as_tuples(frame: pd.DataFrame) -> list[tuple]:
    plain = [
        (int(subject), int(item), time.to_pydatetime(), repr(float(value)), None if pd.isna(unit) else unit)
        for subject, item, time, value, unit in frame[KEPT].itertuples(index=False)
    ]
    return sorted(plain, key=repr)


@settings(max_examples=80)
@given(rows=rows_of_a_table, dice=st.randoms(use_true_random=False))
def test_the_rows_do_not_depend_on_the_shape_of_the_file(tmp_path_factory, rows, dice):
    folder = tmp_path_factory.mktemp("shape")
    out = folder / "labevents.parquet"
    assert as_tuples(staged(Shape(dice).write(rows, folder), out)) == expected(rows)
    assert read_json(rows_file(out)) == {"rows_read": len(rows), "rows_kept": len(expected(rows))}


@settings(max_examples=25)
@given(tables=st.lists(rows_of_a_table, min_size=1, max_size=4), dice=st.randoms(use_true_random=False))
def test_a_folder_of_parts_is_the_table_of_all_their_rows(tmp_path_factory, tables, dice):
    """Every part in a shape of its own: columns are found by each part's own header line."""
    folder = tmp_path_factory.mktemp("parts")
    table = folder / "LABEVENTS"
    table.mkdir()
    for number, rows in enumerate(tables):
        Shape(dice).write(rows, table, f"part-{number}.csv")
    rows = [row for part in tables for row in part]
    out = folder / "out.parquet"
    assert as_tuples(staged(table, out)) == expected(rows)
    assert read_json(rows_file(out))["rows_read"] == len(rows)


# --- a table that is a folder of parts


@pytest.fixture
def labs() -> Records:
    records = Records()
    stay = a_usual_stay(records)
    for hour in range(40):
        stay.lab(SODIUM, 130 + hour / 10, hour=hour)
    return records


def in_parts(records: Records, folder: Path, name: str = "LABEVENTS.csv.gz", *, parts: int = 3) -> Path:
    """Write the laboratory table as a folder `name` of compressed parts."""
    header, *lines = records.csv("labevents").splitlines(keepends=True)
    table = folder / name
    table.mkdir(parents=True)
    for number in range(parts):
        text = header + "".join(lines[number::parts])
        (table / f"part-{number:05}.csv.gz").write_bytes(gzip.compress(text.encode()))
    return table


@pytest.mark.parametrize("name", ["LABEVENTS", "labevents.csv", "LabEvents.csv.gz"])
def test_parts_give_the_bytes_of_the_whole_file(tmp_path, labs, name):
    whole = labs.write(tmp_path / "whole") / "LABEVENTS.csv"
    folder = labs.write(tmp_path / "parts")
    (folder / "LABEVENTS.csv").unlink()
    table = in_parts(labs, folder, name)
    (table / "_SUCCESS").touch()
    (table / ".part-00000.csv.gz.crc").write_bytes(b"\0")
    assert find_tables("mimic3", folder)["labevents"] == table
    staged(whole, tmp_path / "whole.parquet")
    staged(table, tmp_path / "parts.parquet")
    assert (tmp_path / "whole.parquet").read_bytes() == (tmp_path / "parts.parquet").read_bytes()


def test_a_file_comes_before_a_folder_and_an_empty_folder_is_none(tmp_path, labs):
    folder = labs.write(tmp_path)
    in_parts(labs, folder, "labevents")
    assert find_tables("mimic3", folder)["labevents"].name == "LABEVENTS.csv"
    (folder / "LABEVENTS.csv").unlink()
    for part in (folder / "labevents").iterdir():
        part.unlink()
    with pytest.raises(UserError, match="no file for LABEVENTS"):
        find_tables("mimic3", folder)


def test_a_part_may_be_empty_below_its_header_but_not_all(tmp_path, labs):
    table = in_parts(labs, tmp_path)
    header = labs.csv("labevents").splitlines(keepends=True)[0]
    (table / "part-00003.csv").write_text(header)
    assert len(staged(table, tmp_path / "out.parquet")) == 41
    for part in table.iterdir():
        part.write_bytes(gzip.compress(header.encode()) if part.suffix == ".gz" else header.encode())
    with pytest.raises(UserError, match=r"LABEVENTS\.csv\.gz: the table has no rows"):
        staged(table, tmp_path / "again.parquet")


def cut_short(part: Path) -> None:
    part.write_bytes(part.read_bytes()[:-40])


def without_its_header(part: Path) -> None:
    part.write_bytes(gzip.compress(gzip.decompress(part.read_bytes()).split(b"\n", 1)[1]))


def with_a_wrong_value(part: Path) -> None:
    text = gzip.decompress(part.read_bytes()).decode().replace("130.1", "13o.1")
    part.write_bytes(gzip.compress(text.encode()))


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        pytest.param(cut_short, "the gzip file is cut short", id="cut short"),
        pytest.param(without_its_header, "names no column at all", id="no header"),
        pytest.param(with_a_wrong_value, "line 2: the value in column valuenum is not a DOUBLE", id="wrong value"),
    ],
)
def test_a_damaged_part_is_named_and_nothing_is_left(tmp_path, labs, harm, words):
    table = in_parts(labs, tmp_path)
    part = table / "part-00002.csv.gz"
    harm(part)
    with pytest.raises(UserError) as caught:
        staged(table, tmp_path / "out" / "labevents.parquet")
    assert f"{part.name}" in str(caught.value) and words in str(caught.value)
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


def test_a_part_that_is_there_twice_is_refused(tmp_path, labs):
    table = in_parts(labs, tmp_path)
    (table / "part-00001.csv").write_bytes(gzip.decompress((table / "part-00001.csv.gz").read_bytes()))
    with pytest.raises(UserError, match=r"part-00001\.csv\.gz is there compressed and plain"):
        staged(table, tmp_path / "out.parquet")


def test_the_digest_of_a_folder_tells_an_edit_of_any_part_and_no_touch(tmp_path, labs):
    table = in_parts(labs, tmp_path)
    before = data_digest(table)
    (table / "part-00000.csv.gz").touch()
    assert data_digest(table) == before
    without_its_header(table / "part-00001.csv.gz")
    assert data_digest(table) != before
