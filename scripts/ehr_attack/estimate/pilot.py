"""A pilot: the first stages, from the source to the features, run on a sample and scaled to the whole."""

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ehr_attack.estimate.samples import Sample, draw_sample
from ehr_attack.extraction import extract
from ehr_attack.features import build_features
from ehr_attack.sources import SOURCES, load_shape, load_staging, table_kind
from ehr_attack.storage import read_frame, read_json
from ehr_attack.variables import Variable, load_variables

_BEFORE_MEASUREMENTS = -2
"""The step of the cohort flow that does not ask whether a stay has measurements, which a sample need not hold."""


@dataclass(frozen=True)
class Measured:
    """A stage, scaled to the whole source: rows written, seconds of all its jobs, bytes on disk.

    longest: seconds of the longest job, 0 where there is one; sorted_rows: the most that a job sorts.
    """

    rows: float
    seconds: float
    bytes: float
    jobs: int = 1
    longest: float = 0.0
    sorted_rows: float = 0.0


@dataclass(frozen=True)
class Pilot:
    """What the first stages will do. stays, deaths: of the cohort; sample: in words; exact: nothing was scaled."""

    source_stays: float
    stays: float
    deaths: float
    variables: int
    sample: str
    exact: bool
    synthetic: Measured | None
    stage: Measured
    extract: Measured
    features: Measured


def run_pilot(config: Mapping[str, Any], tables: Mapping[str, Path]) -> Pilot:
    """Run the first stages of the checked `config` on a sample.

    tables: what `sources.find_tables` found, empty for synthetic records. What is written holds records: it lies in a
    private temporary folder and is removed. Raises UserError as the stages themselves do.
    """
    with tempfile.TemporaryDirectory(prefix="ehr-attack-estimate-") as folder:
        sample = draw_sample(config, tables, Path(folder) / "source")
        return _measure(config, sample, Path(folder))


def _measure(config: Mapping[str, Any], sample: Sample, folder: Path) -> Pilot:
    variables = load_variables(config["source"]["profile"], table_kind(config))
    stage, staged, fixed = _stage(config, sample, variables, folder)
    seconds, stays_file, measurements_file = _extract(config, staged, variables, folder)
    rows = _measurement_rows(measurements_file, variables, sample)
    sampled_rows = pq.read_metadata(measurements_file).num_rows
    growth = rows / sampled_rows
    flow = read_json(folder / "flow.json")["steps"]
    last = flow[-1 if sample.whole_stays else _BEFORE_MEASUREMENTS]
    stays, sampled_stays = last["stays"] * sample.stays_factor, flow[-1]["stays"]
    features_file = folder / "features.parquet"

    start = time.perf_counter()
    build_features(
        stays=stays_file,
        measurements=measurements_file,
        variable_names=[variable.name for variable in variables],
        window_hours=config["features"]["window_hours"],
        carry_in_hours=config["features"]["carry_in_hours"],
        out=features_file,
    )
    features_seconds = time.perf_counter() - start
    return Pilot(
        source_stays=flow[0]["stays"] * sample.stays_factor,
        stays=stays,
        deaths=last["deaths"] * sample.stays_factor,
        variables=len(variables),
        sample=sample.words,
        exact=sample.exact,
        synthetic=_generated(sample),
        stage=stage,
        extract=Measured(
            rows=rows,
            seconds=scaled_seconds(seconds, fixed, growth),
            bytes=measurements_file.stat().st_size * growth + stays_file.stat().st_size * stays / sampled_stays,
            sorted_rows=rows,
        ),
        features=Measured(
            rows=pq.read_metadata(features_file).num_rows * stays / sampled_stays,
            seconds=scaled_seconds(features_seconds, fixed, growth),
            # What the file holds beside the values, mostly NaN, compresses to nearly nothing.
            bytes=features_file.stat().st_size * growth,
        ),
    )


def scaled_seconds(seconds: float, fixed: float, factor: float) -> float:
    """The time for `factor` times as much, of which `fixed` seconds do not grow."""
    fixed = min(seconds, fixed)
    return fixed + (seconds - fixed) * factor


def _generated(sample: Sample) -> Measured | None:
    if sample.generate_seconds is None:
        return None
    factor = sample.stays_factor
    size = sum(path.stat().st_size for path in sample.tables.values())
    return Measured(rows=sample.stays * factor, seconds=sample.generate_seconds * factor, bytes=size * factor)


def _stage(
    config: Mapping[str, Any], sample: Sample, variables: Sequence[Variable], folder: Path
) -> tuple[Measured, dict[str, list[Path]], float]:
    """Stage every sampled table; also the staged files by view, and the seconds that any such job takes at least."""
    kind = table_kind(config)
    seconds, rows, sizes = {}, {}, {}
    staged: dict[str, list[Path]] = {}
    for table, file in sample.tables.items():
        out = folder / f"{table}.parquet"
        start = time.perf_counter()
        rows[table] = load_staging(kind).stage(table, file, out, variables, threads=sample.threads)
        seconds[table], sizes[table] = time.perf_counter() - start, out.stat().st_size
        staged.setdefault(load_shape(kind).views(table), []).append(out)
    fixed = min(seconds.values())
    factors = {table: sample.factors.get(table, 1.0) for table in rows}
    scaled = {table: scaled_seconds(seconds[table], fixed, factors[table]) for table in rows}
    measured = Measured(
        rows=sum(rows[table] * factors[table] for table in rows),
        seconds=sum(scaled.values()),
        bytes=sum(sizes[table] * factors[table] for table in rows),
        jobs=sample.stage_jobs,
        longest=max(scaled.values()),
        sorted_rows=max(rows[table] * factors[table] for table in rows),
    )
    return measured, staged, fixed


def _extract(
    config: Mapping[str, Any], staged: Mapping[str, list[Path]], variables: Sequence[Variable], folder: Path
) -> tuple[float, Path, Path]:
    kind = table_kind(config)
    stays, measurements = folder / "stays.parquet", folder / "measurements.parquet"
    start = time.perf_counter()
    extract(
        tables=staged,
        variables=variables,
        cohort=config["cohort"],
        window_hours=config["features"]["window_hours"],
        carry_in_hours=config["features"]["carry_in_hours"],
        source=kind,
        source_info={},
        sql_dir=SOURCES[kind].sql_dir,
        codes=load_shape(kind).codes,
        out_stays=stays,
        out_measurements=measurements,
        out_flow=folder / "flow.json",
        threads=1,
    )
    return time.perf_counter() - start, stays, measurements


def _measurement_rows(file: Path, variables: Sequence[Variable], sample: Sample) -> float:
    """Measurements of the whole source: those of the sample, each times the factor of the table it came from."""
    counts = read_frame(file, ["variable"])["variable"].value_counts()
    tables = {variable.name: variable.table for variable in variables}
    common = max(sample.factors.values(), default=1.0)
    return float(sum(count * sample.factors.get(tables[str(name)], common) for name, count in counts.items()))
