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

from ehr_attack.errors import UserError
from ehr_attack.paths import SQL_DIR


@dataclass(frozen=True)
class SourceEntry:
    """Where a source is defined: two importable modules and its folder of SQL texts."""

    shape: str
    staging: str
    sql_dir: Path


_MIMIC3 = SourceEntry("ehr_attack.sources.mimic3", "ehr_attack.sources.mimic3_staging", SQL_DIR / "mimic3")
SOURCES: Mapping[str, SourceEntry] = {
    "synthetic": _MIMIC3,
    "mimic3": _MIMIC3,
    "physionet2012": SourceEntry(
        "ehr_attack.sources.physionet2012", "ehr_attack.sources.physionet2012_staging", SQL_DIR / "physionet2012"
    ),
}
"""The sources by `source.kind`; synthetic records are MIMIC-III-shaped."""


def load_shape(kind: str) -> ModuleType:
    """The module that describes the tables of a source of `kind`."""
    return importlib.import_module(SOURCES[kind].shape)


def load_staging(kind: str) -> ModuleType:
    """The module that reads the tables of a source of `kind`."""
    return importlib.import_module(SOURCES[kind].staging)


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
