"""Finding CSV tables in a folder, by file name only (nothing is opened)."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from ehr_attack.errors import UserError

SUFFIXES = (".csv.gz", ".csv")
"""Endings of the files that hold a table or a part of one; the compressed ones, as published, come first."""


def find_csv_tables(
    folder: Path,
    needed: Iterable[str],
    optional: Iterable[str],
    database: str,
    modules: Mapping[str, str] | None = None,
) -> dict[str, Path]:
    """Find tables in `folder`: lower-case table name -> file, or folder of parts.

    File names may be in upper or lower case and end in `.csv.gz` or `.csv`. Where a table is there both ways,
    the compressed file is taken: it is the one as published, and it can be checked to its end. Where there is no file,
    a folder of the table's name, with or without these endings, may hold the table in parts. Those of `optional`
    are included where present. `database`: the source's name, for messages. `modules`: the subfolder in which a
    release keeps each table; it is looked for there and in `folder` itself. Raises UserError when the folder or a
    needed table is missing, or when two files claim one table.
    """
    needed = list(needed)
    files = _with_subfolders(files_in(folder, f"the {database} tables as CSV files"), set((modules or {}).values()))
    tables = {table: _files_of(table, files) for table in (*needed, *optional)}
    published = {table: f"{modules[table]}/{table}" if modules else table.upper() for table in needed}
    missing = [published[table] for table in needed if not tables[table]]
    if missing:
        raise UserError(
            f"{folder}: no file for {listed(missing)}. Expected {listed(list(published.values()))}, each as "
            "<TABLE>.csv or <TABLE>.csv.gz, in upper or lower case. Download what is missing into this folder, or set "
            f"source.path to the folder that holds the tables{' or their folders' if modules else ''}."
        )
    doubled = [path.relative_to(folder).as_posix() for paths in tables.values() if len(paths) > 1 for path in paths]
    if doubled:
        raise UserError(f"{folder}: {listed(doubled)} hold the same table. Keep one file a table.")
    return {table: paths[0] for table, paths in tables.items() if paths}


def files_in(folder: Path, expected: str) -> list[Path]:
    """What lies in `folder`, sorted. Raises UserError when it is no folder or may not be read."""
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such folder. Expected a folder with {expected}; "
            "set source.path to the folder that you downloaded them to."
        )
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise UserError(
            f"{folder}: the folder cannot be read ({error.strerror}). Expected a folder with {expected} that this "
            "user may read; check its permissions."
        ) from error


def listed(names: list[str]) -> str:
    """The names in words: `A, B and C`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _with_subfolders(entries: list[Path], names: set[str]) -> list[Path]:
    """The entries of a folder, with those of its subfolders of these names, in upper or lower case."""
    subfolders = [entry for entry in entries if entry.name.lower() in names and entry.is_dir()]
    return [*entries, *(path for entry in subfolders for path in files_in(entry, "CSV files"))]


def _files_of(table: str, files: list[Path]) -> list[Path]:
    """The files named after `table`, of the first suffix that has any; else the folders that hold its parts."""
    for suffix in SUFFIXES:
        if found := [path for path in files if path.name.lower() == table + suffix and path.is_file()]:
            return found
    names = {table, *(table + suffix for suffix in SUFFIXES)}
    return [path for path in files if path.name.lower() in names and path.is_dir() and parts_of(path)]


def parts_of(path: Path) -> list[Path]:
    """The files that hold the table in `path`: itself, or the CSV files of the folder, sorted; [] where it has none.

    Raises UserError when a part is there both compressed and plain: its rows would count twice.
    """
    if not path.is_dir():
        return [path]
    # A part whose name begins with a dot or an underscore is a note of the program that wrote the folder.
    files = [file for file in sorted(path.iterdir()) if file.is_file() and file.name[0] not in "._"]
    parts = [file for file in files if file.name.lower().endswith(SUFFIXES)]
    plain = {file.name.lower() for file in parts}
    if doubled := [file for file in parts if file.name.lower().removesuffix(".gz") in plain - {file.name.lower()}]:
        raise UserError(
            f"{path}: {doubled[0].name} is there compressed and plain, so its rows would count twice. Keep one of the "
            "two."
        )
    return parts
