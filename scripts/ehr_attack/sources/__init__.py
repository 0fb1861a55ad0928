"""Where records come from: the sources by kind, and finding a source's tables in a folder.

A source is two modules, one line of `SOURCES` and a folder of `workflow/sql`. Its shape module names the tables and
finds their files (`find_tables`) and the codes of variables (`codes`); its staging module reads a table (`stage`).
Importing this package and a shape is cheap (standard library only), because Snakemake does so while it reads the rules.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ehr_attack.errors import UserError
from ehr_attack.paths import SQL_DIR


@dataclass(frozen=True)
class SourceEntry:
    """Where a source is defined: two importable modules and its folder of SQL texts."""

    shape: str
    staging: str
    sql_dir: Path


SOURCES: Mapping[str, SourceEntry] = {
    "mimic3": SourceEntry("ehr_attack.sources.mimic3", "ehr_attack.sources.mimic3_staging", SQL_DIR / "mimic3"),
    "mimic4": SourceEntry("ehr_attack.sources.mimic4", "ehr_attack.sources.mimic4_staging", SQL_DIR / "mimic4"),
    "physionet2012": SourceEntry(
        "ehr_attack.sources.physionet2012", "ehr_attack.sources.physionet2012_staging", SQL_DIR / "physionet2012"
    ),
}
"""The sources by the kind of their tables: `source.kind`, or `synthetic.shape` (see `table_kind`)."""


SERVER_STAGING = "ehr_attack.sources.postgresql_staging"
"""The module that reads the tables of any source from a PostgreSQL server."""


def table_kind(config: Mapping[str, Any]) -> str:
    """The kind of the source's tables, a key of `SOURCES`; synthetic records come in the shape of a real source."""
    kind = config["source"]["kind"]
    return str(config["synthetic"]["shape"] if kind == "synthetic" else kind)


def load_shape(kind: str) -> ModuleType:
    """The module that describes the tables of a source of `kind`."""
    return importlib.import_module(SOURCES[kind].shape)


def load_staging(kind: str) -> ModuleType:
    """The module that reads the tables of a source of `kind`."""
    return importlib.import_module(SOURCES[kind].staging)


def load_server_staging() -> ModuleType:
    """The module that reads the tables of any source from a PostgreSQL server."""
    return importlib.import_module(SERVER_STAGING)


def find_tables(kind: str, folder: str | Path) -> dict[str, Path]:
    """Find the tables of a source in `folder`, by name only (nothing is opened): table -> file or folder.

    Raises UserError when the folder or a needed table is missing, or when two files claim one table.
    """
    tables: dict[str, Path] = load_shape(kind).find_tables(Path(folder))
    return tables


def held_out_sets(tables: Mapping[str, Path], wanted: list[str] | None) -> list[str]:
    """The sets that `folds.method: by_set` holds out in turn: those `wanted`, or all that the source has.

    Raises UserError when the source has fewer than two sets, or not one that is wanted.
    """
    sets = sorted({name.partition("_")[2] for name in tables if name.startswith("outcomes_")})
    if len(sets) < 2:
        there = f"only set {sets[0]}" if sets else "no sets"
        raise UserError(
            f"config key folds.method: by_set trains on some sets and tests on another, but this source has {there}. "
            "Add another set to source.path, or set folds.method to random."
        )
    for name in wanted or []:
        if name not in sets:
            raise UserError(
                f"config key folds.held_out_sets: there is no set {name!r} in source.path; found {', '.join(sets)}."
            )
    return sorted(wanted) if wanted else sets
