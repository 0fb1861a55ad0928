"""Reading the tables of a source from a PostgreSQL server: the same SELECT texts, run there, streamed, read-only."""

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from adbc_driver_manager import dbapi as adbc

from ehr_attack.errors import UserError
from ehr_attack.sources import SOURCES, load_shape
from ehr_attack.sources.duck import identifier, quoted, read_sql, session
from ehr_attack.sources.postgresql import connected, explained, rows_of, watched
from ehr_attack.sources.table_files import listed
from ehr_attack.staging import log_kept, names_or_null, rows_file, write_rows, write_sorted
from ehr_attack.storage import atomic_path
from ehr_attack.variables import Variable, item_list

_log = logging.getLogger(__name__)
BATCH_BYTES = 8_000_000


def stage(
    kind: str,
    table: str,
    schemas: Sequence[str],
    out: Path,
    variables: Sequence[Variable],
    *,
    threads: int,
    memory_limit_gb: float = 2.0,
    count_rows: bool = False,
) -> int:
    """Write what is needed of `table` of a source of `kind` for `variables` as Parquet, the same bytes as from CSV.

    schemas: where the table is looked up, in that order; none: where the database user looks by default (search_path).
    The source's SQL text runs in the server, in a read-only transaction. Rows come in batches of about `BATCH_BYTES`,
    so memory stays within `memory_limit_gb` and little more. count_rows: count all rows of the table as well, for which
    the server reads it once more. An optional table that is not there, or not for this user to read, is written without
    a row. Returns the number of rows kept. Raises UserError, and writes nothing, when the server cannot be reached,
    refuses, lacks the table or a column, has no rows in it, or is lost on the way.
    """
    start = time.monotonic()
    shape = load_shape(kind)
    types, optional = {**shape.TABLES, **shape.DICTIONARIES}[table], shape.OPTIONAL_COLUMNS.get(table, {})
    with (
        atomic_path(out) as temporary,
        session(scratch=temporary.parent, threads=threads, memory_limit_gb=memory_limit_gb) as connection,
        connected(read_only=True, schemas=schemas) as server,
    ):
        if table in shape.OPTIONAL_TABLES and not _is_readable(server, table):
            return _stage_nothing(connection, kind, table, types, temporary, rows_file(out))
        found = _check_table(server, table, types, schemas)
        select = read_sql(
            SOURCES[kind].sql_dir, table, item_ids=item_list(variables, table, kind), **names_or_null(optional, found)
        )
        columns = _columns_as_from_csv(connection, table, {**types, **optional}, select)
        total = _row_count(server, table) if count_rows else None
        kept = _write_streamed(server, connection, table, select, columns, temporary)
    write_rows(rows_file(out), read=total, kept=kept)
    log_kept(table, kept, start)
    return kept


def _write_streamed(
    server: Any, connection: duckdb.DuckDBPyConnection, table: str, select: str, columns: str, out: Path
) -> int:
    """Write `columns` of what the server answers to `select`, sorted, to `out`; returns the number of rows."""
    failure: list[Exception] = []
    try:
        with server.cursor() as cursor:
            # Only as much as a batch is held here, however large the table is.
            cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(BATCH_BYTES)})
            cursor.execute(select)
            reader = cursor.fetch_record_batch()
            batches = watched(reader, table, failure)
            connection.register("incoming", pa.RecordBatchReader.from_batches(reader.schema, batches))
            return write_sorted(connection, f"SELECT {columns} FROM incoming", out)
    except adbc.Error as error:
        raise explained(error, f"table {table}", server) from None
    except duckdb.Error as error:
        if failure:
            raise explained(failure[0], f"table {table}", server) from None
        if isinstance(error, duckdb.OutOfMemoryException | duckdb.IOException):
            raise  # the session says what to do
        raise UserError(
            f"PostgreSQL: table {table}: a column has another type than the source publishes. Load the table again "
            "with its own types (`ehr-attack load-postgres`)."
        ) from None


def _is_readable(server: Any, table: str) -> bool:
    """Whether the table is where this user looks, and may be read."""
    name = quoted(identifier(table))
    return rows_of(server, f"SELECT coalesce(has_table_privilege(to_regclass({name}), 'SELECT'), false)") == [(True,)]


def _stage_nothing(
    connection: duckdb.DuckDBPyConnection, kind: str, table: str, types: Mapping[str, str], out: Path, out_rows: Path
) -> int:
    """Write the table without a row."""
    _log.info("%s: not there, or not for this user to read; going on without it", table)
    _create_empty(connection, table, types)
    kept = write_sorted(connection, read_sql(SOURCES[kind].sql_dir, table), out)
    write_rows(out_rows, read=None, kept=kept)
    return kept


def _row_count(server: Any, table: str) -> int:
    try:
        return int(rows_of(server, f"SELECT count(*) FROM {identifier(table)}")[0][0])
    except adbc.Error as error:
        raise explained(error, f"table {table}", server) from None


def _check_table(server: Any, table: str, types: Mapping[str, str], schemas: Sequence[str]) -> list[str]:
    """The table's columns. Raises UserError unless it is there, with the columns of `types` and at least one row."""
    try:
        found = [name for (name,) in rows_of(server, _COLUMNS.format(table=quoted(identifier(table))))]
        if not found:
            elsewhere = [name for (name,) in rows_of(server, _SCHEMAS.format(table=quoted(table)))]
            raise UserError(_no_table(table, schemas, elsewhere))
        if missing := [column for column in types if column not in found]:
            raise UserError(
                f"PostgreSQL: table {table}: no column {', '.join(missing)}. Found: {', '.join(found)}. Expected the "
                "columns named as the source names them, in lower case; rename them, or load the table again "
                "(`ehr-attack load-postgres`)."
            )
        if not rows_of(server, f"SELECT 1 FROM {identifier(table)} LIMIT 1"):
            raise UserError(
                f"PostgreSQL: table {table}: the table has no rows; expected at least one. Load it again "
                "(`ehr-attack load-postgres`)."
            )
    except adbc.Error as error:
        raise explained(error, f"table {table}", server) from None
    return found


_COLUMNS = """SELECT attname::text FROM pg_attribute
WHERE attrelid = to_regclass({table}) AND attnum > 0 AND NOT attisdropped ORDER BY attnum"""
_SCHEMAS = """SELECT nspname::text FROM pg_class INNER JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relname = {table} AND relkind IN ('r', 'p', 'v', 'm', 'f') ORDER BY nspname"""


def _no_table(table: str, schemas: Sequence[str], elsewhere: Sequence[str]) -> str:
    place = f"in schema {listed(list(schemas))}" if schemas else "where this database user looks for tables"
    first = f"PostgreSQL: table {table}: there is no such table {place}."
    if hidden := [name for name in elsewhere if name in schemas]:
        return f"{first} It exists, but this user may not look into it; ask for GRANT USAGE ON SCHEMA {hidden[0]}."
    if elsewhere:
        return f"{first} There is one in schema {listed(list(elsewhere))}: set source.schema to the right one."
    return f"{first} Set source.schema to the schema of the tables, or load them with `ehr-attack load-postgres`."


def _columns_as_from_csv(
    connection: duckdb.DuckDBPyConnection, table: str, types: Mapping[str, str], select: str
) -> str:
    """The column list that gives what the server sends the names and types that DuckDB's own run of `select` gives."""
    _create_empty(connection, table, types)
    described = connection.execute(f"DESCRIBE {select}").fetchall()
    connection.execute(f"DROP TABLE {identifier(table)}")
    return ", ".join(f"CAST({identifier(name)} AS {kind}) AS {identifier(name)}" for name, kind, *_ in described)


def _create_empty(connection: duckdb.DuckDBPyConnection, table: str, types: Mapping[str, str]) -> None:
    declared = ", ".join(f"{identifier(name)} {kind}" for name, kind in types.items())
    connection.execute(f"CREATE TABLE {identifier(table)} ({declared})")
