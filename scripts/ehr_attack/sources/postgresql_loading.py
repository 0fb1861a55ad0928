"""Filling a PostgreSQL database from CSV tables. A table is one transaction: it is there complete, or not at all."""

import logging
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from adbc_driver_manager import dbapi as adbc

from ehr_attack.errors import UserError
from ehr_attack.sources import find_tables, load_shape
from ehr_attack.sources.csv_table import CsvTable, open_table
from ehr_attack.sources.duck import identifier, is_no_space, quoted, session
from ehr_attack.sources.postgresql import connected, explained, rows_of, watched
from ehr_attack.staging import checked_besides

_log = logging.getLogger(__name__)

# What DuckDB's types are called in PostgreSQL, where the names differ.
_POSTGRESQL_NAMES = {"DOUBLE": "double precision", "VARCHAR": "text"}
_BATCH_ROWS = 50_000
_THREADS, _MEMORY_GB = 2, 2.0


def load_tables(
    kind: str,
    folder: Path,
    *,
    schema: str | None = None,
    tables: Sequence[str] | None = None,
    replace: bool = False,
) -> dict[str, int]:
    """Load the tables of a source of `kind` from `folder` into the database; returns the rows of each.

    Every column is loaded: those of a name that the project reads with their declared type, all others as text.
    schema: made when missing; None: the first of the user's search path. tables: only these. replace: drop tables of
    these names that are there. Raises UserError, and leaves no half-filled table, when a file is missing or damaged,
    when a table is there already, or when the server cannot be reached or refuses.
    """
    files = _chosen(find_tables(kind, folder), tables, folder)
    types = {column: name for columns in load_shape(kind).TABLES.values() for column, name in columns.items()}
    with connected(read_only=False) as server:
        place = _prepare(server, schema, list(files), replace)
        return {table: _load(server, place, table, file, types) for table, file in files.items()}


def _chosen(found: Mapping[str, Path], wanted: Sequence[str] | None, folder: Path) -> dict[str, Path]:
    if unknown := [table for table in wanted or [] if table not in found]:
        raise UserError(f"--tables: {folder} holds no table {', '.join(unknown)}; found {', '.join(found)}.")
    return {table: file for table, file in found.items() if wanted is None or table in wanted}


def _prepare(server: Any, schema: str | None, tables: Sequence[str], replace: bool) -> str:
    """Make the schema when it is missing, and return its name. Raises UserError when a table may not be replaced."""
    try:
        if schema is None:
            place = str(rows_of(server, "SELECT coalesce(current_schema(), '')::text")[0][0])
            if not place:
                raise UserError("PostgreSQL: the database has no schema for this user. Name one with --schema.")
        else:
            place = schema
            if not rows_of(server, f"SELECT 1 FROM pg_namespace WHERE nspname = {quoted(place)}"):
                _execute(server, f"CREATE SCHEMA {identifier(place)}")
                server.commit()
        names = {name for (name,) in rows_of(server, f"SELECT relname::text {_RELATIONS} = {quoted(place)}")}
    except adbc.Error as error:
        raise explained(error, f"schema {schema}" if schema else "the database", server) from None
    if not replace and (there := [table for table in tables if table in names]):
        raise UserError(
            f"PostgreSQL: {', '.join(there)}: there already. --replace drops and loads them again; --schema loads into "
            "another schema; --tables names those that are still missing."
        )
    return place


_RELATIONS = "FROM pg_class INNER JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE nspname"


def _load(server: Any, schema: str, table: str, file: Path, types: Mapping[str, str]) -> int:
    """Load one table and commit it; returns its rows."""
    start = time.monotonic()
    source = open_table(file)
    declared = {column: types.get(column, "VARCHAR") for column in source.columns}
    name = f"{identifier(schema)}.{identifier(table)}"
    columns = ", ".join(f"{identifier(column)} {_type_name(kind)}" for column, kind in declared.items())
    _log.info("%s: loading %.1f MB", table, source.size_bytes / 1e6)
    try:
        with checked_besides(source.check):
            _execute(server, f"DROP TABLE IF EXISTS {name}")
            _execute(server, f"CREATE TABLE {name} ({columns})")
            rows = _copy(server, schema, table, source, declared)
        server.commit()
    except adbc.Error as error:
        raise explained(error, f"table {table}", server) from None
    seconds = max(time.monotonic() - start, 1e-9)
    _log.info("%s: loaded in %.1f s, %s rows/s", table, seconds, f"{rows / seconds:,.0f}")
    return rows


def _copy(server: Any, schema: str, table: str, source: CsvTable, types: Mapping[str, str]) -> int:
    """Stream the columns of `types` from `source` into the new table; returns the number of rows."""
    failure: list[Exception] = []
    with (
        tempfile.TemporaryDirectory(prefix="ehr-attack-") as scratch,
        session(scratch=Path(scratch), threads=_THREADS, memory_limit_gb=_MEMORY_GB) as connection,
        server.cursor() as cursor,
    ):
        try:
            reader = connection.sql(f"SELECT * FROM {source.scan({}, types)}").to_arrow_reader(_BATCH_ROWS)
            batches = pa.RecordBatchReader.from_batches(reader.schema, watched(reader, table, failure))
            return int(cursor.adbc_ingest(table, batches, mode="append", db_schema_name=schema))
        except duckdb.Error as error:
            if isinstance(error, duckdb.OutOfMemoryException) or is_no_space(error):
                raise  # the session says what to do
            raise source.explain(error, types) from None
        except (adbc.Error, OSError) as error:
            if failure:
                raise source.explain(failure[0], types) from None
            raise explained(error, f"table {table}", server) from None


def _execute(server: Any, statement: str) -> None:
    with server.cursor() as cursor:
        cursor.execute(statement)


def _type_name(duckdb_name: str) -> str:
    return _POSTGRESQL_NAMES.get(duckdb_name, duckdb_name)
