"""Staging: the right rows by header name and declared type, or one clear message and no file."""

import gzip
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ehr_attack.errors import UserError
from ehr_attack.sources import mimic3_staging
from ehr_attack.variables import load_variables
from mimic3_builder import (
    GLUCOSE,
    HEART_RATE,
    HEART_RATE_CAREVUE,
    SODIUM,
    Records,
    a_usual_stay,
    moment,
    shuffled,
)

SECRET = "77777.7"


def stage(table: str, file: Path, **options) -> pd.DataFrame:
    """Stage one file into a folder of its own and read the result."""
    out = file.parent / "out" / f"{table}.parquet"
    mimic3_staging.stage(table, file, out, load_variables(), **{"threads": 1} | options)
    return pd.read_parquet(out)


def written(tmp_path: Path, text: str | bytes, name: str = "LABEVENTS.csv") -> Path:
    file = tmp_path / name
    data = text.encode() if isinstance(text, str) else text
    file.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return file


def assert_refused(table: str, file: Path, *words: str, **options) -> None:
    """Staging says each of `words`, names the file, shows no recorded value and leaves nothing behind."""
    with pytest.raises(UserError) as caught:
        stage(table, file, **options)
    message = str(caught.value)
    for word in (file.name, *words):
        assert word in message
    assert SECRET not in message and caught.value.__cause__ is None
    left = [path for path in (file.parent / "out").rglob("*") if path.is_file()]
    assert left == []


@pytest.fixture
def labs() -> Records:
    records = Records()
    stay = a_usual_stay(records)
    for hour in range(50):
        stay.lab(SODIUM, 140 + hour / 10, hour=hour)
    stay.lab(GLUCOSE, 250, hour=3, flag="abnormal")
    return records


# --- which rows


def test_charts_keep_warnings_and_careVue_nulls_and_drop_errors_and_texts(tmp_path):
    records = Records()
    stay = a_usual_stay(records)
    stay.charted(HEART_RATE, 81, hour=1, error=1)
    stay.charted(HEART_RATE, 82, hour=2, warning=1)
    stay.charted(HEART_RATE_CAREVUE, 83, hour=3, error=None)
    stay.charted(HEART_RATE, "Asystole", hour=4, valuenum=None)
    stay.charted(HEART_RATE, 85, hour=5, charttime=None)
    folder = records.write(tmp_path)
    frame = stage("chartevents", folder / "CHARTEVENTS.csv")
    assert frame.loc[frame["subject_id"] != 0, "value"].tolist() == [83.0, 80.0, 82.0]
    assert frame.columns.tolist() == ["subject_id", "stay_id", "item_id", "event_time", "value", "unit"]
    assert [str(kind) for kind in frame.dtypes[["subject_id", "event_time", "value"]]] == [
        "int64",
        "datetime64[us]",
        "float64",
    ]


def test_only_wanted_items_are_kept(tmp_path):
    records = Records()
    urine_glucose, upper_limit, ventilator_rate, skin_temperature, calculated_copy = (
        51478,
        226253,
        224688,
        224027,
        677,
    )
    stay = a_usual_stay(records).lab(urine_glucose, 300, hour=1).lab(GLUCOSE, 100, hour=1)
    for item in (upper_limit, ventilator_rate, skin_temperature, calculated_copy):
        stay.charted(item, 30, hour=1)
    # A laboratory item among the charts, and a charted one among the laboratory results.
    stay.charted(GLUCOSE, 100, hour=2).lab(HEART_RATE, 80, hour=2)
    folder = records.write(tmp_path)
    charts, results = (
        stage("chartevents", folder / "CHARTEVENTS.csv"),
        stage("labevents", folder / "LABEVENTS.csv"),
    )
    assert set(charts["item_id"]) == {HEART_RATE}
    assert set(results["item_id"]) == {GLUCOSE, SODIUM}


def test_no_wanted_item_gives_no_rows_and_a_warning(tmp_path, caplog, labs):
    folder = labs.write(tmp_path)
    out = tmp_path / "out.parquet"
    with caplog.at_level(logging.WARNING):
        kept = mimic3_staging.stage("labevents", folder / "LABEVENTS.csv", out, [], threads=1)
    assert kept == 0 and len(pd.read_parquet(out)) == 0
    assert "LABEVENTS.csv holds none of the wanted items" in caplog.text


def test_admissions_patients_and_stays(tmp_path):
    records = Records()
    stay = records.patient(born=None, sex="M").stay(died_at_hour=60, diagnosis="BRAIN DEATH;organ donor")
    folder = records.write(tmp_path)
    admission = stage("admissions", folder / "ADMISSIONS.csv").iloc[0]
    assert admission["organ_donor"] and admission["died_in_hospital"]
    assert admission["deathtime"] == moment("2110-03-01 10:00:00", hours=60)
    patient = stage("patients", folder / "PATIENTS.csv").iloc[0]
    assert patient["sex"] == "M" and pd.isna(patient["dob"])
    assert stage("icustays", folder / "ICUSTAYS.csv")["stay_id"].tolist() == [stay.stay_id]


def test_a_birth_300_years_ago_is_read(tmp_path):
    records = Records()
    records.patient(born="1810-02-27 00:00:00").stay()
    assert stage("patients", records.write(tmp_path) / "PATIENTS.csv")["dob"][0].year == 1810


# --- ways of writing the same table


def same_rows(tmp_path: Path, labs: Records, text: str | bytes, name: str = "LABEVENTS.csv") -> None:
    (tmp_path / "plain").mkdir()
    plain = stage("labevents", written(tmp_path / "plain", labs.csv("labevents")))
    (tmp_path / "other").mkdir()
    other = stage("labevents", written(tmp_path / "other", text, name))
    assert len(plain) == 52
    pd.testing.assert_frame_equal(plain, other)


def test_header_in_lower_case_without_quotes(tmp_path, labs):
    head, rows = labs.csv("labevents").split("\n", 1)
    same_rows(tmp_path, labs, head.lower().replace('"', "") + "\n" + rows)


def test_columns_in_another_order_with_extra_ones(tmp_path, labs):
    same_rows(tmp_path, labs, labs.csv("labevents", shuffled))


@pytest.mark.parametrize("name", ["LABEVENTS.csv", "labevents.csv.gz"])
def test_byte_order_mark(tmp_path, labs, name):
    same_rows(tmp_path, labs, b"\xef\xbb\xbf" + labs.csv("labevents").encode(), name)


def test_carriage_returns(tmp_path, labs):
    same_rows(tmp_path, labs, labs.csv("labevents").replace("\n", "\r\n"))


def test_no_newline_at_the_end(tmp_path, labs):
    same_rows(tmp_path, labs, labs.csv("labevents").rstrip("\n"))


def test_newlines_commas_and_quotes_inside_quotes(tmp_path, labs):
    text = labs.csv("labevents").replace("abnormal", '"see\nnote, or ""page"""')
    assert "see\nnote" in text
    same_rows(tmp_path, labs, text)


def test_gzip_of_several_members(tmp_path, labs):
    data = labs.csv("labevents").encode()
    cut = data.index(b"\n", len(data) // 2) + 1
    file = tmp_path / "LABEVENTS.csv.gz"
    file.write_bytes(gzip.compress(data[:cut]) + gzip.compress(data[cut:]))
    assert len(stage("labevents", file)) == 52


def test_bytes_depend_on_the_rows_alone(tmp_path):
    rng = np.random.default_rng(5)
    count = 300_000
    table = pd.DataFrame(
        {
            "SUBJECT_ID": rng.integers(1, 5000, count),
            "ITEMID": rng.choice([SODIUM, GLUCOSE], count),
            "CHARTTIME": pd.Timestamp("2110-01-01") + pd.to_timedelta(rng.integers(0, 10**7, count), unit="s"),
            "VALUENUM": rng.integers(1000, 2000, count) / 10,
        }
    )
    made = []
    for threads, rows in ((1, table), (2, table), (2, table.sample(frac=1, random_state=1))):
        file = tmp_path / "LABEVENTS.csv"
        rows.to_csv(file, index=False, date_format="%Y-%m-%d %H:%M:%S")
        stage("labevents", file, threads=threads)
        made.append((tmp_path / "out" / "labevents.parquet").read_bytes())
    assert made[0] == made[1] == made[2]


# --- files that cannot be right


def gzipped_labs(tmp_path: Path, labs: Records) -> tuple[Path, bytes]:
    data = gzip.compress(labs.csv("labevents").replace("250", SECRET).encode(), mtime=0)
    return tmp_path / "LABEVENTS.csv.gz", data


@pytest.mark.parametrize("kept", [3, 12, 200, -400, -9, -8, -4, -1])
def test_truncated_gzip(tmp_path, labs, kept):
    file, data = gzipped_labs(tmp_path, labs)
    file.write_bytes(data[:kept])
    assert_refused("labevents", file, "cut short", "Download it again")


@pytest.mark.parametrize("position", [-6, -2])
def test_wrong_checksum_or_length_of_a_gzip(tmp_path, labs, position):
    file, data = gzipped_labs(tmp_path, labs)
    damaged = bytearray(data)
    damaged[position] ^= 0x55
    file.write_bytes(bytes(damaged))
    assert_refused("labevents", file, "damaged", "Download it again")


def test_damage_inside_a_gzip_is_never_silent(tmp_path, labs):
    file, data = gzipped_labs(tmp_path, labs)
    rng = np.random.default_rng(3)
    for position in rng.integers(10, len(data) - 8, size=25):
        damaged = bytearray(data)
        damaged[position] ^= int(rng.integers(1, 256))
        file.write_bytes(bytes(damaged))
        assert_refused("labevents", file, "damaged")


def test_plain_text_named_as_gzip(tmp_path, labs):
    file = tmp_path / "LABEVENTS.csv.gz"
    file.write_text(labs.csv("labevents"))
    assert_refused("labevents", file, "not compressed")


def test_a_gzip_named_as_plain_text(tmp_path, labs):
    file = tmp_path / "LABEVENTS.csv"
    file.write_bytes(gzip.compress(labs.csv("labevents").encode()))
    assert_refused("labevents", file)


def test_missing_columns_are_named_with_those_found(tmp_path, labs):
    text = labs.csv("labevents", lambda names: [name for name in names if name not in ("valuenum", "itemid")])
    assert_refused("labevents", written(tmp_path, text), "itemid, valuenum", "Found: row_id, subject_id, hadm_id")


def test_a_column_named_twice(tmp_path, labs):
    assert_refused("labevents", written(tmp_path, labs.csv("labevents", lambda names: [*names, "itemid"])), "twice")


@pytest.mark.parametrize("table", ["admissions", "patients", "icustays", "chartevents", "labevents"])
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_a_table_of_a_header_alone(tmp_path, labs, table, suffix):
    header = labs.csv(table).split("\n", 1)[0] + "\n"
    assert_refused(table, written(tmp_path, header, table + suffix), "no rows")


def test_an_empty_file(tmp_path):
    assert_refused("labevents", written(tmp_path, ""), "no rows and no header")


def test_a_value_of_the_wrong_type_is_located_and_not_shown(tmp_path):
    records = Records()
    a_usual_stay(records).lab(SODIUM, 140, hour=1, valuenum=f"<{SECRET}")
    file = written(tmp_path, records.csv("labevents"))
    assert_refused("labevents", file, "line 3", "column valuenum", "DOUBLE")


def test_a_date_in_another_form_is_located_and_not_shown(tmp_path):
    records = Records()
    a_usual_stay(records).lab(SODIUM, SECRET, hour=1, charttime="01/03/2110 10:00")
    assert_refused("labevents", written(tmp_path, records.csv("labevents")), "line 3", "charttime", "TIMESTAMP")


def test_a_line_with_columns_missing_is_located_and_not_shown(tmp_path, labs):
    text = labs.csv("labevents") + f"99,1,2,{SECRET}\n"
    assert_refused("labevents", written(tmp_path, text), "line 54", "expected 9 columns", "found 4")


def test_text_that_is_not_utf8(tmp_path):
    records = Records()
    records.patient().stay(diagnosis="CAFÉ AU LAIT")
    file = written(tmp_path, records.csv("admissions").encode("latin-1"), "ADMISSIONS.csv")
    assert_refused("admissions", file, "not UTF-8")


def test_a_quotation_mark_that_never_closes(tmp_path, labs):
    text = labs.csv("labevents") + f'99,1,2,{SODIUM},2110-03-01 10:00:00,"{SECRET},1,,\n'
    assert_refused("labevents", written(tmp_path, text))


def test_a_missing_file(tmp_path):
    assert_refused("labevents", tmp_path / "LABEVENTS.csv", "cannot be read")


def test_too_little_memory_is_said_as_such(tmp_path, labs):
    file = written(tmp_path, labs.csv("labevents"))
    assert_refused_for_memory = pytest.raises(UserError, match=r"Raise source\.memory_mb")
    with assert_refused_for_memory:
        stage("labevents", file, memory_limit_gb=0.002)
