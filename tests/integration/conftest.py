"""What the tests of PostgreSQL share: a schema of a test's own, filled, and the two users who read it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ehr_attack.sources.database_uri import URI_VARIABLE
from ehr_attack.sources.postgresql_loading import load_tables
from ehr_attack.synthetic import generate
from mimic3_builder import SODIUM, Records, a_usual_stay
from postgres_server import PostgresServer

READER_PASSWORD = "reader's p@ss/w%rd"
SECRET = "77777.7"
"""A recorded value, which no message may show."""


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory) -> Path:
    """The tables of 60 synthetic stays as CSV.gz."""
    folder = tmp_path_factory.mktemp("synthetic")
    generate(folder, 60, 3, "late")
    return folder


@pytest.fixture
def database(postgres_server, monkeypatch) -> PostgresServer:
    """The server, with the environment naming its database and owner."""
    monkeypatch.setenv(URI_VARIABLE, postgres_server.uri())
    return postgres_server


@pytest.fixture
def schema(database, tmp_path, request) -> Iterator[str]:
    """A schema of the test's own with the five tables of one usual stay; the user `reader` may read all of them."""
    name = re.sub(r"\W", "_", request.node.name)[:60].lower()
    password = READER_PASSWORD.replace("'", "''")
    database.sql(
        "DO $$ BEGIN CREATE ROLE reader LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;"
        f"ALTER ROLE reader PASSWORD '{password}'; ALTER ROLE reader RESET ALL;"
        f"DROP SCHEMA IF EXISTS {name} CASCADE; DROP SCHEMA IF EXISTS fresh CASCADE"
    )
    records = Records()
    a_usual_stay(records).lab(SODIUM, SECRET, hour=1)
    load_tables("mimic3", records.write(tmp_path / "csv"), schema=name)
    database.sql(f"GRANT USAGE ON SCHEMA {name} TO reader; GRANT SELECT ON ALL TABLES IN SCHEMA {name} TO reader")
    yield name
    database.sql(f"DROP SCHEMA {name} CASCADE")


@pytest.fixture
def reader(database, schema, monkeypatch) -> None:
    """The environment names the user `reader`, who has SELECT on the tables of `schema` and nothing else."""
    monkeypatch.setenv(URI_VARIABLE, database.uri(user="reader", password=READER_PASSWORD))
