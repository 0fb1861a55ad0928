"""The steps that are measured, each in a process of its own: `measured` runs one and returns its numbers.

A step takes a folder of MIMIC-III tables and a folder to write to, and returns a dict of numbers; two are added:
`peak_mb`, the most memory that the process held, with Python and all libraries, and `cpu_seconds` of all its threads,
which other work on the machine disturbs less than `seconds`.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ehr_attack.paths import SQL_DIR
from ehr_attack.sources import mimic3
from ehr_attack.sources.duck import memory_limit_gb
from ehr_attack.variables import Variable, item_ids, load_variables

EVENT_TABLES = ("chartevents", "labevents")
WINDOW_HOURS = 48
THREADS = 2
"""As rule `stage` has."""

JOB_MB = 600
"""The default of `source.memory_mb`. Beyond what is left of it for DuckDB, sorts go to the disk."""

MEMORY_LIMIT_GB = memory_limit_gb(JOB_MB)

COHORT = {
    "min_age_years": 18,
    "min_icu_hours": 48,
    "min_hospital_hours": 24,
    "require_full_window": True,
    "first_stay_only": False,
}
"""The defaults of config.yaml."""

_LAB = {"subject_id": "subject_id", "itemid": "item_id", "charttime": "event_time", "valuenum": "value"}
_KEPT = {"chartevents": _LAB | {"icustay_id": "stay_id"}, "labevents": _LAB}
"""What both readers keep of an event table, and the names that staging gives it."""

Numbers = dict[str, Any]


def decompress(source: Path, _: Path) -> Numbers:
    """Decompress every table with zlib in one thread and drop the text: the floor for any reader of the .gz files."""
    start, size = time.perf_counter(), 0
    files = mimic3.find_tables(source)
    for table in mimic3.TABLES:
        decompressor = zlib.decompressobj(wbits=31)
        with files[table].open("rb") as stream:
            while block := stream.read(1 << 18):
                size += len(decompressor.decompress(block))
    return {"seconds": time.perf_counter() - start, "text_mb": size / 1e6}


def extraction(source: Path, out: Path) -> Numbers:
    """What the workflow does, with DuckDB: every table staged, the cohort and its measurements, hourly features."""
    from ehr_attack.sources.mimic3_staging import stage

    return _extraction(source, out, dict.fromkeys(mimic3.TABLES, stage))


def extraction_polars(source: Path, out: Path) -> Numbers:
    """The same with polars as the reader of the event tables; all that is written must have the same bytes."""
    from ehr_attack.sources.mimic3_staging import stage

    readers = {table: _stage_with_polars if table in EVENT_TABLES else stage for table in mimic3.TABLES}
    return _extraction(source, out, readers)


def _extraction(source: Path, out: Path, readers: dict[str, Callable[..., int]]) -> Numbers:
    from ehr_attack.extraction import extract

    variables, threads = load_variables(), THREADS
    tables = {table: out / f"{table}.parquet" for table in mimic3.TABLES}
    files = mimic3.find_tables(source)
    clock = _Clock()
    for table, file in tables.items():
        readers[table](table, files[table], file, variables, threads=threads, memory_limit_gb=MEMORY_LIMIT_GB)
        clock.lap(f"stage_{table}")
    extracts = {name: out / f"{name}.parquet" for name in ("stays", "measurements")}
    extract(
        kind="mimic3",
        tables=tables,
        variables=variables,
        cohort=COHORT,
        window_hours=WINDOW_HOURS,
        carry_in_hours=0.0,
        source={"kind": "mimic3"},
        out_stays=extracts["stays"],
        out_measurements=extracts["measurements"],
        out_flow=out / "cohort_flow.json",
        threads=threads,
        memory_limit_gb=MEMORY_LIMIT_GB,
    )
    clock.lap("extract")
    _build_features(out, out / "features.parquet")
    clock.lap("features")
    return {"seconds": sum(clock.seconds.values()), "parts": clock.seconds, "peak_mb_after": clock.peaks}


def _stage_with_polars(
    table: str, file: Path, out: Path, variables: Sequence[Variable], *, threads: int, memory_limit_gb: float
) -> int:
    """Stage an event table as if polars were the reader: filter, check the gzip meanwhile, cast and sort in DuckDB."""
    from ehr_attack.sources.csv_file import check_gzip
    from ehr_attack.sources.duck import quoted, read_sql, session
    from ehr_attack.staging import checked_besides, write_sorted
    from ehr_attack.storage import atomic_path

    types = {**mimic3.TABLES[table], **mimic3.OPTIONAL_COLUMNS[table]}
    ids = item_ids(variables, table)
    select = read_sql(SQL_DIR / "mimic3", table, item_ids=", ".join(map(str, ids)), valueuom="valueuom")
    with (
        atomic_path(out) as temporary,
        checked_besides(lambda: check_gzip(file)),
        session(scratch=temporary.parent, threads=threads, memory_limit_gb=memory_limit_gb) as connection,
    ):
        kept = temporary.with_suffix(".unsorted")
        _filter_with_polars(table, file, list(types), ids, kept)
        columns = ", ".join(f"CAST(nullif({name}, '') AS {kind}) AS {name}" for name, kind in types.items())
        connection.execute(f"CREATE VIEW {table} AS SELECT {columns} FROM read_parquet({quoted(kept)})")
        return write_sorted(connection, select, temporary)


def _filter_with_polars(table: str, file: Path, columns: list[str], ids: Sequence[int], out: Path) -> None:
    """Write the rows of wanted items, all columns as text, as DuckDB types and checks them afterwards."""
    import polars as pl

    (
        pl.scan_csv(
            file,
            with_column_names=lambda names: [name.lower() for name in names],
            infer_schema=False,
            low_memory=True,
        )
        .filter(pl.col("itemid").is_in([str(item) for item in ids]))
        .select(columns)
        .sink_parquet(out, compression="lz4")
    )


def duckdb_reader(source: Path, out: Path) -> Numbers:
    """The wanted rows of the two event tables, read by DuckDB to Parquet; unsorted, and no check of the gzip."""
    from ehr_attack.sources.csv_file import read_header, scan
    from ehr_attack.sources.duck import copy_to_parquet, session

    files, variables = mimic3.find_tables(source), load_variables()
    start = time.perf_counter()
    for table in EVENT_TABLES:
        table_scan = scan(files[table], read_header(files[table]).columns, mimic3.TABLES[table])
        columns = ", ".join(f"{name} AS {alias}" for name, alias in _KEPT[table].items())
        ids = ", ".join(map(str, item_ids(variables, table)))
        select = (
            f"SELECT {columns} FROM {table_scan} WHERE itemid IN ({ids}) AND valuenum IS NOT NULL "
            f"AND charttime IS NOT NULL {'AND coalesce(error, 0) = 0' if table == 'chartevents' else ''}"
        )
        with session(scratch=out, threads=THREADS, memory_limit_gb=MEMORY_LIMIT_GB) as connection:
            connection.execute(copy_to_parquet(select, out / f"{table}.parquet"))
    return {"seconds": time.perf_counter() - start}


def polars_reader(source: Path, out: Path) -> Numbers:
    """The wanted rows of the two event tables, read by polars to Parquet; unsorted, and no check of the gzip."""
    import polars as pl

    files, variables = mimic3.find_tables(source), load_variables()
    types = {"BIGINT": pl.Int64, "SMALLINT": pl.Int16, "DOUBLE": pl.Float64, "TIMESTAMP": pl.String}
    start = time.perf_counter()
    for table in EVENT_TABLES:
        wanted = pl.col("itemid").is_in(item_ids(variables, table)) & pl.col("valuenum").is_not_null()
        if table == "chartevents":
            wanted &= pl.col("error").fill_null(0) == 0
        (
            pl.scan_csv(
                files[table],
                with_column_names=lambda names: [name.lower() for name in names],
                schema_overrides={name: types[kind] for name, kind in mimic3.TABLES[table].items()},
                infer_schema=False,
                low_memory=True,
            )
            .filter(wanted & pl.col("charttime").is_not_null())
            .with_columns(pl.col("charttime").str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us"))
            .select(pl.col(name).alias(alias) for name, alias in _KEPT[table].items())
            .sink_parquet(out / f"{table}.parquet", compression="zstd")
        )
    return {"seconds": time.perf_counter() - start}


def loop(source: Path, out: Path) -> Numbers:
    """The features of the extracted stays in `out` by the pandas loop, and again by the fast route, compared."""
    import numpy as np
    import pandas as pd

    from benchmarks.slow_reference import hourly_means, merge_stays, read_events
    from ehr_attack.feature_tensor import load_tensor

    variables, stays = load_variables(), pd.read_parquet(out / "stays.parquet")
    names = [variable.name for variable in variables]
    clock = _Clock()
    events = read_events(source, variables)
    clock.lap("read")
    merged = merge_stays(events, stays, variables)
    clock.lap("merge")
    slow = hourly_means(merged, stays, names, WINDOW_HOURS)
    clock.lap("loop")
    for repeat in range(5):
        _build_features(out, out / "features_again.parquet")
        clock.lap(f"fast_{repeat}")
    fast = load_tensor(out / "features_again.parquet", names, WINDOW_HOURS)
    np.testing.assert_array_equal(fast.stay_ids, stays["stay_id"])
    np.testing.assert_allclose(fast.values, slow, rtol=1e-6)
    return {
        "stays": len(stays),
        "cells_compared": int(np.isfinite(slow).sum()),
        "seconds_read": clock.seconds["read"],
        "seconds_merge": clock.seconds["merge"],
        "seconds_loop": clock.seconds["loop"],
        "seconds_fast": statistics.median(clock.seconds[f"fast_{repeat}"] for repeat in range(5)),
    }


def _build_features(extracts: Path, out: Path) -> None:
    from ehr_attack.features import build_features

    build_features(
        stays=extracts / "stays.parquet",
        measurements=extracts / "measurements.parquet",
        variable_names=[variable.name for variable in load_variables()],
        carry_in_hours=0.0,
        window_hours=WINDOW_HOURS,
        out=out,
        memory_limit_gb=MEMORY_LIMIT_GB,
    )


STEPS: dict[str, Callable[[Path, Path], Numbers]] = {
    "decompress": decompress,
    "extraction": extraction,
    "extraction_polars": extraction_polars,
    "duckdb_reader": duckdb_reader,
    "polars_reader": polars_reader,
    "loop": loop,
}


def measured(step: str, source: Path, out: Path) -> Numbers:
    """Run a step in a process of its own. Raises subprocess.CalledProcessError when it fails."""
    out.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"POLARS_MAX_THREADS": str(THREADS)}
    command = [sys.executable, "-m", "benchmarks.steps", step, str(source), str(out)]
    output = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True).stdout
    numbers: Numbers = json.loads(output.splitlines()[-1])
    return numbers


def peak_mb() -> float:
    """The most memory that this process has held since it began, in MB (10^6 bytes); Linux only."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    kibibytes = re.search(r"VmHWM:\s*(\d+) kB", status)
    assert kibibytes is not None, "Linux tells every process its VmHWM"
    return int(kibibytes[1]) * 1024 / 1e6


class _Clock:
    """Seconds of consecutive parts, and the peak of memory after each."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.peaks: dict[str, float] = {}
        self._start = time.perf_counter()

    def lap(self, name: str) -> None:
        """End a part."""
        now = time.perf_counter()
        self.seconds[name], self._start = now - self._start, now
        self.peaks[name] = peak_mb()


if __name__ == "__main__":
    result = STEPS[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
    print(json.dumps(result | {"peak_mb": peak_mb(), "cpu_seconds": time.process_time()}))
