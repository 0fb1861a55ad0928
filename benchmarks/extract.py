"""How fast is extraction, and in how much memory? The MIMIC-III demo, replicated, against its rivals.

    make bench-extract [COPIES=50]        or: python -m benchmarks.extract --copies 50

Measures the steps of `benchmarks.steps` at `SMALL` copies and at COPIES, requires equal rows of both readers and equal
features of the pandas loop, and writes benchmarks/results/extract.json and the table in benchmarks/README.md.
"""

import argparse
import gzip
import os
import tempfile
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.publishing import FOLDER, circumstances, judged, measured_on, publish, target_lines, versions_text
from benchmarks.replicate import replicate
from benchmarks.steps import EVENT_TABLES, JOB_MB, STEPS, THREADS, Numbers, measured
from ehr_attack.errors import UserError
from ehr_attack.sources.duck import quoted
from ehr_attack.sources.mimic3 import find_tables
from ehr_attack.variables import item_ids, load_variables

SMALL = 5


def main() -> None:
    """Run the benchmark and write its results."""
    arguments = _arguments()
    try:
        result = benchmark(arguments.demo, arguments.data, arguments.copies)
    except UserError as error:
        raise SystemExit(f"{error} (--demo names the folder of the MIMIC-III demo.)") from None
    publish("extract", result, report(result), arguments.out)


def benchmark(demo: Path, data: Path, copies: int) -> dict[str, Any]:
    """Measure everything at `SMALL` copies and at `copies` of the tables in `demo`; the copies are kept in `data`."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(dir=data) as scratch:
        small = _runs(demo, data, SMALL, Path(scratch) / "small")
        print(f"pandas loop, x{SMALL}", flush=True)
        loop = measured("loop", data / f"x{SMALL}", Path(scratch) / "small" / "extraction")
        large = _runs(demo, data, copies, Path(scratch) / "large")
        damaged = _readers_of_a_short_row(demo, Path(scratch) / "damaged")
    events, ours = large["rows_chartevents"], large["extraction"]
    ratio = (ours["seconds"] / events) / (small["extraction"]["seconds"] / small["rows_chartevents"])
    result = {
        "copies": copies,
        "chart_events": events,
        "seconds_duckdb": ours["seconds"],
        "seconds_duckdb_reader": large["duckdb_reader"]["seconds"],
        "seconds_polars": large["extraction_polars"]["seconds"],
        "seconds_polars_reader": large["polars_reader"]["seconds"],
        "seconds_zlib": large["decompress"]["seconds"],
        "events_per_second": events / ours["seconds"],
        "peak_mb": ours["peak_mb"],
        "features_speedup": loop["seconds_loop"] / loop["seconds_fast"],
        "cost_per_event_ratio": ratio,
        "memory_mb": JOB_MB,
        "short_row": damaged,
        "threads": THREADS,
        **measured_on(load, ("duckdb", "polars", "pandas")),
        "loop": loop,
        "runs": {f"x{SMALL}": small, f"x{copies}": large},
    }
    return result | {"targets": targets(result)}


def _runs(demo: Path, data: Path, copies: int, scratch: Path) -> Numbers:
    """The steps on so many copies of the demo; requires the same rows of both readers and of staging."""
    source, tables = replicate(demo, data / f"x{copies}", copies), find_tables(demo)
    runs: Numbers = {f"rows_{table}": copies * _rows_of_csv(tables[table]) for table in EVENT_TABLES}
    for step in ("decompress", "extraction", "extraction_polars", "duckdb_reader", "polars_reader"):
        print(f"{step}, {source.name}", flush=True)
        runs[step] = measured(step, source, scratch / step)
    _require_equal_files(scratch / "extraction", scratch / "extraction_polars")
    for table in EVENT_TABLES:
        readers = ("extraction", "duckdb_reader", "polars_reader")
        rows = {step: _sums(scratch / step / f"{table}.parquet") for step in readers}
        if not _agree(list(rows.values())):
            raise SystemExit(f"{table}: the readers kept different rows: {rows}")
        runs[f"rows_kept_{table}"] = int(rows["extraction"][0])
    return runs


def _readers_of_a_short_row(demo: Path, scratch: Path) -> dict[str, str]:
    """What each reader makes of a heart rate whose line is cut short in the middle of CHARTEVENTS."""
    source = scratch / "source"
    source.mkdir(parents=True)
    tables = find_tables(demo)
    for table in set(tables) - {"chartevents"}:
        (source / tables[table].name).symlink_to(tables[table].resolve())
    wanted = set(map(str, item_ids(load_variables(), "chartevents")))
    header, *lines = gzip.decompress(tables["chartevents"].read_bytes()).decode().splitlines()
    item = [name.strip('"') for name in header.lower().split(",")].index("itemid")
    cut = next(
        number for number, line in enumerate(lines) if number > len(lines) // 2 and line.split(",")[item] in wanted
    )
    lines[cut] = ",".join(lines[cut].split(",")[: item + 2])
    (source / tables["chartevents"].name).write_bytes(gzip.compress("\n".join([header, *lines, ""]).encode()))
    made = {}
    for step in ("duckdb_reader", "polars_reader"):
        out = scratch / step
        out.mkdir()
        try:
            STEPS[step](source, out)
        except Exception as error:  # each reader has exceptions of its own
            made[step] = f"refused ({type(error).__name__})"
        else:
            made[step] = "read on, the value lost without a word"
    return made


def _rows_of_csv(file: Path) -> int:
    """The rows below the header of a compressed table without line breaks in its values, as `replicate` demands."""
    with gzip.open(file) as lines:
        return sum(1 for _ in lines) - 1


def _require_equal_files(one: Path, other: Path) -> None:
    """Stop unless both folders hold the same Parquet files."""
    for file in sorted(one.glob("*.parquet")):
        if file.read_bytes() != (other / file.name).read_bytes():
            raise SystemExit(f"{file.name}: the two extractions wrote different files")


def _sums(file: Path) -> tuple[float, ...]:
    """The number of rows of a staged event table and the sums of its columns."""
    named = "count(stay_id), sum(stay_id)" if file.stem == "chartevents" else "0, 0"
    query = (
        f"SELECT count(*), sum(subject_id), sum(item_id), sum(epoch_us(event_time)), sum(value), {named} "
        f"FROM read_parquet({quoted(file)})"
    )
    with duckdb.connect() as connection:
        (row,) = connection.execute(query).fetchall()
    return tuple(float(number or 0) for number in row)


def _agree(rows: list[tuple[float, ...]]) -> bool:
    """Whether all rows of numbers are equal, up to the rounding of sums of doubles in another order."""
    return all(
        abs(number - other) <= 1e-9 * abs(number)
        for row in rows[1:]
        for number, other in zip(rows[0], row, strict=True)
    )


def targets(result: dict[str, Any]) -> list[dict[str, Any]]:
    """The targets of the tracker's issue on extraction: what was asked, what was measured, and whether it is met."""
    floors = result["seconds_duckdb"] / result["seconds_zlib"]
    rate = result["events_per_second"] / 1e6
    asked = [
        (
            "whole extraction within 8 x zlib, or over 2.5 million chart events a second",
            f"{floors:.1f} x zlib, {rate:.2f} million a second",
            floors <= 8 or rate > 2.5,
        ),
        ("peak memory under 600 MB", f"{result['peak_mb']:.0f} MB", result["peak_mb"] < 600),
        (
            "hourly features at least 50 times faster than the pandas loop on the same stays",
            f"{result['features_speedup']:.0f} times",
            result["features_speedup"] >= 50,
        ),
        (
            f"cost linear from x{SMALL} to x{result['copies']} (a chart event costs at most 1.25 times as much)",
            f"{result['cost_per_event_ratio']:.2f} times",
            result["cost_per_event_ratio"] <= 1.25,
        ),
    ]
    return judged(asked)


def report(result: dict[str, Any]) -> list[str]:
    """The results as lines of Markdown."""
    small, large = result["runs"][f"x{SMALL}"], result["runs"][f"x{result['copies']}"]
    loop = result["loop"]
    steps = {
        "decompress": "zlib, decompress only, one thread (the floor)",
        "extraction": "**whole extraction (DuckDB): stage, cohort, hourly features**",
        "extraction_polars": "the same, polars as reader of the event tables",
        "duckdb_reader": "event tables to Parquet, DuckDB alone",
        "polars_reader": "event tables to Parquet, polars alone",
    }
    lines = [
        f"{circumstances(result)}; {result['threads']} threads, source.memory_mb {result['memory_mb']}; "
        f"{versions_text(result)}.",
        "",
        f"| step | x{SMALL}, s (CPU) | x{result['copies']}, s (CPU) "
        f"| x{SMALL}, peak MB | x{result['copies']}, peak MB |",
        "| --- | --- | --- | --- | --- |",
    ]
    for step, label in steps.items():
        a, b = small[step], large[step]
        times = " | ".join(f"{run['seconds']:.1f} ({run['cpu_seconds']:.1f})" for run in (a, b))
        lines.append(f"| {label} | {times} | {a['peak_mb']:.0f} | {b['peak_mb']:.0f} |")
    parts = ", ".join(f"{name} {seconds:.1f}" for name, seconds in large["extraction"]["parts"].items())
    lines += [
        "",
        f"x{result['copies']}: {large['rows_chartevents']:,} chart events, {large['rows_labevents']:,} laboratory "
        f"events, {large['rows_kept_chartevents']:,} and {large['rows_kept_labevents']:,} kept, the same rows by every "
        f"reader. Seconds of the parts: {parts}.",
        "",
        f"Hourly features of {loop['stays']} stays (x{SMALL}): pandas loop {loop['seconds_loop']:.1f} s "
        f"({1000 * loop['seconds_loop'] / loop['stays']:.1f} ms a stay; before it {loop['seconds_read']:.1f} s to read "
        f"and {loop['seconds_merge']:.1f} s to merge), ours {loop['seconds_fast']:.2f} s; "
        f"{loop['cells_compared']:,} recorded cells equal.",
        "",
        f"A line of CHARTEVENTS cut short: DuckDB {result['short_row']['duckdb_reader']}, polars "
        f"{result['short_row']['polars_reader']}.",
        "",
        *target_lines(result),
    ]
    return lines


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    shared = Path(os.environ.get("EHR_ATTACK_SHARED", FOLDER.parents[1] / "shared"))
    parser.add_argument("--demo", type=Path, default=shared / "data" / "mimiciii-demo-1.4", help="folder of the demo")
    parser.add_argument("--data", type=Path, default=FOLDER / "data", help="where the copies are kept")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of README.md and results/")
    parser.add_argument("--copies", type=int, default=50, help=f"how many copies of the demo, above {SMALL}")
    arguments = parser.parse_args()
    if arguments.copies <= SMALL:
        parser.error(f"--copies: expected more than {SMALL}, to compare with {SMALL} copies")
    arguments.data.mkdir(parents=True, exist_ok=True)
    return arguments


if __name__ == "__main__":
    main()
