"""What can go wrong with a PostgreSQL server: one clear message, without any secret, and nothing written."""

from collections.abc import Callable
from pathlib import Path

import pytest

import postgres_server as postgres
from ehr_attack.errors import UserError
from ehr_attack.sources import postgresql_staging
from ehr_attack.sources.database_uri import URI_VARIABLE
from ehr_attack.sources.postgresql_loading import load_tables
from ehr_attack.variables import load_variables
from integration.conftest import SECRET
from mimic3_builder import SODIUM, Records, a_usual_stay


def assert_refused(schemas: list[str], tmp_path: Path, *words: str) -> None:
    """Staging says each of `words` in one line, without address, password or value, and leaves nothing behind."""
    out = tmp_path / "out" / "labevents.parquet"
    with pytest.raises(UserError) as caught:
        postgresql_staging.stage("mimic3", "labevents", schemas, out, load_variables(), threads=1)
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message and "FROM" not in message
    for secret in ("127.0.0.1", "p@ss", "p%40ss", "wrong-", SECRET):
        assert secret not in message
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda server: server.uri(password="wrong-password"), ["refused the user name or the password", "PGPASSFILE"]),
        (lambda server: server.uri(user="nobody"), ["refused the user name or the password"]),
        (lambda server: server.uri(password=None), ["refused the user name or the password"]),
        (lambda server: server.uri("nowhere"), ["no database of that name"]),
        (lambda server: server.uri().replace(f":{server.port}", ":1"), ["no database server answers", "port"]),
        (lambda server: server.uri().replace("127.0.0.1", "wrong-host.invalid"), ["no database server answers"]),
        (lambda server: server.uri().replace("postgresql:", "mysql:"), ["postgresql://"]),
        (lambda server: server.uri().replace("p%40ss", "p@ss wrong-"), [URI_VARIABLE]),
        (lambda server: "postgresql:///?service=wrong-service", ["service"]),
        (lambda server: "", [URI_VARIABLE, "is not set", "export"]),
    ],
    ids=["password", "user", "no password", "database", "port", "host", "scheme", "malformed", "service", "unset"],
)
def test_no_connection_is_explained(database, tmp_path, monkeypatch, change, words):
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "none"))
    monkeypatch.setenv(URI_VARIABLE, change(database))
    assert_refused([], tmp_path, *words)


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("REVOKE SELECT ON {0}.labevents FROM reader", ["no permission", "GRANT SELECT"]),
        ("REVOKE USAGE ON SCHEMA {0} FROM reader", ["GRANT USAGE ON SCHEMA"]),
        ("DROP TABLE {0}.labevents", ["no such table in schema"]),
        ("ALTER TABLE {0}.labevents RENAME charttime TO at", ["no column charttime", "Found: row_id, subject_id"]),
        ("TRUNCATE {0}.labevents", ["no rows"]),
        ("ALTER TABLE {0}.labevents ALTER itemid TYPE text", ["another type"]),
        ("ALTER TABLE {0}.labevents ALTER valuenum TYPE text USING 'high'", ["could not read or convert"]),
    ],
)
def test_a_table_that_cannot_be_read_is_explained(database, schema, tmp_path, statement, words):
    database.sql(statement.format(schema))
    assert_refused([schema], tmp_path, "table labevents", *words)


def test_a_table_in_another_schema_is_found(schema, tmp_path):
    assert_refused(["nowhere"], tmp_path, "no such table in schema nowhere", schema, "source.schema")


# --- in mid-stream


@pytest.fixture
def endless(database, schema) -> str:
    """The schema, with laboratory results that never end."""
    an_endless_table(database, schema)
    return schema


def an_endless_table(server: postgres.PostgresServer, schema: str) -> None:
    server.sql(
        f"DROP TABLE {schema}.labevents; CREATE VIEW {schema}.labevents AS SELECT generate_series(1, 1000000000) AS "
        f"subject_id, {SODIUM} AS itemid, timestamp '2110-03-01 12:00' AS charttime, {SECRET}::float8 AS valuenum;"
        f"GRANT SELECT ON {schema}.labevents TO reader"
    )


def in_mid_stream(monkeypatch, fault: Callable[[], object]) -> None:
    """Call `fault` when the second batch of rows has come."""
    undisturbed = postgresql_staging.watched

    def disturbed(batches, label, failure):
        for number, batch in enumerate(undisturbed(batches, label, failure)):
            if number == 1:
                fault()
            yield batch

    monkeypatch.setattr(postgresql_staging, "watched", disturbed)


@pytest.mark.usefixtures("reader")
def test_a_connection_that_is_cut(database, endless, tmp_path, monkeypatch):
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'reader'"
    in_mid_stream(monkeypatch, lambda: database.sql(cut))
    assert_refused([endless], tmp_path, "table labevents", "the connection was lost", "Nothing was written")


@pytest.mark.usefixtures("reader")
def test_a_query_that_the_server_stops(database, endless, tmp_path):
    database.sql("ALTER ROLE reader SET statement_timeout = '1s'")
    assert_refused([endless], tmp_path, "table labevents", "the server ended the query", "time limit")


def test_a_value_that_the_server_cannot_compute(database, schema, tmp_path):
    database.sql(
        f"DROP TABLE {schema}.labevents; CREATE VIEW {schema}.labevents AS SELECT n AS subject_id, {SODIUM} AS itemid, "
        "timestamp '2110-03-01' AS charttime, 1.0 / (900000 - n) AS valuenum FROM generate_series(1, 1000000) n"
    )
    assert_refused([schema], tmp_path, "table labevents", "the server ended the query")


def test_a_server_that_dies(tmp_path, monkeypatch, database):
    with postgres.running_server() as server:
        monkeypatch.setenv(URI_VARIABLE, server.uri())
        records = Records()
        a_usual_stay(records)
        load_tables("mimic3", records.write(tmp_path / "csv"), schema="mimic")
        server.sql("CREATE ROLE reader")
        an_endless_table(server, "mimic")
        in_mid_stream(monkeypatch, server.kill)
        assert_refused(["mimic"], tmp_path, "table labevents", "the connection was lost", "Nothing was written")
        assert_refused(["mimic"], tmp_path, "no database server answers")
