"""The shape of MIMIC-IV: its tables in the modules hosp and icu, the columns that are read and their types.

A column list is matched by name against each file's header, never by position. The types are DuckDB's and are
also those of PostgreSQL, so that both sources hand the same values to the SELECT texts in
`workflow/sql/mimic4`.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from ehr_attack.sources.mimic import DICTIONARIES, OPTIONAL_COLUMNS, OPTIONAL_TABLES, item_codes, views
from ehr_attack.sources.published import MIMIC4_MODULES
from ehr_attack.sources.table_files import find_csv_tables

__all__ = ["DICTIONARIES", "OPTIONAL_COLUMNS", "OPTIONAL_TABLES", "TABLES", "codes", "find_tables", "views"]

TABLES: Mapping[str, Mapping[str, str]] = {
    "admissions": {
        "subject_id": "BIGINT",
        "hadm_id": "BIGINT",
        "admittime": "TIMESTAMP",
        "dischtime": "TIMESTAMP",
        "deathtime": "TIMESTAMP",
        "hospital_expire_flag": "SMALLINT",
    },
    "patients": {
        "subject_id": "BIGINT",
        "gender": "VARCHAR",
        "anchor_age": "SMALLINT",
        "anchor_year": "SMALLINT",
    },
    "icustays": {
        "subject_id": "BIGINT",
        "hadm_id": "BIGINT",
        "stay_id": "BIGINT",
        "first_careunit": "VARCHAR",
        "intime": "TIMESTAMP",
        "outtime": "TIMESTAMP",
    },
    "chartevents": {
        "subject_id": "BIGINT",
        "stay_id": "BIGINT",
        "itemid": "BIGINT",
        "charttime": "TIMESTAMP",
        "valuenum": "DOUBLE",
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
    """The tables in the folders hosp and icu of `folder`, or all in `folder` itself; see `find_csv_tables`."""
    return find_csv_tables(folder, TABLES, OPTIONAL_TABLES, "MIMIC-IV", modules=MIMIC4_MODULES)


codes = partial(item_codes, "mimic4")
"""The rows that join a variable to the events, see `mimic.item_codes`."""
