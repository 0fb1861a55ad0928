"""The shape of the PhysioNet/CinC Challenge 2012: sets of records, one text file a record, and their outcomes.

A set <x> is a folder `set-<x>/` or an archive `set-<x>.tar.gz` of `<RecordID>.txt` files with lines
`Time,Parameter,Value`, beside a table `Outcomes-<x>.txt`.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ehr_attack.errors import UserError
from ehr_attack.sources.table_files import files_in, listed
from ehr_attack.variables import Variable

WINDOW_HOURS = 48
"""A record covers the first 48 hours in the ICU; nothing before, nothing after."""

OUTCOME_TYPES: Mapping[str, str] = {
    "recordid": "BIGINT",
    "length_of_stay": "BIGINT",
    "in-hospital_death": "SMALLINT",
}
"""The columns of an Outcomes file that are read; the severity scores of its other columns are not."""

DESCRIPTORS = ("RecordID", "Age", "Gender", "ICUType")
"""Parameters that describe the patient, at time 00:00, and are read whatever the variables are."""

_SET = re.compile(r"set-([a-z])(\.tar\.gz|\.tgz)?", re.IGNORECASE)
_OUTCOMES = re.compile(r"outcomes-([a-z])\.txt", re.IGNORECASE)
_EXPECTED = "the sets of the PhysioNet 2012 challenge (set-<x>/ or set-<x>.tar.gz, with Outcomes-<x>.txt)"


def find_tables(folder: Path) -> dict[str, Path]:
    """The tables in `folder`: `records_<x>` (a folder or an archive) and `outcomes_<x>` of every set <x>.

    Of a set that is there both ways the archive is taken: it can be checked to its end. Raises UserError when there
    is no set, or no outcomes for one.
    """
    names = files_in(folder, _EXPECTED)
    outcomes = {found[1].lower(): path for path in names if (found := _OUTCOMES.fullmatch(path.name))}
    records: dict[str, Path] = {}
    for path in names:
        found = _SET.fullmatch(path.name)
        if found and path.is_dir() != bool(found[2]) and (found[2] or found[1].lower() not in records):
            records[found[1].lower()] = path
    if not records:
        raise UserError(_no_set(folder, names))
    if missing := [f"Outcomes-{name}.txt" for name in records if name not in outcomes]:
        raise UserError(
            f"{folder}: no {listed(missing)}. Expected {_EXPECTED}; download the outcomes into this folder "
            "(ehr-attack download-physionet2012 fetches both)."
        )
    return {f"records_{name}": path for name, path in sorted(records.items())} | {
        f"outcomes_{name}": outcomes[name] for name in sorted(records)
    }


def views(table: str) -> str:
    """The name under which the SQL texts know a staged table: the sets of a kind are one view."""
    return table.partition("_")[0]


def codes(variable: Variable) -> list[dict[str, Any]]:
    """One row a parameter of `variable`: what joins it to the records (`workflow/sql/physionet2012/placed.sql`)."""
    return [{"parameter": parameter} for parameter in variable.physionet2012]


def _no_set(folder: Path, names: Sequence[Path]) -> str:
    if any(re.fullmatch(r"\d+\.txt", path.name) for path in names):
        return (
            f"{folder}: these are the records of one set. Expected {_EXPECTED}; set source.path to the folder above, "
            "and keep the set's folder named set-<x>."
        )
    if zipped := [path.name for path in names if re.fullmatch(r"set-[a-z]\.zip", path.name, re.IGNORECASE)]:
        return f"{folder}: {listed(zipped)} cannot be read as it is. Unpack it here, or download the .tar.gz file."
    return (
        f"{folder}: no set of records. Expected {_EXPECTED}. Download one with `ehr-attack download-physionet2012`, or "
        "set source.path to the folder that holds them."
    )
