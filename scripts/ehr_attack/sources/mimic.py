"""What the releases of MIMIC share: dictionaries of item ids, optional columns, and how variables join to events."""

from collections.abc import Mapping
from typing import Any

from ehr_attack.variables import Variable, items_of

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


def views(table: str) -> str:
    """The name under which the SQL texts know a staged table."""
    return table


def item_codes(kind: str, variable: Variable) -> list[dict[str, Any]]:
    """One row an item id of `variable`: what joins it to the events (`workflow/sql/mimic/placed.sql`)."""
    return [
        {"table_name": variable.table, "item_id": item.item_id, "fahrenheit": item.fahrenheit}
        for item in items_of(variable, kind)
    ]
