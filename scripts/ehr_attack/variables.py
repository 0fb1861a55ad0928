"""The clinical variables: names, units, item ids and plausible ranges, read from `data/variables.csv`.

A new variable is a new row of that file; a new profile is a new word in its `profile` column.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ehr_attack.errors import UserError
from ehr_attack.paths import VARIABLES_FILE

VITAL, LAB = "vital", "lab"
_ITEM_COLUMNS = ("mimic3_carevue", "mimic3_metavision", "mimic4")


@dataclass(frozen=True)
class Item:
    """An item id of a source; `fahrenheit` values are converted by (F - 32) / 1.8."""

    item_id: int
    fahrenheit: bool = False


@dataclass(frozen=True)
class Variable:
    """A clinical variable in its canonical unit.

    A value v is plausible when `low_exclusive < v <= high_inclusive`; `precision` is the step at which it is charted.
    `items` maps an item-id column (`mimic3_carevue`, `mimic3_metavision`, `mimic4`) to the ids that hold the variable.
    """

    name: str
    label: str
    group: str
    unit: str
    table: str
    low_exclusive: float
    high_inclusive: float
    precision: float
    items: Mapping[str, tuple[Item, ...]]
    physionet2012: tuple[str, ...] = ()


def load_variables(profile: str = "clinical", path: Path = VARIABLES_FILE) -> tuple[Variable, ...]:
    """Read the variables of `profile`, in the order of the file: vital signs, then laboratory values.

    Raises UserError for an unknown profile or a malformed file.
    """
    try:
        with path.open(newline="", encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines))
    except OSError as error:
        raise UserError(f"{path}: the table of variables cannot be read ({error.strerror}).") from error
    profiles = sorted({row["profile"] for row in rows} - {"all"})
    if profile not in profiles:
        raise UserError(f"source.profile: {profile!r} is not in {path.name}; expected one of {', '.join(profiles)}.")
    return tuple(_variable(row, path) for row in rows if row["profile"] in ("all", profile))


def item_ids(variables: tuple[Variable, ...], table: str) -> tuple[int, ...]:
    """All MIMIC-III item ids of `variables` that lie in `table`, sorted, without repeats."""
    ids = {
        item.item_id
        for variable in variables
        if variable.table == table
        for column in ("mimic3_carevue", "mimic3_metavision")
        for item in variable.items[column]
    }
    return tuple(sorted(ids))


def _variable(row: dict[str, str], path: Path) -> Variable:
    try:
        return Variable(
            name=row["variable"],
            label=row["label"],
            group=row["group"],
            unit=row["unit"],
            table=row["table"],
            low_exclusive=float(row["low_exclusive"]),
            high_inclusive=float(row["high_inclusive"]),
            precision=float(row["precision"]),
            items={column: _items(row[column]) for column in _ITEM_COLUMNS},
            physionet2012=tuple(filter(None, row["physionet2012"].split("|"))),
        )
    except (KeyError, ValueError) as error:
        raise UserError(
            f"{path}: the row of variable {row.get('variable')!r} is malformed ({error}). Expected the columns of the "
            "header line, numbers in the last three, and item ids joined by '|' (':F' marks Fahrenheit)."
        ) from error


def _items(cell: str) -> tuple[Item, ...]:
    parts = [part.partition(":") for part in cell.split("|") if part]
    return tuple(Item(int(number), fahrenheit=mark == "F") for number, _, mark in parts)
