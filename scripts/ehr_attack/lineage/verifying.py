"""Whether the results of a run are what its jobs wrote, from what is there, with the code that is here."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ehr_attack.announced import code_file
from ehr_attack.digests import installed_version
from ehr_attack.errors import UserError
from ehr_attack.lineage.records import GATHERED, RECORDS, read_records, told_by_folder
from ehr_attack.paths import PROJECT_DIR
from ehr_attack.storage import file_digest, read_json

MISSING, CHANGED, STALE, UNKNOWN, UNCHECKED = "missing", "changed", "stale", "unknown", "unchecked"
KINDS = {
    MISSING: "a result that a job wrote is gone",
    CHANGED: "a result is not what the job wrote",
    STALE: "what it was made from, or the code that made it, is another now",
    UNKNOWN: "no job of the workflow has told that it wrote it",
    UNCHECKED: "code of yours that results were made by",
}
NO_FAULTS = (UNKNOWN, UNCHECKED)
"""Those of KINDS that tell nothing against the results."""
_OF_PROJECT = ("scripts/", "workflow/")
_NOT_RESULTS = ("logs", "benchmarks", RECORDS)


@dataclass(frozen=True)
class Finding:
    """Something that does not hold: one of KINDS, the file by its place in the run (or of code), and what is wrong."""

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
    findings += [Finding(UNCHECKED, name, "cannot be found here, not checked") for name in code.not_found]
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
            jobs = dict(read_json(file)["jobs"])
        except (UserError, KeyError, TypeError, ValueError):
            jobs = {}
        for job in sorted(told["jobs"].keys() | jobs.keys()):
            if told["jobs"].get(job) != jobs.get(job):
                yield Finding(CHANGED, name, f"not what {RECORDS}/{job}.json says: one of them was edited")


class _Code:
    """The code that is here, each file looked at once. `not_found`: files of a user's own that are not."""

    def __init__(self, project: Path) -> None:
        self.not_found: set[str] = set()
        self._project = project
        self._digests: dict[str, str | None] = {}

    def changes(self, code: Mapping[str, str], versions: Mapping[str, str]) -> list[str]:
        """What differs from a record, in words."""
        files = [change for name, digest in code.items() if (change := self._change(name, digest))]
        return files + [
            f"{name} was {version}, and is {installed_version(name)}"
            for name, version in versions.items()
            if name != "python" and installed_version(name) != version
        ]

    def _change(self, name: str, recorded: str) -> str:
        """What has become of a file; empty where nothing has, or its place is not known."""
        digest = self._digest(name)
        if digest is not None:
            return f"{name} was edited" if digest != recorded else ""
        if name.startswith(_OF_PROJECT):
            return f"{name} is gone"
        self.not_found.add(name)
        return ""

    def _digest(self, name: str) -> str | None:
        if name not in self._digests:
            file = self._project / name if name.startswith(_OF_PROJECT) else code_file(name, self._project)
            self._digests[name] = file_digest(file) if file is not None and file.is_file() else None
        return self._digests[name]


def _is_result(path: Path, run: Path) -> bool:
    parts = path.relative_to(run).parts
    hidden = any(part.startswith(".") for part in parts)
    return path.is_file() and not hidden and parts[0] not in _NOT_RESULTS and path.name != GATHERED


def _listed(reasons: list[str], most: int = 3) -> str:
    more = len(reasons) - most
    return ", ".join(reasons[:most]) + (f" and {more} more" if more > 0 else "")
