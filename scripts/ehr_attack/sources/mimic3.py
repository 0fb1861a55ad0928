"""The shape of MIMIC-III: its tables, the columns that are read and their types.

A column list is matched by name against each file's header, never by position. The types are DuckDB's and are
also those of PostgreSQL, so that both sources hand the same values to the SELECT texts in
`workflow/sql/mimic3`.
"""

from collections.abc import Mapping

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

OPTIONAL_TABLES = ("d_items", "d_labitems")
"""Dictionaries of item ids: used where present, not needed for the extracts."""

ITEM_COLUMNS = ("mimic3_carevue", "mimic3_metavision")
"""The columns of the table of variables that hold MIMIC-III's item ids."""
