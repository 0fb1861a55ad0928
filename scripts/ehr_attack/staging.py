"""Staging: each source table is read once and only what is needed of it is kept, as Parquet."""

import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from ehr_attack.errors import UserError
from ehr_attack.sources.csv_table import open_table
from ehr_attack.sources.duck import copy_to_parquet, identifier, is_no_space, read_sql, session
from ehr_attack.storage import atomic_path, write_json
from ehr_attack.suppression import count_text

_log = logging.getLogger(__name__)


def stage_csv(
    table: str,
    source_file: Path,
    out: Path,
    *,
    types: Mapping[str, str],
    sql_dir: Path,
    threads: int,
    memory_limit_gb: float = 2.0,
    optional: Mapping[str, str] | None = None,
    **placeholders: str,
) -> int:
    """Read `source_file` once; write what `sql_dir/<table>.sql` selects from it as Parquet.

    source_file: CSV or CSV.gz, or a folder of parts in either form. table: lower-case name. types: DuckDB types of the
    columns that are read, by lower-case name. optional: types of columns that the file may lack; the SQL text names
    such a column as `{column}`, which becomes NULL then. placeholders: what replaces `{name}` in the SQL text. Rows are
    sorted by all columns. Memory stays within `memory_limit_gb`, and what Python takes, whatever the size of the file.
    Returns the number of rows kept; `rows_file(out)` also tells how many were read. Raises UserError, and writes
    nothing, when the file is damaged, lacks a column, has no rows, or holds a value of the wrong type.
    """
    source = open_table(source_file)
    select = read_sql(sql_dir, table, **placeholders, **names_or_null(optional or {}, source.columns))
    _log.info("%s: reading %.1f MB", source.path.name, source.size_bytes / 1e6)
    return stage_selection(
        table,
        source.scan(types, optional),
        select,
        out,
        name=source.path.name,
        check=source.check,
        explain=lambda error: source.explain(error, types),
        threads=threads,
        memory_limit_gb=memory_limit_gb,
    )


def stage_selection(
    view: str,
    scan: str,
    select: str,
    out: Path,
    *,
    name: str,
    check: Callable[[], None],
    explain: Callable[[duckdb.Error], UserError],
    threads: int,
    memory_limit_gb: float = 2.0,
    out_rows: Path | None = None,
) -> int:
    """Write what `select` reads from the table expression `scan`, known as `view`, as Parquet sorted by all columns.

    name: of the source, for the log. check: raises UserError when the source is damaged. explain: what an error of
    DuckDB means to a user. out_rows: where the numbers of rows go, by default `rows_file(out)`. Returns the number of
    rows kept.
    """
    start = time.monotonic()
    with (
        atomic_path(out) as temporary,
        checked_besides(check),
        session(scratch=temporary.parent, threads=threads, memory_limit_gb=memory_limit_gb) as connection,
    ):
        try:
            connection.execute(f"CREATE VIEW {identifier(view)} AS SELECT * FROM {scan}")
            connection.execute("PRAGMA enable_profiling = 'no_output'")
            kept = write_sorted(connection, select, temporary)
            read = rows_scanned(connection)
        except duckdb.Error as error:
            if isinstance(error, duckdb.OutOfMemoryException) or is_no_space(error):
                raise  # the session says what to do
            raise explain(error) from None
    write_rows(out_rows or rows_file(out), read=read, kept=kept)
    log_kept(name, kept, start)
    return kept


def names_or_null(optional: Iterable[str], present: Iterable[str]) -> dict[str, str]:
    """What an SQL text says for each column of `optional`: its name, or NULL where it is not among `present`."""
    return {column: column if column in present else "NULL" for column in optional}


def rows_file(staged: Path) -> Path:
    """The file beside a staged table that tells how many rows were read and kept."""
    return staged.with_name(f"{staged.stem}.rows.json")


def write_rows(out: Path, *, read: int | None, kept: int) -> None:
    """Write how many rows of a table were read (None: not counted) and kept."""
    write_json({"rows_read": read, "rows_kept": kept}, out)


def rows_scanned(connection: duckdb.DuckDBPyConnection) -> int | None:
    """How many rows of all files the last query read, from its profile, so that nothing is read twice.

    None if the profile does not tell.
    """
    profile = json.loads(connection.get_profiling_information())
    scans = [operator["rows_scanned"] for operator in _operators(profile) if operator.get("type") == "TABLE_SCAN"]
    return sum(map(int, scans)) if scans else None


def _operators(profile: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for operator in [*profile.get("operator", ()), *profile.get("children", ())]:
        yield operator
        yield from _operators(operator)


def write_sorted(connection: duckdb.DuckDBPyConnection, select: str, out: Path) -> int:
    """Write what `select` gives as Parquet sorted by all columns; returns the number of rows.

    Sorted, the file depends on its rows alone: not on the threads, nor on a server's order.
    """
    row = connection.execute(copy_to_parquet(f"SELECT * FROM ({select}) ORDER BY ALL", out)).fetchone()
    assert row is not None, "COPY reports the number of rows it wrote"
    return int(row[0])


def log_kept(name: str, kept: int, start: float) -> None:
    """Log how many rows of a table were kept since `start` (monotonic seconds), and warn when none was."""
    _log.info("%s: kept %s rows, %.1f s", name, count_text(kept), time.monotonic() - start)
    if not kept:
        _log.warning("%s holds none of the wanted items; is it the right table of the right database?", name)


@contextmanager
def checked_besides(check: Callable[[], None]) -> Iterator[None]:
    """Run `check` in the background; its verdict comes before any error that damaged bytes led to."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        verdict = pool.submit(check)
        try:
            yield
        except UserError as error:
            verdict.result()
            raise error from None
        verdict.result()
