"""The clinical variables: names, units, item ids and plausible ranges, read from `data/variables.csv`.

A new variable is a new row of that file; a new profile is a new word in its `profile` column, which lists the
profiles that a row belongs to.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ehr_attack.errors import UserError
from ehr_attack.paths import VARIABLES_FILE

VITAL, LAB, OTHER, DEMOGRAPHIC = "vital", "lab", "other", "demographic"
"""Groups of variables. A demographic one describes the patient: no feasible attack changes it."""

_ITEM_COLUMNS = {"mimic3": ("mimic3_carevue", "mimic3_metavision")}
"""The columns with the item ids of a kind of source, where they are not the one that is called as the kind."""
_PHYSIONET2012 = "physionet2012"
_NO_ITEMS = {
    "variable", "profile", "label", "group", "unit", _PHYSIONET2012, "table", "low_exclusive", "high_inclusive",
    "precision", "fluid", "mutable",
}  # fmt: skip
"""All columns but those of item ids, of which each kind of source adds its own."""
_YES_NO = {"yes": True, "no": False}


@dataclass(frozen=True)
class Item:
    """An item id of a source; `fahrenheit` values are converted by (F - 32) / 1.8."""

    item_id: int
    fahrenheit: bool = False


@dataclass(frozen=True)
class Variable:
    """A clinical variable in its canonical unit.

    A value v is plausible when `low_exclusive < v <= high_inclusive`; `precision` is the step at which it is charted.
    `items` maps an item-id column (`mimic3_carevue`, `mimic3_metavision`, `mimic4`, ...) to the ids that hold it;
    `physionet2012` holds its parameters in the records of the PhysioNet 2012 challenge. `fluid` is what a laboratory
    value is measured in (empty: not told). `mutable`: a feasible attack may change it; never a demographic one.
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
    fluid: str = ""
    mutable: bool = True


def load_variables(
    profile: str = "clinical", kind: str = "mimic3", path: Path = VARIABLES_FILE
) -> tuple[Variable, ...]:
    """Read the variables of `profile` that a source of `kind` has, in the order of the file.

    kind: a `source.kind` (synthetic records have the same variables in every shape). Raises UserError for an unknown
    profile or a malformed file.
    """
    try:
        with path.open(newline="", encoding="utf-8") as lines:
            rows = [(row["profile"].split("|"), row) for row in csv.DictReader(lines)]
    except OSError as error:
        raise UserError(f"{path}: the table of variables cannot be read ({error.strerror}).") from error
    profiles = sorted({name for names, _ in rows for name in names})
    if profile not in profiles:
        raise UserError(f"source.profile: {profile!r} is not in {path.name}; expected one of {', '.join(profiles)}.")
    variables = (_variable(row, path) for names, row in rows if profile in names)
    return tuple(variable for variable in variables if _is_in(variable, kind))


def _is_in(variable: Variable, kind: str) -> bool:
    if kind == _PHYSIONET2012:
        return bool(variable.physionet2012)
    return bool(items_of(variable, "mimic3" if kind == "synthetic" else kind))


def items_of(variable: Variable, kind: str = "mimic3") -> tuple[Item, ...]:
    """The items that hold `variable` in tables of `kind`, without repeats."""
    columns = _ITEM_COLUMNS.get(kind, (kind,))
    return tuple(dict.fromkeys(item for column in columns for item in variable.items[column]))


def item_ids(variables: Sequence[Variable], table: str, kind: str = "mimic3") -> tuple[int, ...]:
    """All item ids of `variables` that lie in `table` of `kind`, sorted, without repeats."""
    ids = {item.item_id for variable in variables if variable.table == table for item in items_of(variable, kind)}
    return tuple(sorted(ids))


def item_list(variables: Sequence[Variable], table: str, kind: str) -> str:
    """The same as the inside of an SQL list; NULL, which matches nothing, where a profile has no item of the table."""
    return ", ".join(map(str, item_ids(variables, table, kind))) or "NULL"


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
            items={column: _items(cell) for column, cell in row.items() if column not in _NO_ITEMS},
            physionet2012=tuple(filter(None, row["physionet2012"].split("|"))),
            fluid=row.get("fluid") or "",
            mutable=_YES_NO[row.get("mutable") or "yes"] and row["group"] != DEMOGRAPHIC,
        )
    except (KeyError, ValueError, AttributeError, TypeError) as error:
        raise UserError(
            f"{path}: the row of variable {row.get('variable')!r} is malformed ({error}). Expected the columns of the "
            "header line, numbers for the range and the precision, item ids joined by '|' (':F' marks Fahrenheit), and "
            "yes, no or nothing in `mutable`."
        ) from error


def _items(cell: str) -> tuple[Item, ...]:
    parts = [part.partition(":") for part in cell.split("|") if part]
    return tuple(Item(int(number), fahrenheit=mark == "F") for number, _, mark in parts)
