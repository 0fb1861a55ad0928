"""One table of a source in CSV: a file, or a folder of parts, each with the header line."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ehr_attack.errors import UserError
from ehr_attack.sources import csv_file
from ehr_attack.sources.duck import identifier
from ehr_attack.sources.table_files import parts_of


@dataclass(frozen=True)
class CsvTable:
    """A table that lies in `parts`: every part with the lower-case column names of its own header line.

    path: the file, or the folder of parts.
    """

    path: Path
    parts: Mapping[Path, list[str]]

    @cached_property
    def columns(self) -> list[str]:
        """The columns of all parts, in the order in which they are first named."""
        return list(dict.fromkeys(column for header in self.parts.values() for column in header))

    @property
    def size_bytes(self) -> int:
        """Bytes on disk."""
        return sum(part.stat().st_size for part in self.parts)

    def scan(self, types: Mapping[str, str], optional: Mapping[str, str] | None = None) -> str:
        """A DuckDB table expression over all parts: the columns of `types`, and of `optional` those that are there.

        Each part is read by its own header line. A part that lacks an optional column has nulls in it. Raises UserError
        when a column of `types` is missing in a part or stands there twice.
        """
        selects = [self._select(part, types, optional or {}) for part in self.parts]
        return f"({' UNION ALL BY NAME '.join(selects)})"

    def _select(self, part: Path, types: Mapping[str, str], optional: Mapping[str, str]) -> str:
        header = self.parts[part]
        read = {**types, **{column: kind for column, kind in optional.items() if column in header}}
        columns = ", ".join(identifier(column) for column in read)
        return f"SELECT {columns} FROM {csv_file.scan(part, header, read)}"

    def explain(self, error: Exception, types: Mapping[str, str]) -> UserError:
        """What an error of DuckDB on this table means to a user; see `csv_file.explain`."""
        # DuckDB names the file it was reading; of two whose names begin alike, the longer name is the one.
        named = [part for part in self.parts if str(part) in str(error)]
        return csv_file.explain(error, max(named, key=lambda part: len(str(part)), default=self.path), types)

    def check(self) -> None:
        """Read every gzip file to its end; see `csv_file.check_gzip`."""
        for part in self.parts:
            if csv_file.is_gzip(part):
                csv_file.check_gzip(part)


def open_table(path: Path) -> CsvTable:
    """Read the header lines of the table in `path`, a file or a folder of parts.

    Raises UserError when a file cannot be read, when the folder holds no part, or one part both compressed and plain,
    and when there is no row. A part of a folder may be empty below its header line.
    """
    path = Path(path)
    parts = parts_of(path)
    headers = {part: csv_file.read_header(part) for part in parts}
    if not any(header.has_rows for header in headers.values()):
        raise csv_file.no_rows(path, any(header.columns for header in headers.values()))
    return CsvTable(path, {part: header.columns for part, header in headers.items()})
