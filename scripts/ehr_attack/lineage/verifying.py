"""Whether the results of a run are what its jobs wrote, from what is there, with the code that is here."""

import importlib.metadata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ehr_attack.errors import UserError
from ehr_attack.lineage.records import GATHERED, RECORDS, read_records, told_by_folder
from ehr_attack.paths import PROJECT_DIR
from ehr_attack.storage import file_digest, read_json

MISSING, CHANGED, STALE, UNKNOWN = "missing", "changed", "stale", "unknown"
KINDS = {
    MISSING: "a result that a job wrote is gone",
    CHANGED: "a result is not what the job wrote",
    STALE: "what it was made from, or the code that made it, is another now",
    UNKNOWN: "no job of the workflow has told that it wrote it",
}
_NOT_RESULTS = ("logs", "benchmarks", RECORDS)


@dataclass(frozen=True)
class Finding:
    """Something that does not hold: one of KINDS, the file by its place in the run, and what is wrong in words."""

    kind: str
    file: str
    what: str


def verify(run: Path, project: Path = PROJECT_DIR) -> list[Finding]:
    """Hash every result of `run` again and compare it with what its job has recorded; sorted by kind and file.

    project: where the code lies. Raises UserError when the run has no records.
    """
    records = read_records(run)
    results = {path.relative_to(run).as_posix(): path for path in sorted(run.rglob("*")) if _is_result(path, run)}
    found = {name: file_digest(path) for name, path in results.items()}
    code = _Code(project)
    findings = [finding for name, record in records.items() for finding in _of_job(name, record, found, code)]
    findings += _of_folders(records, run)
    recorded = {name for record in records.values() for name in record["outputs"]}
    findings += [Finding(UNKNOWN, name, KINDS[UNKNOWN]) for name in found if name not in recorded]
    order = list(KINDS)
    return sorted(set(findings), key=lambda finding: (order.index(finding.kind), finding.file, finding.what))


def _of_job(job: str, record: Mapping[str, Any], found: Mapping[str, str], code: "_Code") -> Iterator[Finding]:
    rule = record["rule"]
    for name, digest in record["outputs"].items():
        if name not in found:
            yield Finding(MISSING, name, f"rule {rule} wrote it ({RECORDS}/{job}.json)")
        elif found[name] != digest:
            yield Finding(CHANGED, name, f"not what rule {rule} wrote")
    reasons = [
        f"{name} is another now" for name, digest in record["inputs"].items() if name in found and found[name] != digest
    ]
    reasons += [f"{name} is gone" for name in record["inputs"] if not name.startswith("outside/") and name not in found]
    reasons += code.changes(record["code"], record["versions"])
    for name in record["outputs"] if reasons else ():
        yield Finding(STALE, name, f"made by rule {rule}; since then: {_listed(reasons)}")


def _of_folders(records: Mapping[str, Mapping[str, Any]], run: Path) -> Iterator[Finding]:
    """Where a folder's provenance.json and the records of its jobs, which say the same, differ: one was edited."""
    for place, told in told_by_folder(records).items():
        file = run / place / GATHERED
        name = file.relative_to(run).as_posix()
        if not file.exists():
            yield Finding(MISSING, name, "the jobs of this folder wrote it")
            continue
        try:
            jobs = read_json(file)["jobs"]
        except (UserError, KeyError, TypeError):
            jobs = {}
        for job in sorted(told["jobs"].keys() | jobs.keys()):
            if told["jobs"].get(job) != jobs.get(job):
                yield Finding(CHANGED, name, f"not what {RECORDS}/{job}.json says: one of them was edited")


class _Code:
    """The code and the packages that are here, each looked at once."""

    def __init__(self, project: Path) -> None:
        self._project = project
        self._digests: dict[str, str] = {}
        self._versions: dict[str, str] = {}

    def changes(self, code: Mapping[str, str], versions: Mapping[str, str]) -> list[str]:
        """What differs from a record, in words."""
        files = [f"{name} was edited" for name, digest in code.items() if self._digest(name) not in ("", digest)]
        return files + [
            f"{name} was {version}, and is {self._version(name)}"
            for name, version in versions.items()
            if name != "python" and self._version(name) != version
        ]

    def _digest(self, name: str) -> str:
        """Of a file of the project; empty for one of a user's own package, whose place is not known."""
        if name not in self._digests:
            path = self._project / name
            self._digests[name] = file_digest(path) if path.is_file() else ""
        return self._digests[name]

    def _version(self, package: str) -> str:
        if package not in self._versions:
            try:
                self._versions[package] = importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                self._versions[package] = "not installed"
        return self._versions[package]


def _is_result(path: Path, run: Path) -> bool:
    parts = path.relative_to(run).parts
    hidden = any(part.startswith(".") for part in parts)
    return path.is_file() and not hidden and parts[0] not in _NOT_RESULTS and path.name != GATHERED


def _listed(reasons: list[str], most: int = 3) -> str:
    more = len(reasons) - most
    return ", ".join(reasons[:most]) + (f" and {more} more" if more > 0 else "")
