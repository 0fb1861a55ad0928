"""Reading the tables of MIMIC-IV from CSV files."""

from collections.abc import Sequence
from pathlib import Path

from ehr_attack.paths import SQL_DIR
from ehr_attack.sources.mimic4 import DICTIONARIES, OPTIONAL_COLUMNS, TABLES
from ehr_attack.staging import stage_csv
from ehr_attack.variables import Variable, item_ids

_SQL = SQL_DIR / "mimic4"


def stage(
    table: str,
    source_file: Path,
    out: Path,
    variables: Sequence[Variable],
    *,
    threads: int,
    memory_limit_gb: float = 2.0,
) -> int:
    """Write what is needed of `table` for `variables` to `out`; see `staging.stage_csv`."""
    return stage_csv(
        table,
        source_file,
        out,
        types={**TABLES, **DICTIONARIES}[table],
        optional=OPTIONAL_COLUMNS.get(table),
        sql_dir=_SQL,
        threads=threads,
        memory_limit_gb=memory_limit_gb,
        item_ids=_item_list(variables, table),
    )


def _item_list(variables: Sequence[Variable], table: str) -> str:
    # IN (NULL) is the list that matches nothing: a profile may do without one of the event tables.
    return ", ".join(map(str, item_ids(variables, table, "mimic4"))) or "NULL"
