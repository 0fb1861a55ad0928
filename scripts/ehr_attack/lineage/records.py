"""One record a job: the digests of what it read and wrote, its settings, its code and the versions it ran with.

A record names files by their place in the run's folder, and those outside by their name alone; it holds no host, no
user, no path and no date.
"""

import platform
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from ehr_attack.digests import data_digest
from ehr_attack.errors import UserError
from ehr_attack.public_config import public_config
from ehr_attack.storage import file_digest, read_json, write_json

RECORDS, GATHERED = "provenance", "provenance.json"
_PACKAGE = "package "


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
    write_json(record, run / RECORDS / f"{log.stem}.json")
    gather(run, {(run / output).parent for output in record["outputs"]})


def record_of(job: Job, run: Path) -> dict[str, Any]:
    """The record: rule, wildcards, inputs, outputs (SHA-256 by name), params, code, versions."""
    params = {str(name): value for name, value in job.params.items()}
    code = {str(name): str(digest) for name, digest in params.pop("code", {}).items()}
    packages = {name.removeprefix(_PACKAGE): text for name, text in code.items() if name.startswith(_PACKAGE)}
    return {
        "rule": job.rule,
        "wildcards": {str(name): str(value) for name, value in job.wildcards.items()},
        "inputs": _digests(job.input, run),
        "outputs": _digests(job.output, run),
        "params": public_config(_plain(params)),
        "code": {name: digest for name, digest in code.items() if not name.startswith(_PACKAGE)},
        "versions": {"python": platform.python_version()} | packages,
    }


def read_records(run: Path) -> dict[str, dict[str, Any]]:
    """All records of a run, by the name of the job's log. Raises UserError where there are none, or one is damaged."""
    files = sorted((run / RECORDS).glob("*.json"))
    if not files:
        raise UserError(
            f"{run}: no {RECORDS}/*.json here. Expected the folder of a run, such as results/synthetic, that was made "
            "by this version or a later one."
        )
    return {file.stem: _read(file) for file in files}


def gather(run: Path, folders: Collection[Path]) -> None:
    """Write `provenance.json` into `folders` of the run: the records of the jobs that made what lies there.

    A file that would not change is left as it is.
    """
    seen = None
    # A job that ends meanwhile may have written its own view of a folder, which lacks this one: look once more.
    while seen != (seen := _stamps(run)):
        _gather_once(run, folders)


def _stamps(run: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mtime_ns for file in (run / RECORDS).glob("*.json")}


def _gather_once(run: Path, folders: Collection[Path]) -> None:
    by_folder: dict[Path, dict[str, Any]] = {}
    for name, record in read_records(run).items():
        for output in record["outputs"]:
            by_folder.setdefault((run / output).parent, {})[name] = record
    for folder, records in by_folder.items():
        told = {"jobs": records}
        if folder in folders and (not (folder / GATHERED).exists() or read_json(folder / GATHERED) != told):
            write_json(told, folder / GATHERED)
            # As private as the folder: a file of single patients says by its name alone that there is one.
            (folder / GATHERED).chmod(folder.stat().st_mode & 0o666)


def _digests(paths: Iterable[Any], run: Path) -> dict[str, str]:
    digests = {}
    for path in map(Path, map(str, paths)):
        inside = path.is_relative_to(run)
        if not path.exists():
            continue
        name = path.relative_to(run).as_posix() if inside else f"outside/{path.name}"
        digests[name] = file_digest(path) if inside and path.is_file() else data_digest(path)
    return dict(sorted(digests.items()))


def _plain(value: Any) -> Any:
    """The value as JSON holds it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | range):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _read(file: Path) -> dict[str, Any]:
    record = read_json(file)
    if not isinstance(record, dict) or not {"rule", "inputs", "outputs", "code", "versions"} <= set(record):
        raise UserError(f"{file}: not the record of a job. Delete it and run snakemake again with --forcerun.")
    return record
