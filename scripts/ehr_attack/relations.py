"""Relations between variables that hold in every record (systolic above diastolic), read from `data/relations.csv`."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ehr_attack.errors import UserError
from ehr_attack.paths import RELATIONS_FILE
from ehr_attack.variables import Variable

_COLUMNS = ("larger", "smaller", "margin")


@dataclass(frozen=True)
class Relation:
    """`larger` - `smaller` > `margin`, in the unit that the two variables share."""

    larger: str
    smaller: str
    margin: float


def load_relations(variables: Sequence[Variable], path: Path = RELATIONS_FILE) -> tuple[Relation, ...]:
    """The relations of the file of which both variables are among `variables`, in the order of the file.

    Raises UserError for a malformed file, or for a relation between variables of different units.
    """
    try:
        with path.open(newline="", encoding="utf-8") as lines:
            relations = [_relation(row, path) for row in csv.DictReader(lines)]
    except OSError as error:
        raise UserError(f"{path}: the table of relations cannot be read ({error.strerror}).") from error
    units = {variable.name: variable.unit for variable in variables}
    kept = tuple(relation for relation in relations if {relation.larger, relation.smaller} <= units.keys())
    for relation in kept:
        if units[relation.larger] != units[relation.smaller]:
            raise UserError(
                f"{path}: {relation.larger} ({units[relation.larger]}) and {relation.smaller} "
                f"({units[relation.smaller]}) cannot be compared; expected variables of the same unit."
            )
    return kept


def _relation(row: dict[str, str], path: Path) -> Relation:
    try:
        larger, smaller, margin = row["larger"], row["smaller"], float(row["margin"])
        if larger == smaller or not math.isfinite(margin):
            raise ValueError("a variable beside itself, or a margin that is no number")
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path}: the row {','.join(map(str, row.values()))} is malformed ({error}). Expected the columns "
            f"{', '.join(_COLUMNS)}: two different variables and a number."
        ) from error
    return Relation(larger, smaller, margin)
