"""The shape of MIMIC-III: its tables, the columns that are read and their types.

A column list is matched by name against each file's header, never by position. The types are DuckDB's and are
also those of PostgreSQL, so that both sources hand the same values to the SELECT texts in
`workflow/sql/mimic3`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ehr_attack.sources.table_files import find_csv_tables
from ehr_attack.variables import Variable, items_of

TABLES: Mapping[str, Mapping[str, str]] = {
    "admissions": {
        "subject_id": "BIGINT",
        "hadm_id": "BIGINT",
        "admittime": "TIMESTAMP",
        "dischtime": "TIMESTAMP",
        "deathtime": "TIMESTAMP",
        "diagnosis": "VARCHAR",
        "hospital_expire_flag": "SMALLINT",
    },
    "patients": {"subject_id": "BIGINT", "gender": "VARCHAR", "dob": "TIMESTAMP"},
    "icustays": {
        "subject_id": "BIGINT",
        "hadm_id": "BIGINT",
        "icustay_id": "BIGINT",
        "first_careunit": "VARCHAR",
        "intime": "TIMESTAMP",
        "outtime": "TIMESTAMP",
    },
    "chartevents": {
        "subject_id": "BIGINT",
        "icustay_id": "BIGINT",
        "itemid": "BIGINT",
        "charttime": "TIMESTAMP",
        "valuenum": "DOUBLE",
        "error": "SMALLINT",
    },
    "labevents": {
        "subject_id": "BIGINT",
        "itemid": "BIGINT",
        "charttime": "TIMESTAMP",
        "valuenum": "DOUBLE",
    },
}
"""The tables that the project reads: table -> column -> type. All are needed and must have rows."""

DICTIONARIES: Mapping[str, Mapping[str, str]] = {
    "d_items": {"itemid": "BIGINT", "label": "VARCHAR"},
    "d_labitems": {"itemid": "BIGINT", "label": "VARCHAR", "fluid": "VARCHAR"},
}
"""What item ids mean, as the source tells it: for the audit, where present; the extracts do without."""

OPTIONAL_TABLES = tuple(DICTIONARIES)

OPTIONAL_COLUMNS: Mapping[str, Mapping[str, str]] = {
    "chartevents": {"valueuom": "VARCHAR"},
    "labevents": {"valueuom": "VARCHAR"},
}
"""Columns that are read where a file has them, and are null where it has not: table -> column -> type."""


def find_tables(folder: Path) -> dict[str, Path]:
    """The tables in `folder`; see `table_files.find_csv_tables`."""
    return find_csv_tables(folder, TABLES, OPTIONAL_TABLES, "MIMIC-III")


def views(table: str) -> str:
    """The name under which the SQL texts know a staged table."""
    return table


def codes(variable: Variable) -> list[dict[str, Any]]:
    """One row an item id of `variable`: what joins it to the events (`workflow/sql/mimic/placed.sql`)."""
    return [
        {"table_name": variable.table, "item_id": item.item_id, "fahrenheit": item.fahrenheit}
        for item in items_of(variable, "mimic3")
    ]
