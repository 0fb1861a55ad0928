"""Running SQL with DuckDB: a database with bounded memory, and SQL texts read from files."""

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb

from ehr_attack.errors import UserError
from ehr_attack.paths import sql_file

PROCESS_MB = 250
"""Memory that Python and its libraries take in a job besides DuckDB (measured: 170 to 200), in MB."""


def memory_limit_gb(job_mb: float) -> float:
    """The limit for DuckDB, in GB, in a job whose process may take `job_mb` (MB) in all."""
    return max(100.0, job_mb - PROCESS_MB) / 1000


@contextmanager
def session(*, scratch: Path, threads: int, memory_limit_gb: float) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a database in memory; tables and sorts beyond the limit spill to the folder `scratch`.

    The caller removes `scratch`; it must be private, for it holds records. Raises UserError when memory, or the space
    for what does not fit into it, runs out; OSError when a file cannot be written for want of space.
    """
    configuration: dict[str, str | bool | int | float | list[str]] = {
        "threads": threads,
        "memory_limit": f"{max(1, round(memory_limit_gb * 1000))}MB",
        "temp_directory": str(scratch / "spill"),
        "preserve_insertion_order": True,
        # Nothing may be fetched from the network, and a table name in SQL must never mean a Python variable.
        "autoinstall_known_extensions": False,
        "python_enable_replacements": False,
    }
    connection = duckdb.connect(":memory:", config=configuration)
    try:
        connection.execute("SET enable_progress_bar = false")
        yield connection
    except duckdb.OutOfMemoryException as error:
        raise UserError(
            f"{scratch.parent}: {memory_limit_gb:g} GB of memory (threads: {threads}) or the disk space here "
            "was not enough for this step. Raise source.memory_mb, use fewer threads, or free disk space."
        ) from error
    except (duckdb.ConversionException, duckdb.OutOfRangeException) as error:
        # DuckDB's own text quotes records.
        raise UserError(
            "a date or number in the source's tables is beyond what can be computed with, as the year "
            f"290000 would be (DuckDB: {type(error).__name__}). Expected dates and numbers as the source writes them; "
            "look for the largest and the smallest of each column, and mend that row."
        ) from None
    except duckdb.IOException as error:
        if is_no_space(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise UserError(
            f"{scratch.parent}: a file could not be read or written ({error}). Delete the file that is "
            "named here and run snakemake again."
        ) from error
    finally:
        connection.close()


def is_no_space(error: duckdb.Error) -> bool:
    """Whether DuckDB could not write a file because the device is full; it says so in its text only."""
    return any(os.strerror(code) in str(error) for code in (errno.ENOSPC, errno.EDQUOT))


def read_sql(folder: Path, name: str, **placeholders: str) -> str:
    """The text of `paths.sql_file(folder, name)`, each `{placeholder}` replaced. Raises UserError when missing."""
    path = sql_file(folder, name)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"{path}: the SQL text cannot be read ({error.strerror}). It is part of this project; restore it "
            "with `git checkout -- workflow/sql`, and keep workflow/ beside scripts/."
        ) from error
    for placeholder, value in placeholders.items():
        text = text.replace("{" + placeholder + "}", value)
    return text


def quoted(text: str | Path) -> str:
    """`text` as an SQL string literal."""
    return "'" + str(text).replace("'", "''") + "'"


def identifier(name: str) -> str:
    """`name` as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def create_views(connection: duckdb.DuckDBPyConnection, tables: Mapping[str, Path | Sequence[Path]]) -> None:
    """Make Parquet files known by name; several files are read as one table."""
    for name, files in tables.items():
        paths = ", ".join(quoted(path) for path in ([files] if isinstance(files, Path) else files))
        connection.execute(f"CREATE VIEW {identifier(name)} AS SELECT * FROM read_parquet([{paths}])")


def copy_to_parquet(query: str, path: Path) -> str:
    """The statement that writes the result of `query` to `path` as zstd Parquet."""
    return f"COPY ({query}) TO {quoted(path)} (FORMAT parquet, COMPRESSION zstd)"
