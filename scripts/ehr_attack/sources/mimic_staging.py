"""Reading the tables of MIMIC from CSV files, of either release."""

from collections.abc import Sequence
from pathlib import Path

from ehr_attack.sources import SOURCES, load_shape
from ehr_attack.staging import stage_csv
from ehr_attack.variables import Variable, item_list


def stage_mimic(
    kind: str,
    table: str,
    source_file: Path,
    out: Path,
    variables: Sequence[Variable],
    *,
    threads: int,
    memory_limit_gb: float = 2.0,
) -> int:
    """Write what is needed of `table` of a source of `kind` for `variables` to `out`; see `staging.stage_csv`."""
    shape = load_shape(kind)
    return stage_csv(
        table,
        source_file,
        out,
        types={**shape.TABLES, **shape.DICTIONARIES}[table],
        optional=shape.OPTIONAL_COLUMNS.get(table),
        sql_dir=SOURCES[kind].sql_dir,
        threads=threads,
        memory_limit_gb=memory_limit_gb,
        item_ids=item_list(variables, table, kind),
    )
