"""`ehr-attack load-postgres`: every row and column of the files in the server, or the table as it was."""

import gzip
import logging
import re
from pathlib import Path

import pytest

from ehr_attack.errors import UserError
from ehr_attack.sources import postgresql, postgresql_loading
from ehr_attack.sources.postgresql_loading import load_tables
from integration.conftest import SECRET
from mimic3_builder import SODIUM, Records, a_usual_stay


def names_of(server, schema: str) -> list[str]:
    return server.sql(f"SELECT tablename FROM pg_tables WHERE schemaname = '{schema}' ORDER BY 1").split()


def assert_not_loaded(folder: Path, schema: str, *words: str, **options) -> None:
    with pytest.raises(UserError) as caught:
        load_tables("mimic3", folder, schema=schema, **options)
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert SECRET not in message and "127.0.0.1" not in message
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_all_columns_are_loaded_with_their_values(database, schema):
    rows = database.sql(
        f"SELECT row_id, subject_id, hadm_id, itemid, charttime, value, valuenum, flag "
        f"FROM {schema}.labevents ORDER BY 2"
    ).splitlines()
    assert rows == [
        f"1|0||{SODIUM}|2110-03-01 10:00:00|1|1|",
        f"2|1|100001|{SODIUM}|2110-03-01 11:00:00|{SECRET}|{SECRET}|",
    ]
    types = database.sql(
        f"SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = '{schema}' "
        "AND table_name = 'labevents' ORDER BY ordinal_position"
    ).splitlines()
    assert types == [
        "row_id|text", "subject_id|bigint", "hadm_id|bigint", "itemid|bigint", "charttime|timestamp without time zone",
        "value|text", "valuenum|double precision", "valueuom|text", "flag|text",
    ]  # fmt: skip


def test_tables_that_are_there_are_replaced_only_when_asked(database, schema, tmp_path):
    records = Records()
    a_usual_stay(records).lab(SODIUM, 1, hour=1).lab(SODIUM, 2, hour=2)
    folder = records.write(tmp_path / "new", suffix=".csv.gz")
    assert_not_loaded(folder, schema, "labevents", "there already", "--replace")
    assert database.sql(f"SELECT count(*) FROM {schema}.labevents") == "2"
    assert load_tables("mimic3", folder, schema=schema, tables=["labevents"], replace=True) == {"labevents": 3}
    assert database.sql(f"SELECT count(*) FROM {schema}.labevents") == "3"
    assert_not_loaded(folder, schema, "no table outputevents", tables=["outputevents"])


@pytest.mark.parametrize("kept", [-9, 0.6])
def test_a_damaged_file_leaves_the_table_as_it_was(database, schema, tmp_path, kept):
    records = Records()
    stay = a_usual_stay(records)
    for hour in range(5000):
        stay.lab(SODIUM, hour, hour=hour)
    folder = records.write(tmp_path / "new")
    data = gzip.compress((folder / "LABEVENTS.csv").read_bytes())
    (folder / "LABEVENTS.csv").unlink()
    (folder / "LABEVENTS.csv.gz").write_bytes(data[: kept if kept < 0 else int(len(data) * kept)])
    assert_not_loaded(folder, schema, "LABEVENTS.csv.gz", "cut short", tables=["labevents"], replace=True)
    assert database.sql(f"SELECT count(*) FROM {schema}.labevents") == "2"
    assert_not_loaded(folder, "fresh", "cut short", tables=["labevents"])
    assert names_of(database, "fresh") == []


@pytest.mark.usefixtures("schema")
def test_a_value_of_the_wrong_type_is_located(database, tmp_path):
    records = Records()
    a_usual_stay(records).lab(SODIUM, 140, hour=1, valuenum=f"<{SECRET}")
    folder = records.write(tmp_path)
    assert_not_loaded(folder, "fresh", "LABEVENTS.csv, line 3", "column valuenum", tables=["labevents"])
    assert names_of(database, "fresh") == []


def test_a_table_that_a_view_needs_is_not_replaced(database, schema, tmp_path):
    database.sql(f"CREATE VIEW {schema}.sodium AS SELECT * FROM {schema}.labevents")
    folder = Records().write(tmp_path / "new")
    assert_not_loaded(folder, schema, "labevents", "depend on", tables=["labevents"], replace=True)


@pytest.mark.usefixtures("reader")
def test_a_user_who_may_only_read_cannot_load(database, schema, tmp_path):
    records = Records()
    a_usual_stay(records)
    folder = records.write(tmp_path / "new")
    assert_not_loaded(folder, "fresh_one", "schema fresh_one", "no permission")
    database.sql(f"DROP TABLE {schema}.labevents")
    assert_not_loaded(folder, schema, "table labevents", "no permission", tables=["labevents"])


@pytest.mark.usefixtures("schema")
def test_a_connection_that_is_cut_while_loading(database, synthetic, monkeypatch):
    def disturbed(batches, label, failure):
        for batch in postgresql.watched(batches, label, failure):
            database.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COPY%'")
            yield batch

    monkeypatch.setattr(postgresql_loading, "watched", disturbed)
    assert_not_loaded(synthetic, "fresh", "table chartevents", "connection was lost", tables=["chartevents"])
    assert names_of(database, "fresh") == []


@pytest.mark.usefixtures("schema")
def test_progress_is_logged_with_rows_and_rate(synthetic, caplog, monkeypatch):
    monkeypatch.setattr(postgresql, "_PROGRESS_SECONDS", 0.0)
    with caplog.at_level(logging.INFO):
        load_tables("mimic3", synthetic, schema="fresh", tables=["chartevents"], replace=True)
    assert re.search(r"chartevents: [\d,]+ rows, [\d,]+/s", caplog.text)
    assert re.search(r"chartevents: loaded in [\d.]+ s, [\d,]+ rows/s", caplog.text)
