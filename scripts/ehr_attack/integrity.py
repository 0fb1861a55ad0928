"""The integrity of a source: rows as published, keys that repeat, times that cannot be. Counted and reported.

Only a table of a full release with another number of rows than published stops the run: it is a broken download.
"""

import csv
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from ehr_attack.errors import UserError
from ehr_attack.paths import DATA_DIR, SQL_DIR, sql_file
from ehr_attack.schemas.audit import INTEGRITY
from ehr_attack.sources import SOURCES
from ehr_attack.sources.duck import create_views, read_sql, session
from ehr_attack.storage import atomic_path, read_json, write_parquet

_log = logging.getLogger(__name__)
PUBLISHED_ROWS_FILE = DATA_DIR / "published_rows.csv"


def check_integrity(
    *,
    kind: str,
    version: str | None,
    full_release: bool,
    tables: Mapping[str, Path | Sequence[Path]],
    rows_files: Mapping[str, Path],
    out: Path,
    threads: int,
    memory_limit_gb: float = 2.0,
) -> None:
    """Write the INTEGRITY table of a source of `kind`, exact numbers in it.

    tables: staged tables by view; rows_files: of each table, the file that tells how many rows were read of it.
    Raises UserError, and writes nothing, when `full_release` is true and a table has another number of rows than
    `version` (null: the newest known) was published with.
    """
    read = {table: read_json(path)["rows_read"] for table, path in rows_files.items()}
    expected = published_rows(kind, version) if full_release else {}
    if wrong := {table: n for table, n in expected.items() if read.get(table) != n}:
        raise UserError(_wrong_rows(read, wrong))
    with atomic_path(out) as temporary:
        with session(scratch=temporary.parent, threads=threads, memory_limit_gb=memory_limit_gb) as connection:
            connection.execute(read_sql(SQL_DIR / "common", "macros"))
            create_views(connection, tables)
            checks = [
                check
                for text in integrity_texts(kind)
                for check in connection.sql(read_sql(text.parent, text.stem)).to_arrow_table().to_pylist()
            ]
        checks.sort(key=lambda check: check["position"])
        rows = [_rows_line(table, n, expected.get(table)) for table, n in sorted(read.items()) if n is not None]
        write_parquet(pa.Table.from_pylist([*rows, *checks], schema=INTEGRITY), temporary, INTEGRITY)
    _log.info("integrity: %d of %d checks found something", sum(bool(row["cases"]) for row in checks), len(checks))


def integrity_texts(kind: str) -> list[Path]:
    """The SQL texts that count what may be wrong in a source of `kind`: what its releases share, and its own."""
    folder = SOURCES[kind].sql_dir
    return [sql_file(folder, "integrity"), *sorted(folder.glob("integrity_*.sql"))]


def published_rows(kind: str, version: str | None) -> dict[str, int]:
    """How many rows each table of a release was published with.

    version: as in `source.version`, with or without a `v`; null means the newest known. Raises UserError when the
    numbers of that release are not known.
    """
    with PUBLISHED_ROWS_FILE.open(newline="", encoding="utf-8") as lines:
        known = [row for row in csv.DictReader(lines) if row["kind"] == kind]
    versions = sorted({row["version"] for row in known})
    wanted = version.strip().lower().removeprefix("v") if version else max(versions, default="")
    if wanted not in versions:
        raise UserError(
            f"source.full_release: how many rows {kind} of version {wanted or 'any'} was published with is not known; "
            f"known: {', '.join(versions) or 'none'}. Set source.version to one of them, or source.full_release to "
            "false."
        )
    return {row["table"]: int(row["rows"]) for row in known if row["version"] == wanted}


def _wrong_rows(read: Mapping[str, int | None], published: Mapping[str, int]) -> str:
    lines = [f"  {'table':<12} {'read':>13} {'published':>13} {'difference':>13}"]
    for table, n in published.items():
        found = read.get(table)
        numbers = ("not counted", "") if found is None else (f"{found:,}", f"{found - n:+,}")
        lines.append(f"  {table:<12} {numbers[0]:>13} {n:>13,} {numbers[1]:>13}")
    return "\n".join(
        [
            "source.full_release: these tables do not have the rows of the full release:",
            *lines,
            "A short table is usually a download or export that stopped early, a long one was loaded twice: get it "
            "again. If this is meant to be a part of the release, set source.full_release to false.",
        ]
    )


def _rows_line(table: str, n: int, published: int | None) -> dict[str, Any]:
    note = "not compared with a release" if published is None else "as published"
    return {"table_name": table, "what": "rows read", "cases": n, "total": None, "consequence": note}
