"""A pilot: the first stages, from the source to the features, run on a sample and scaled to the whole."""

import dataclasses
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pyarrow.parquet as pq

from ehr_attack.audit import audit
from ehr_attack.estimate.samples import DICTIONARIES, Sample, draw_sample
from ehr_attack.extraction import extract
from ehr_attack.features import build_features
from ehr_attack.integrity import check_integrity
from ehr_attack.sources import load_shape, load_staging, table_kind
from ehr_attack.sources.duck import memory_limit_gb
from ehr_attack.staging import rows_file
from ehr_attack.storage import read_frame, read_json
from ehr_attack.variables import Variable, load_variables

_BEFORE_MEASUREMENTS = -2
"""The step of the cohort flow that does not ask whether a stay has measurements, which a sample need not hold."""


@dataclass(frozen=True)
class Measured:
    """A stage, scaled to the whole source: rows written, seconds of all its jobs, bytes on disk.

    longest: seconds of the longest job, 0 where there is one; sorted_rows: the most that a job sorts or groups.
    """

    rows: float
    seconds: float
    bytes: float
    jobs: int = 1
    longest: float = 0.0
    sorted_rows: float = 0.0

    def times(self, growth: float) -> Self:
        """The same stage on so many times as much."""
        grown = ("rows", "seconds", "bytes", "longest", "sorted_rows")
        return dataclasses.replace(self, **{name: growth * getattr(self, name) for name in grown})


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
    audit: Measured
    extract: Measured
    features: Measured


@dataclass(frozen=True)
class _Staged:
    """The staged sample: files by table and by view; rows: of all tables; fixed: seconds that any such job takes."""

    files: Mapping[str, Path]
    views: Mapping[str, list[Path]]
    rows: int
    fixed: float


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
    stage, staged = _stage(config, sample, variables, folder)
    audited = _audit(config, staged, variables, folder)
    seconds, stays_file, measurements_file = _extract(config, staged.views, variables, folder)
    rows = _measurement_rows(measurements_file, variables, sample)
    sampled_rows = pq.read_metadata(measurements_file).num_rows
    growth = rows / sampled_rows
    flow = read_json(folder / "flow.json")["steps"]
    last = flow[-1 if sample.whole_stays else _BEFORE_MEASUREMENTS]
    stays, sampled_stays = last["stays"] * sample.stays_factor, flow[-1]["stays"]
    features_seconds, features_file = _features(config, stays_file, measurements_file, variables)
    return Pilot(
        source_stays=flow[0]["stays"] * sample.stays_factor,
        stays=stays,
        deaths=last["deaths"] * sample.stays_factor,
        variables=len(variables),
        sample=sample.words,
        exact=sample.exact,
        synthetic=_generated(sample),
        stage=stage,
        audit=Measured(
            rows=audited.rows,
            seconds=scaled_seconds(audited.seconds, staged.fixed, stage.rows / staged.rows),
            bytes=audited.bytes,
            sorted_rows=stage.rows,
        ),
        extract=Measured(
            rows=rows,
            seconds=scaled_seconds(seconds, staged.fixed, growth),
            bytes=measurements_file.stat().st_size * growth + stays_file.stat().st_size * stays / sampled_stays,
            sorted_rows=rows,
        ),
        features=Measured(
            rows=pq.read_metadata(features_file).num_rows * stays / sampled_stays,
            seconds=scaled_seconds(features_seconds, staged.fixed, growth),
            # What the file holds beside the values, mostly NaN, compresses to nearly nothing.
            bytes=features_file.stat().st_size * growth,
            sorted_rows=rows,
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
    size = sum(path.stat().st_size * sample.factors.get(table, 1.0) for table, path in sample.tables.items())
    return Measured(rows=sample.stays * factor, seconds=sample.generate_seconds * factor, bytes=size)


def _stage(
    config: Mapping[str, Any], sample: Sample, variables: Sequence[Variable], folder: Path
) -> tuple[Measured, _Staged]:
    """Stage every sampled table."""
    kind = table_kind(config)
    files = {table: folder / f"{table}.parquet" for table in sample.tables}
    seconds, rows, scaled, size = {}, {}, {}, 0.0
    for table, file in sample.tables.items():
        start = time.perf_counter()
        rows[table] = load_staging(kind).stage(
            table, file, files[table], variables, threads=1, memory_limit_gb=_memory_limit_gb(config)
        )
        seconds[table] = time.perf_counter() - start
    fixed = min(seconds.values())
    for table, file in files.items():
        factor = sample.factors.get(table, 1.0)
        scaled[table] = scaled_seconds(seconds[table], fixed, factor)
        size += file.stat().st_size * factor + rows_file(file).stat().st_size
    views: dict[str, list[Path]] = {}
    for table in (name for name in files if name not in DICTIONARIES):
        views.setdefault(load_shape(kind).views(table), []).append(files[table])
    scaled_rows = {table: count * sample.factors.get(table, 1.0) for table, count in rows.items()}
    measured = Measured(
        rows=sum(scaled_rows.values()),
        seconds=sum(scaled.values()),
        bytes=size,
        jobs=sample.stage_jobs,
        longest=max(scaled.values()),
        sorted_rows=max(scaled_rows.values()),
    )
    return measured, _Staged(files, views, sum(rows.values()), fixed)


def _audit(config: Mapping[str, Any], staged: _Staged, variables: Sequence[Variable], folder: Path) -> Measured:
    """Audit the sample. Its rows are the codes that are asked for, however many values they have in the source."""
    kind = table_kind(config)
    codes, integrity = folder / "items.parquet", folder / "integrity.parquet"
    start = time.perf_counter()
    check_integrity(
        kind=kind,
        version=config["source"]["version"],
        full_release=False,  # a sample has not the rows of the whole
        tables=staged.views,
        rows_files={table: rows_file(file) for table, file in staged.files.items()},
        out=integrity,
        threads=1,
        memory_limit_gb=_memory_limit_gb(config),
    )
    audit(
        kind=kind,
        tables=staged.views,
        dictionaries={table: file for table, file in staged.files.items() if table in DICTIONARIES},
        variables=variables,
        acknowledged=config["source"]["acknowledged"],
        out=codes,
        threads=1,
        memory_limit_gb=_memory_limit_gb(config),
    )
    return Measured(
        rows=sum(pq.read_metadata(file).num_rows for file in (codes, integrity)),
        seconds=time.perf_counter() - start,
        bytes=sum(file.stat().st_size for file in (codes, integrity)),
    )


def _extract(
    config: Mapping[str, Any], staged: Mapping[str, list[Path]], variables: Sequence[Variable], folder: Path
) -> tuple[float, Path, Path]:
    kind = table_kind(config)
    stays, measurements = folder / "stays.parquet", folder / "measurements.parquet"
    start = time.perf_counter()
    extract(
        kind=kind,
        tables=staged,
        variables=variables,
        cohort=config["cohort"],
        window_hours=config["features"]["window_hours"],
        carry_in_hours=config["features"]["carry_in_hours"],
        source={"kind": kind},
        out_stays=stays,
        out_measurements=measurements,
        out_flow=folder / "flow.json",
        threads=1,
        memory_limit_gb=_memory_limit_gb(config),
    )
    return time.perf_counter() - start, stays, measurements


def _features(
    config: Mapping[str, Any], stays: Path, measurements: Path, variables: Sequence[Variable]
) -> tuple[float, Path]:
    out = stays.with_name("features.parquet")
    start = time.perf_counter()
    build_features(
        stays=stays,
        measurements=measurements,
        variable_names=[variable.name for variable in variables],
        window_hours=config["features"]["window_hours"],
        carry_in_hours=config["features"]["carry_in_hours"],
        out=out,
        memory_limit_gb=_memory_limit_gb(config),
    )
    return time.perf_counter() - start, out


def _memory_limit_gb(config: Mapping[str, Any]) -> float:
    return memory_limit_gb(config["source"]["memory_mb"])


def _measurement_rows(file: Path, variables: Sequence[Variable], sample: Sample) -> float:
    """Measurements of the whole source: those of the sample, each times the factor of the table it came from."""
    counts = read_frame(file, ["variable"])["variable"].value_counts()
    tables = {variable.name: variable.table for variable in variables}
    common = max(sample.factors.values(), default=1.0)
    return float(sum(count * sample.factors.get(tables[str(name)], common) for name, count in counts.items()))
