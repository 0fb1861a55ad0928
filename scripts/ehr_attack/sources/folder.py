"""Finding the tables of a source in a folder, by file name only (nothing is opened)."""

from pathlib import Path

from ehr_attack.errors import UserError
from ehr_attack.sources import mimic3

_SUFFIXES = (".csv.gz", ".csv")


def find_tables(folder: Path) -> dict[str, Path]:
    """Find the MIMIC-III tables in `folder`: lower-case table name -> file.

    File names may be in upper or lower case and end in `.csv.gz` or `.csv`. Where a table is there both ways,
    the compressed file is taken: it is the one as published, and it can be checked to its end. The
    dictionaries (d_items, d_labitems) are included where present. Raises UserError when the folder or a
    needed table is missing, or when two files claim one table.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such folder. Expected a folder with the MIMIC-III tables as CSV files; "
            "set source.path to the folder that you downloaded them to."
        )
    files = sorted(path for path in folder.iterdir() if path.is_file())
    tables = {table: _files_of(table, files) for table in (*mimic3.TABLES, *mimic3.OPTIONAL_TABLES)}
    wanted = [table.upper() for table in mimic3.TABLES]
    missing = [table.upper() for table in mimic3.TABLES if not tables[table]]
    if missing:
        raise UserError(
            f"{folder}: no file for {_listed(missing)}. Expected {_listed(wanted)}, each as <TABLE>.csv or "
            "<TABLE>.csv.gz, in upper or lower case. Download what is missing into this folder, or set "
            "source.path to the folder that holds the tables."
        )
    doubled = [path.name for paths in tables.values() if len(paths) > 1 for path in paths]
    if doubled:
        raise UserError(f"{folder}: {_listed(doubled)} hold the same table. Keep one file a table.")
    return {table: paths[0] for table, paths in tables.items() if paths}


def _files_of(table: str, files: list[Path]) -> list[Path]:
    """The files named after `table`, of the first suffix that has any."""
    for suffix in _SUFFIXES:
        if found := [path for path in files if path.name.lower() == table + suffix]:
            return found
    return []


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
