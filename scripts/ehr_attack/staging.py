"""Staging: each source table is read once and only what is needed of it is kept, as Parquet."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import duckdb

from ehr_attack.errors import UserError
from ehr_attack.sources import csv_file
from ehr_attack.sources.duck import copy_to_parquet, identifier, is_no_space, read_sql, session
from ehr_attack.storage import atomic_path
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
    **placeholders: str,
) -> int:
    """Read `source_file` (CSV or CSV.gz) once; write what `sql_dir/<table>.sql` selects from it as Parquet.

    table: lower-case name. types: DuckDB types of the columns that are read, by lower-case name. placeholders: what
    replaces `{name}` in the SQL text. Rows are sorted by all columns. Memory stays within `memory_limit_gb` whatever
    the size of the file. Returns the number of rows kept. Raises UserError, and writes nothing, when the file is
    damaged, lacks a column, has no rows, or holds a value of the wrong type.
    """
    source_file = Path(source_file)
    scan = csv_file.scan(source_file, csv_file.read_header(source_file), types)
    select = read_sql(sql_dir, table, **placeholders)
    return stage_selection(
        table,
        scan,
        select,
        source_file,
        out,
        explain=lambda error: csv_file.explain(error, source_file, types),
        threads=threads,
        memory_limit_gb=memory_limit_gb,
    )


def stage_selection(
    view: str,
    scan: str,
    select: str,
    source_file: Path,
    out: Path,
    *,
    explain: Callable[[duckdb.Error], UserError],
    threads: int,
    memory_limit_gb: float = 2.0,
) -> int:
    """Write what `select` reads from the table expression `scan`, known as `view`, as Parquet sorted by all columns.

    source_file: where it all comes from, for the log; a gzip file is checked to its end. explain: what an error of
    DuckDB means to a user. Returns the number of rows kept.
    """
    start = time.monotonic()
    _log.info("%s: reading %.1f MB", source_file.name, csv_file.size_bytes(source_file) / 1e6)
    with (
        atomic_path(out) as temporary,
        checked_to_its_end(source_file),
        session(scratch=temporary.parent, threads=threads, memory_limit_gb=memory_limit_gb) as connection,
    ):
        try:
            connection.execute(f"CREATE VIEW {identifier(view)} AS SELECT * FROM {scan}")
            kept = write_sorted(connection, select, temporary)
        except duckdb.Error as error:
            if isinstance(error, duckdb.OutOfMemoryException) or is_no_space(error):
                raise  # the session says what to do
            raise explain(error) from None
    log_kept(source_file.name, kept, start)
    return kept


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
def checked_to_its_end(path: Path) -> Iterator[None]:
    """Check a gzip file in the background; its verdict comes before any error that damaged bytes led to."""
    if not csv_file.is_gzip(path):
        yield
        return
    with ThreadPoolExecutor(max_workers=1) as pool:
        verdict = pool.submit(csv_file.check_gzip, path)
        try:
            yield
        except UserError as error:
            verdict.result()
            raise error from None
        verdict.result()
