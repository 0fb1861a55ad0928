"""The shape of MIMIC-III: its tables, the columns that are read and their types.

A column list is matched by name against each file's header, never by position. The types are DuckDB's and are
also those of PostgreSQL, so that both sources hand the same values to the SELECT texts in
`workflow/sql/mimic3`.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from ehr_attack.sources.mimic import DICTIONARIES, OPTIONAL_COLUMNS, OPTIONAL_TABLES, item_codes, views
from ehr_attack.sources.table_files import find_csv_tables

__all__ = ["DICTIONARIES", "OPTIONAL_COLUMNS", "OPTIONAL_TABLES", "TABLES", "codes", "find_tables", "views"]

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


def find_tables(folder: Path) -> dict[str, Path]:
    """The tables in `folder`; see `table_files.find_csv_tables`."""
    return find_csv_tables(folder, TABLES, OPTIONAL_TABLES, "MIMIC-III")


codes = partial(item_codes, "mimic3")
"""The rows that join a variable to the events, see `mimic.item_codes`."""
