"""Reading the sets of the PhysioNet 2012 challenge: records from their many files, outcomes from their table."""

import re
from collections.abc import Sequence
from pathlib import Path

import duckdb

from ehr_attack.errors import UserError
from ehr_attack.paths import SQL_DIR
from ehr_attack.sources.duck import quoted, read_sql
from ehr_attack.sources.physionet2012 import DESCRIPTORS, OUTCOME_TYPES
from ehr_attack.sources.record_files import Gathered, gather
from ehr_attack.staging import rows_file, stage_csv, stage_selection
from ehr_attack.storage import atomic_path
from ehr_attack.variables import Variable

_SQL = SQL_DIR / "physionet2012"
_COLUMNS = "{recordid: 'BIGINT', time: 'VARCHAR', parameter: 'VARCHAR', value: 'DOUBLE'}"


def stage(
    table: str,
    source_file: Path,
    out: Path,
    variables: Sequence[Variable],
    *,
    threads: int,
    memory_limit_gb: float = 2.0,
) -> int:
    """Write what is needed of `table` (`records_<x>` or `outcomes_<x>`) for `variables` to `out` as Parquet.

    source_file: the file or folder that `sources.physionet2012.find_tables` found. Returns the number of rows kept.
    Raises UserError, and writes nothing, when a file is damaged, has no rows, or holds a value of the wrong type.
    """
    kind, _, source_set = table.partition("_")
    if kind == "outcomes":
        return stage_csv(
            kind,
            source_file,
            out,
            types=OUTCOME_TYPES,
            sql_dir=_SQL,
            threads=threads,
            memory_limit_gb=memory_limit_gb,
            source_set=source_set,
        )
    return _stage_records(source_file, out, variables, threads, memory_limit_gb)


def _stage_records(
    records: Path, out: Path, variables: Sequence[Variable], threads: int, memory_limit_gb: float
) -> int:
    parameters = [*DESCRIPTORS, *(name for variable in variables for name in variable.physionet2012)]
    select = read_sql(_SQL, "records", parameters=", ".join(quoted(name) for name in dict.fromkeys(parameters)))
    with atomic_path(out) as staged:
        text = staged.parent / "records.csv"
        gathered = gather(records, text)
        scan = (
            f"read_csv({quoted(text)}, columns = {_COLUMNS}, header = false, auto_detect = false, delim = ',', "
            "quote = '', escape = '', nullstr = '')"
        )
        return stage_selection(
            "records",
            scan,
            select,
            staged,
            name=records.name,
            check=lambda: None,  # done while they were gathered
            explain=lambda error: _explain(error, records, gathered),
            threads=threads,
            memory_limit_gb=memory_limit_gb,
            out_rows=rows_file(out),
        )


def _explain(error: duckdb.Error, records: Path, gathered: Gathered) -> UserError:
    """What a DuckDB error on the gathered text means, without DuckDB's own text, which quotes records."""
    line = re.search(r"CSV Error on Line: (\d+)", str(error))
    record = re.search(r"in record (\d+)", str(error))
    place = gathered.place(int(line[1])) if line else gathered.file_of(record[1]) if record else records.name
    return UserError(
        f"{records.parent}: {place}: expected a time as hours:minutes, a parameter and a number, as in 00:07,HR,73. "
        "Restore the file, or unpack or download the set again."
    )
