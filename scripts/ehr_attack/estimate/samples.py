"""A sample of each kind of source that is quick to read, and how many times larger the whole is."""

import gzip
import io
import shutil
import tarfile
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from ehr_attack.errors import UserError
from ehr_attack.sources import find_tables
from ehr_attack.sources.csv_file import is_gzip
from ehr_attack.sources.table_files import parts_of
from ehr_attack.synthetic import generate

SYNTHETIC_STAYS, PHYSIONET_RECORDS = 500, 400
EVENT_BYTES = 48_000_000
"""How much of each event table of MIMIC-III is read, before compression."""

DICTIONARIES = ("d_items", "d_labitems")
"""Tables that say what codes mean: as long in a sample as in the whole source, and read by the audit alone."""

_EVENT_TABLES = ("chartevents", "labevents")


@dataclass(frozen=True)
class Sample:
    """Sampled tables (table -> file), and what turns their counts into those of the whole source.

    stays: ICU stays in the sample; stays_factor: source stays over sampled stays; factors: the same for the rows of
    each table (1 where it is not named). whole_stays: whether a sampled stay has all its values in the sample.
    stage_jobs: tables that a run would stage. words: what was sampled. generate_seconds: for synthetic records.
    """

    tables: Mapping[str, Path]
    stays_factor: float
    words: str
    whole_stays: bool
    stage_jobs: int
    stays: int = 0
    factors: Mapping[str, float] = field(default_factory=dict)
    generate_seconds: float | None = None

    @property
    def exact(self) -> bool:
        """Whether the sample is the whole source."""
        return self.stays_factor == 1 and all(factor == 1 for factor in self.factors.values())


def draw_sample(config: Mapping[str, Any], tables: Mapping[str, Path], folder: Path) -> Sample:
    """Sample the source of `config` into `folder`; tables: as `find_tables` found them, none for synthetic records."""
    folder.mkdir()
    kind = config["source"]["kind"]
    if kind == "synthetic":
        return _synthetic(config["synthetic"], folder)
    if kind == "physionet2012":
        return _physionet2012(tables, folder)
    if set(_EVENT_TABLES) <= set(tables):
        return _mimic(tables, folder)
    return Sample(dict(tables), stays_factor=1.0, words="all tables", whole_stays=True, stage_jobs=len(tables))


def _synthetic(settings: Mapping[str, Any], folder: Path) -> Sample:
    stays = min(settings["stays"], SYNTHETIC_STAYS)
    start = time.perf_counter()
    generate(folder, **{**settings, "stays": stays})
    seconds = time.perf_counter() - start
    tables = find_tables(settings["shape"], folder)
    factor = settings["stays"] / stays
    return Sample(
        tables=tables,
        stays=stays,
        stays_factor=factor,
        factors={name: factor for name in tables if name not in DICTIONARIES},
        words=f"{stays:,} generated stays",
        whole_stays=True,
        stage_jobs=len(tables),
        generate_seconds=seconds,
    )


def _mimic(tables: Mapping[str, Path], folder: Path) -> Sample:
    """All of the small tables, the beginning of the two large ones."""
    sampled, factors = dict(tables), {}
    for name in _EVENT_TABLES:
        sampled[name], factors[name] = _beginning(tables[name], folder / f"{name}.csv.gz")
    return Sample(
        tables=sampled,
        stays_factor=1.0,
        factors=factors,
        words=f"the small tables and the first {EVENT_BYTES / 1e6:.0f} MB of CHARTEVENTS and LABEVENTS",
        whole_stays=all(factor == 1 for factor in factors.values()),
        stage_jobs=len(sampled),
    )


def _beginning(table: Path, out: Path) -> tuple[Path, float]:
    """The first EVENT_BYTES of a table, to a whole line; and how many times larger the whole of it is.

    A table that is not larger is taken as it is. Of a folder of parts, the first ones are taken.
    """
    if table.is_dir():
        return _first_parts(table, out.with_name(f"{table.name}_parts"))
    text, read = _first_bytes(table, EVENT_BYTES)
    if len(text) < EVENT_BYTES:
        return table, 1.0
    target = out if is_gzip(table) else out.with_suffix("")
    _write_lines(text, target)
    return target, table.stat().st_size / read


def _first_parts(folder: Path, out: Path) -> tuple[Path, float]:
    parts, left, read_bytes = parts_of(folder), EVENT_BYTES, 0
    out.mkdir()
    for part in parts:
        text, read = _first_bytes(part, left)
        read_bytes += read
        if len(text) == left:
            _write_lines(text, out / part.name)
            return out, sum(one.stat().st_size for one in parts) / read_bytes
        shutil.copyfile(part, out / part.name)
        left -= len(text)
    return folder, 1.0


def _first_bytes(file: Path, count: int) -> tuple[bytes, int]:
    """The first `count` bytes of what the file holds, and how many bytes of the file they are."""
    try:
        with file.open("rb") as raw:
            text = gzip.GzipFile(fileobj=raw).read(count) if is_gzip(file) else raw.read(count)
            return text, raw.tell()
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(
            f"{file}: the table cannot be read ({type(error).__name__}). Expected a CSV table, or a whole "
            "gzip-compressed one; download it again."
        ) from error


def _write_lines(text: bytes, out: Path) -> None:
    """Write the whole lines of `text`; nothing where it has none, not even a header line."""
    if lines := text[: text.rfind(b"\n") + 1]:
        out.write_bytes(gzip.compress(lines, compresslevel=1) if is_gzip(out) else lines)


def _physionet2012(tables: Mapping[str, Path], folder: Path) -> Sample:
    """The first records of one set, with their outcomes."""
    sets = sorted(name.partition("_")[2] for name in tables if name.startswith("outcomes_"))
    lines = {name: tables[f"outcomes_{name}"].read_text(encoding="utf-8").splitlines() for name in sets}
    name = sets[0]
    records = dict(islice(_records(tables[f"records_{name}"]), PHYSIONET_RECORDS))
    header, *outcomes = lines[name] or [""]
    kept = [line for line in outcomes if line.partition(",")[0].strip() in records]
    (folder / f"Outcomes-{name}.txt").write_text("\n".join([header, *kept, ""]), encoding="utf-8")
    with tarfile.open(folder / f"set-{name}.tar.gz", "w:gz", compresslevel=6) as archive:
        for record, content in records.items():
            member = tarfile.TarInfo(f"set-{name}/{record}.txt")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    if not kept:
        raise UserError(f"{tables[f'outcomes_{name}']}: no outcome of the first records; is it that of another set?")
    total = sum(sum(bool(line.strip()) for line in of_set[1:]) for of_set in lines.values())
    sampled = find_tables("physionet2012", folder)
    factor = total / len(kept)
    return Sample(
        tables=sampled,
        stays=len(kept),
        stays_factor=factor,
        factors=dict.fromkeys(sampled, factor),
        words=f"{len(kept):,} records of set {name}",
        whole_stays=True,
        stage_jobs=len(tables),
    )


def _records(source: Path) -> Iterator[tuple[str, bytes]]:
    """RecordID and content of the records of a set, in the order in which they are stored."""
    if source.is_dir():
        for path in sorted(source.glob("*.txt")):
            yield path.stem, path.read_bytes()
        return
    try:
        # Read through gzip, for tarfile by itself takes a cut stream for the end of the archive.
        with gzip.open(source) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isfile() and member.name.endswith(".txt") else None
                if content is not None:
                    yield PurePosixPath(member.name).stem, content.read()
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise UserError(
            f"{source}: the archive is damaged or is none ({type(error).__name__}). Delete it and download it again "
            "(ehr-attack download-physionet2012)."
        ) from error
