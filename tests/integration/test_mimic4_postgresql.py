"""MIMIC-IV in a real PostgreSQL server, its modules in two schemas: the same bytes as from CSV."""

import pytest

from ehr_attack.sources.mimic4 import TABLES
from ehr_attack.sources.mimic4_staging import stage
from ehr_attack.sources.postgresql_loading import load_tables
from ehr_attack.sources.postgresql_staging import stage as stage_from_server
from ehr_attack.sources.published import MIMIC4_MODULES, published_file
from ehr_attack.synthetic import generate
from ehr_attack.variables import load_variables

SCHEMAS = {"hosp": "mimiciv_hosp", "icu": "mimiciv_icu"}


@pytest.fixture
def filled(database, tmp_path):
    """The folder of a synthetic release, whose modules the server holds in schemas of their own."""
    folder = tmp_path / "release"
    generate(folder, 60, 3, "late", "mimic4")
    for module, schema in SCHEMAS.items():
        names = [table for table in TABLES if MIMIC4_MODULES[table] == module]
        load_tables("mimic4", folder, schema=schema, tables=names)
    yield folder
    database.sql("; ".join(f"DROP SCHEMA {schema} CASCADE" for schema in SCHEMAS.values()))


def test_staged_tables_have_the_same_bytes_as_from_csv(filled, tmp_path):
    variables = load_variables("clinical", "mimic4")
    for table in TABLES:
        one, other = tmp_path / f"{table}_csv.parquet", tmp_path / f"{table}_server.parquet"
        kept = stage(table, filled / published_file("mimic4", table), one, variables, threads=1)
        assert stage_from_server("mimic4", table, list(SCHEMAS.values()), other, variables, threads=1) == kept > 0
        assert one.read_bytes() == other.read_bytes()
