"""Reading one CSV(.gz) file: columns found by name, types declared, the gzip checked to its end."""

import csv
import gzip
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from isal import igzip, isal_zlib

from ehr_attack.errors import UserError
from ehr_attack.sources.duck import quoted

_CHUNK_BYTES = 1 << 20
_LONGEST_SHOWN = 500
_DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error, isal_zlib.error)


@dataclass(frozen=True)
class Header:
    """The first line of a file: its column names in lower case, and whether there is a row below it."""

    columns: list[str]
    has_rows: bool


def is_gzip(path: Path) -> bool:
    """Whether the file's name says that it is compressed."""
    return path.name.lower().endswith(".gz")


def check_gzip(path: Path) -> None:
    """Decompress the file to its end and compare its checksums, which DuckDB does not.

    With ISA-L, which takes a quarter of zlib's time. Raises UserError when the file is damaged or cut short, as a
    broken download leaves it.
    """
    try:
        with igzip.open(path) as stream:
            while stream.read(_CHUNK_BYTES):
                pass
    except (*_DAMAGED, OSError) as error:
        raise _unreadable(path, error) from None


def read_header(path: Path) -> Header:
    """The first line of a file. Raises UserError when the file cannot be read."""
    try:
        with _open_text(path) as lines:
            rows = csv.reader(lines)
            return Header([name.strip().lower() for name in next(rows, [])], any(rows))
    except (*_DAMAGED, OSError, UnicodeDecodeError, csv.Error) as error:
        raise _unreadable(path, error) from None


def no_rows(path: Path, has_header: bool) -> UserError:
    """What to say of a table without a row."""
    return UserError(
        f"{path}: the table has no rows{'' if has_header else ' and no header'}. Expected a header line and "
        "at least one row; the download or export probably stopped early, so make this file again."
    )


def scan(path: Path, header: list[str], types: Mapping[str, str]) -> str:
    """A DuckDB table expression over the file, with the declared `types` and text for every other column.

    header: the columns of the first line. Raises UserError when a column of `types` is missing or stands there
    twice.
    """
    found = f"Found: {_shown(header)}."
    if missing := [column for column in types if column not in header]:
        if len(missing) == len(types):
            found = "The first line names no column at all."  # it is a record then, which may not be quoted
        raise UserError(
            f"{path}: no column {', '.join(missing)} in the header line. {found} Expected comma-separated "
            "columns named as the source names them (any case, any order); restore the original header line."
        )
    if repeated := sorted({column for column in header if header.count(column) > 1}):
        raise UserError(f"{path}: the header line names {_shown(repeated)} twice. {found} Keep one of each.")
    columns = ", ".join(f"{quoted(name)}: {quoted(types.get(name, 'VARCHAR'))}" for name in header)
    compression = "gzip" if is_gzip(path) else "none"
    return (
        f"read_csv({quoted(path)}, columns = {{{columns}}}, header = true, auto_detect = false, delim = ',', "
        f"""quote = '"', escape = '"', compression = '{compression}')"""
    )


def _shown(names: list[str]) -> str:
    """The names of a header line on one line, and no more of them than helps."""
    text = ", ".join(name if name.isprintable() else repr(name) for name in names)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def explain(error: Exception, path: Path, types: Mapping[str, str]) -> UserError:
    """What an error of DuckDB on this file means to a user, without DuckDB's own text, which quotes records."""
    text = str(error)
    line = re.search(r"CSV Error on Line: (\d+)", text)
    place = f"{path}, line {line[1]}" if line else str(path)
    again = "Make or download this file again; if you edited it, undo the edit at that line."
    column = re.search(r'converting column "(\w+)"', text)
    counts = re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", text)
    if column and column[1] in types:
        what = f"the value in column {column[1]} is not a {types[column[1]]}."
    elif counts:
        what = f"expected {counts[1]} columns, as in the header line, and found {counts[2]}."
    elif "unterminated quote" in text:
        what = "a quotation mark is opened and never closed."
    elif "unicode" in text.lower() or "utf-8" in text.lower():
        what = "the text is not UTF-8."
    else:
        what = f"DuckDB cannot read the file as comma-separated values ({type(error).__name__})."
    return UserError(f"{place}: {what} {again}")


def _open_text(path: Path) -> IO[str]:
    # Text that is not UTF-8 must not stop the search for the header; DuckDB reports it with its line.
    if is_gzip(path):
        return gzip.open(path, "rt", encoding="utf-8-sig", errors="replace", newline="")
    return path.open(encoding="utf-8-sig", errors="replace", newline="")


def _unreadable(path: Path, error: Exception) -> UserError:
    if isinstance(error, _DAMAGED):
        return UserError(
            f"{path}: the gzip file is cut short, damaged or not compressed at all. Expected a whole gzip file. "
            "Download it again and compare it with the published checksum (SHA256SUMS.txt); a file that is not "
            "compressed must end in .csv."
        )
    return UserError(f"{path}: the file cannot be read ({type(error).__name__}). Expected a readable CSV table.")
