"""A real PostgreSQL server as the source: the same bytes as from CSV, read only, by several ways to log in."""

import re
from pathlib import Path

import pytest

from ehr_attack.cli import main
from ehr_attack.errors import UserError
from ehr_attack.sources import mimic3, postgresql_staging
from ehr_attack.sources.database_uri import URI_VARIABLE
from ehr_attack.sources.postgresql_loading import load_tables
from ehr_attack.variables import load_variables
from integration.conftest import READER_PASSWORD
from mimic3_builder import extract_staged, staged

ODD_SCHEMA = "Dr. O'Hara's \"MIMIC\"; drop table é, --"


@pytest.fixture(scope="module")
def demo(shared_dir) -> Path:
    return shared_dir / "data" / "mimiciii-demo-1.4"


def staged_from_server(schemas: list[str], out: Path, threads: int = 1) -> dict[str, Path]:
    """Stage all tables into `out`: table name -> Parquet file."""
    tables = {table: out / f"{table}.parquet" for table in mimic3.TABLES}
    for table, file in tables.items():
        postgresql_staging.stage("mimic3", table, schemas, file, load_variables(), threads=threads)
    return tables


def different(one: dict[str, Path], other: dict[str, Path]) -> list[str]:
    """The tables whose files differ in any byte."""
    assert set(one) == set(other)
    return [table for table in one if one[table].read_bytes() != other[table].read_bytes()]


@pytest.mark.parametrize(("source", "schema_name"), [("demo", "mimiciii"), ("synthetic", ODD_SCHEMA)])
def test_tables_and_extracts_have_the_same_bytes_as_from_csv(database, source, schema_name, request, tmp_path, capsys):
    folder = request.getfixturevalue(source)
    assert main(["load-postgres", "--kind", "mimic3", "--from", str(folder), "--schema", schema_name]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"chartevents +[\d,]{5,} rows\n", printed) and "\nNext: snakemake " in printed
    from_csv = staged(folder, tmp_path / "csv", threads=2)
    from_server = staged_from_server([schema_name], tmp_path / "server", threads=2)
    assert different(from_csv, from_server) == []
    cohort = {"min_icu_hours": 24, "require_full_window": False}
    one = extract_staged(from_csv, tmp_path / "extract_csv", **cohort)
    other = extract_staged(from_server, tmp_path / "extract_server", threads=2, **cohort)
    assert len(one.stays) > 30 and len(one.measurements) > 10_000
    for name in ("stays.parquet", "measurements.parquet", "cohort_flow.json"):
        assert (one.folder / name).read_bytes() == (other.folder / name).read_bytes()


AS_PUBLISHED = """
CREATE TABLE typed.admissions AS SELECT subject_id::int, hadm_id::int, admittime::timestamp(0),
    dischtime::timestamp(0), deathtime::timestamp(0), diagnosis::varchar(255), hospital_expire_flag::smallint
    FROM plain.admissions;
CREATE TABLE typed.patients AS SELECT subject_id::int, gender::varchar(5), dob::timestamp(0) FROM plain.patients;
CREATE TABLE typed.icustays AS SELECT subject_id::int, hadm_id::int, icustay_id::int, first_careunit::varchar(20),
    intime::timestamp(0), outtime::timestamp(0) FROM plain.icustays;
CREATE TABLE typed.labevents AS SELECT subject_id::int, itemid::int, charttime::timestamp(0), valuenum,
    valueuom::varchar(20) FROM plain.labevents;
CREATE TABLE typed.chartevents (subject_id int, icustay_id int, itemid int, charttime timestamp(0), valuenum float8,
    valueuom varchar(50), error int) PARTITION BY RANGE (itemid);
CREATE TABLE typed.chartevents_1 PARTITION OF typed.chartevents FOR VALUES FROM (0) TO (220000);
CREATE TABLE typed.chartevents_2 PARTITION OF typed.chartevents FOR VALUES FROM (220000) TO (300000);
INSERT INTO typed.chartevents SELECT subject_id, icustay_id, itemid, charttime, valuenum, valueuom, error
    FROM plain.chartevents;
"""

OTHERWISE = """
CREATE VIEW typed.admissions AS SELECT subject_id::numeric, hadm_id::numeric, admittime::timestamptz,
    dischtime::timestamptz, deathtime::timestamptz, diagnosis, hospital_expire_flag::int FROM plain.admissions;
CREATE TABLE typed.patients AS SELECT subject_id, gender::char(5), dob::date AS dob FROM plain.patients;
CREATE TABLE typed.icustays AS SELECT subject_id::numeric, hadm_id, icustay_id, first_careunit::char(20),
    intime::timestamptz, outtime FROM plain.icustays;
CREATE MATERIALIZED VIEW typed.labevents AS SELECT valuenum::numeric, charttime, itemid::numeric, subject_id,
    valueuom::char(20) FROM plain.labevents ORDER BY valuenum DESC;
CREATE TABLE typed.chartevents AS SELECT *, 'x' AS note FROM plain.chartevents ORDER BY random();
"""


@pytest.mark.parametrize("statements", [AS_PUBLISHED, OTHERWISE], ids=["as published", "otherwise"])
def test_column_types_and_the_order_of_rows_do_not_matter(database, synthetic, tmp_path, statements):
    database.sql("DROP SCHEMA IF EXISTS plain, typed CASCADE; CREATE SCHEMA typed")
    load_tables("mimic3", synthetic, schema="plain")
    database.sql(statements)
    from_csv = staged(synthetic, tmp_path / "csv")
    assert different(from_csv, staged_from_server(["typed"], tmp_path / "server", threads=2)) == []


@pytest.mark.usefixtures("reader")
def test_select_on_the_tables_is_all_that_is_needed(schema, tmp_path):
    assert len(staged_from_server([schema], tmp_path)) == 5


@pytest.mark.usefixtures("reader")
def test_tables_are_looked_up_in_several_schemas_or_where_the_user_looks_by_default(database, schema, tmp_path):
    database.sql(
        f"DROP SCHEMA IF EXISTS other CASCADE; CREATE SCHEMA other; ALTER TABLE {schema}.labevents SET SCHEMA other;"
        f"GRANT USAGE ON SCHEMA other TO reader; ALTER ROLE reader SET search_path = other, {schema}"
    )
    for schemas in ([schema, "other"], []):
        assert len(staged_from_server(schemas, tmp_path / str(len(schemas)))) == 5


def test_a_profile_without_items_of_a_table_keeps_no_rows(schema, tmp_path):
    assert postgresql_staging.stage("mimic3", "labevents", [schema], tmp_path / "x.parquet", [], threads=1) == 0


def test_a_query_that_writes_is_refused_by_the_server(database, schema, tmp_path):
    """The owner, who may write, reads a view that writes."""
    database.sql(
        f"CREATE TABLE {schema}.witness (n int); ALTER TABLE {schema}.patients RENAME TO people;"
        f"CREATE FUNCTION {schema}.trace() RETURNS int LANGUAGE sql VOLATILE AS "
        f"$$ INSERT INTO {schema}.witness VALUES (1) RETURNING n $$;"
        f"CREATE VIEW {schema}.patients AS SELECT * FROM {schema}.people WHERE {schema}.trace() = 1"
    )
    with pytest.raises(UserError, match=r"table patients: .* read only"):
        staged_from_server([schema], tmp_path)
    assert database.sql(f"SELECT count(*) FROM {schema}.witness") == "0"
    assert database.sql(f"SELECT count(*) FROM {schema}.patients") == "1"
    assert database.sql(f"SELECT count(*) FROM {schema}.witness") == "1"


def test_the_password_may_stand_in_a_password_file(database, schema, tmp_path, monkeypatch):
    passwords = tmp_path / "pgpass"
    passwords.write_text(f"127.0.0.1:{database.port}:*:reader:{READER_PASSWORD}\n")
    passwords.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(passwords))
    monkeypatch.setenv(URI_VARIABLE, database.uri(user="reader", password=None))
    assert len(staged_from_server([schema], tmp_path)) == 5


def test_host_user_and_password_may_stand_in_a_service_file(database, schema, tmp_path, monkeypatch):
    services = tmp_path / "services"
    login = f"host=127.0.0.1\nport={database.port}\ndbname=postgres\nuser=reader\npassword={READER_PASSWORD}\n"
    services.write_text(f"[hospital]\n{login}")
    monkeypatch.setenv("PGSERVICEFILE", str(services))
    monkeypatch.setenv(URI_VARIABLE, "postgresql:///?service=hospital")
    assert len(staged_from_server([schema], tmp_path)) == 5
