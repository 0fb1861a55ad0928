"""One record a job: the digests of what it read and wrote, its settings, its code and the versions it ran with.

A record names files by their place in the run's folder, and those outside by their name alone; it holds no host, no
user, no path and no date.
"""

import platform
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from ehr_attack.digests import data_digest, installed_version
from ehr_attack.errors import UserError
from ehr_attack.lineage.turns import turn
from ehr_attack.public_config import public_config
from ehr_attack.storage import clear_scratch, file_digest, read_json, write_json

RECORDS, GATHERED = "provenance", "provenance.json"
MODEL_SEED = "model"
"""What the seed of a job's wildcards is for: the model's weights and the order of its training stays."""
_PACKAGE, _OUTSIDE = "package ", "outside/"
_PARTS = {"rule", "inputs", "outputs", "code", "versions", "seeds"}


class Job(Protocol):
    """What a job knows of itself. `log` lies in the folder `logs` of the run; `params` may hold `code`."""

    rule: str
    log: Any
    input: Any
    output: Any
    params: Any
    wildcards: Any


def write_record(job: Job) -> None:
    """Write what `job`, which has just ended, was made by: `provenance/<name of its log>.json` in the run's folder.

    The folders of its outputs tell it at once, so that a run that is killed behind its last job lacks nothing.
    """
    log = Path(str(job.log[0]))
    run = log.parent.parent
    record = record_of(job, run)
    write_json(record, record_file(log))
    for place in {Path(output).parent for output in record["outputs"]}:
        _tell(run, place.as_posix(), {log.stem: record})


def record_file(log: Path) -> Path:
    """Where the record of the job lies that logs to `log`."""
    return log.parent.parent / RECORDS / f"{log.stem}.json"


def record_of(job: Job, run: Path) -> dict[str, Any]:
    """The record: rule, wildcards, inputs, outputs (SHA-256 by name), params, code, versions, seeds.

    Its seeds are its own and those of the jobs that made its inputs, by what they are for.
    """
    params = {str(name): value for name, value in job.params.items()}
    code = {str(name): str(digest) for name, digest in params.pop("code", {}).items()}
    # As they are here: the job may have an environment of its own, another than Snakemake's, which has told of `code`.
    packages = [name.removeprefix(_PACKAGE) for name in code if name.startswith(_PACKAGE)]
    wildcards = {str(name): str(value) for name, value in job.wildcards.items()}
    inputs = _digests(job.input, run)
    own = [*_seeds(params), *((MODEL_SEED, int(seed)) for name, seed in wildcards.items() if name == "seed")]
    return {
        "rule": job.rule,
        "wildcards": wildcards,
        "inputs": inputs,
        "outputs": _digests(job.output, run),
        "params": public_config(_plain(params)),
        "code": {name: digest for name, digest in code.items() if not name.startswith(_PACKAGE)},
        "versions": {"python": platform.python_version()} | {name: installed_version(name) for name in packages},
        "seeds": _by_purpose([*own, *_inherited(inputs, run)]),
    }


def read_records(run: Path) -> dict[str, dict[str, Any]]:
    """All records of a run, by the name of the job's log. Raises UserError where there are none, or one is damaged."""
    files = _files(run)
    if not files:
        raise UserError(
            f"{run}: no {RECORDS}/*.json here. Expected the folder of a run, such as results/synthetic, that was made "
            "by this version or a later one."
        )
    records = {}
    for file in files:
        record = _usable(file)
        if record is None:
            raise UserError(f"{file}: not the record of a job. Delete it and run snakemake again with --forcerun.")
        records[file.stem] = record
    return records


def told_by_folder(records: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """What the `provenance.json` of each folder with results must hold, by the folder's place in the run."""
    jobs: dict[str, dict[str, Any]] = {}
    for name, record in records.items():
        for output in record["outputs"]:
            jobs.setdefault(Path(output).parent.as_posix(), {})[name] = record
    return {folder: {"jobs": of_folder} for folder, of_folder in jobs.items()}


def gather_all(run: Path) -> None:
    """Write `provenance.json` of every folder with results anew, and remove it from folders that have none any more."""
    places = told_by_folder(read_records(run))
    for file in run.rglob(GATHERED):
        if file.parent.relative_to(run).as_posix() not in places:
            file.unlink()
    for place, told in places.items():
        if (run / place).is_dir():
            _tell(run, place, told["jobs"], anew=True)


def _tell(run: Path, place: str, jobs: Mapping[str, Any], anew: bool = False) -> None:
    """Add the records `jobs` to the `provenance.json` of a folder, or with `anew` let it hold these alone.

    Reads that one file, and not the records of the whole run, of which there may be thousands.
    """
    file = run / place / GATHERED
    # In turn: a job that ends meanwhile would else write its own view of the folder over this one, without this record.
    with turn(file.with_name(f".{GATHERED}.lock")) as mine:
        if mine.locked:
            clear_scratch([file])
            known = _known(run, place) if file.exists() and not anew else {}
            _write_told({"jobs": {**known, **jobs}}, file)
            return
        # Without locks: until no record came meanwhile. Then whoever writes last has seen all of them.
        while _readable(file) != (told := _told_anew(run, place)):
            _write_told(told, file)


def _known(run: Path, place: str) -> dict[str, Any]:
    """The records of a folder: what it tells, less those deleted since; where it tells none, from those of the run."""
    told = _told(run / place / GATHERED)
    if told is None:
        return dict(_told_anew(run, place)["jobs"])
    return {name: record for name, record in told.items() if (run / RECORDS / f"{name}.json").exists()}


def _told(file: Path) -> dict[str, Any] | None:
    """The usable records in a `provenance.json`; None where it cannot be read."""
    told = _readable(file)
    if not isinstance(told, dict) or not isinstance(told.get("jobs"), dict):
        return None
    return {name: record for name, record in told["jobs"].items() if _is_record(record)}


def _told_anew(run: Path, place: str) -> dict[str, Any]:
    return told_by_folder(_usable_records(run)).get(place, {"jobs": {}})


def _write_told(told: Mapping[str, Any], file: Path) -> None:
    """A file that would not change is left as it is."""
    if _readable(file) != told:
        write_json(told, file)
        # As private as the folder: a file of single patients says by its name alone that there is one.
        file.chmod(file.parent.stat().st_mode & 0o666)


def _seeds(params: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """The seeds in a job's settings, each with the block of config.yaml that it stands in."""
    for name, block in params.items():
        if isinstance(block, Mapping) and block.get("seed") is not None:
            yield name, int(block["seed"])


def _inherited(inputs: Collection[str], run: Path) -> Iterator[tuple[str, int]]:
    """The seeds of the jobs that made `inputs`, as the folders of these tell them."""
    for place in {Path(name).parent.as_posix() for name in inputs if not name.startswith(_OUTSIDE)}:
        for record in _known(run, place).values():
            if record["outputs"].keys().isdisjoint(inputs):
                continue
            yield from ((purpose, seed) for purpose, seeds in record["seeds"].items() for seed in seeds)


def _by_purpose(seeds: Iterable[tuple[str, int]]) -> dict[str, list[int]]:
    found: dict[str, set[int]] = {}
    for purpose, seed in seeds:
        found.setdefault(purpose, set()).add(seed)
    return {purpose: sorted(of) for purpose, of in sorted(found.items())}


def _digests(paths: Iterable[Any], run: Path) -> dict[str, str]:
    digests = {}
    for path in map(Path, map(str, paths)):
        inside = path.is_relative_to(run)
        if not path.exists():
            continue
        name = path.relative_to(run).as_posix() if inside else f"{_OUTSIDE}{path.name}"
        digests[name] = file_digest(path) if inside and path.is_file() else data_digest(path)
    return dict(sorted(digests.items()))


def _plain(value: Any) -> Any:
    """The value as JSON holds it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | range):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _usable_records(run: Path) -> dict[str, dict[str, Any]]:
    """The records that can be read; those of another version, or damaged, are of jobs that are yet to be run again."""
    return {file.stem: record for file in _files(run) if (record := _usable(file)) is not None}


def _files(run: Path) -> list[Path]:
    return sorted((run / RECORDS).glob("*.json"))


def _usable(file: Path) -> dict[str, Any] | None:
    record = _readable(file)
    return record if _is_record(record) else None


def _is_record(value: Any) -> bool:
    """Whether every part is there and of its kind, whatever a damaged file holds."""
    if not isinstance(value, dict) or not set(value) >= _PARTS or not isinstance(value["rule"], str):
        return False
    texts = [value[part] for part in ("inputs", "outputs", "code", "versions")]
    seeds = value["seeds"]
    return (
        all(isinstance(part, dict) and all(isinstance(text, str) for text in part.values()) for part in texts)
        and isinstance(seeds, dict)
        and all(isinstance(of, list) and all(type(seed) is int for seed in of) for of in seeds.values())
    )


def _readable(file: Path) -> Any:
    try:
        return read_json(file)
    except UserError:
        return None
