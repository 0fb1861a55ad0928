"""The jobs that Snakemake would run, each with its reason: a dry run in a process of its own."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ehr_attack.errors import UserError
from ehr_attack.paths import PROJECT_DIR

_PLUGIN_DIR = Path(__file__).parent / "plugin"
_SNAKEFILES = ("Snakefile", "snakefile", "workflow/Snakefile", "workflow/snakefile")


@dataclass(frozen=True)
class PlannedJob:
    """A job of a dry run; `log` and the paths in `reason` are relative to where the run works."""

    rule: str
    reason: str
    log: Path | None
    wildcards: dict[str, str]


def planned_jobs(arguments: Sequence[str]) -> list[PlannedJob]:
    """What `snakemake --dry-run <arguments>` would run, in its order; the Snakefile here, or else the project's own.

    Raises UserError with Snakemake's own message when it refuses.
    """
    snakefile = [] if any(map(os.path.exists, _SNAKEFILES)) else ["--snakefile", str(PROJECT_DIR / "Snakefile")]
    with tempfile.TemporaryDirectory() as scratch:
        reasons = Path(scratch, "reasons.jsonl")
        reasons.touch()
        path = os.pathsep.join(filter(None, [str(_PLUGIN_DIR), os.environ.get("PYTHONPATH")]))
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", "--logger", "reasons", "--dry-run", *snakefile, *arguments],
            env=os.environ | {"PYTHONPATH": path, "EHR_ATTACK_REASONS": str(reasons)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            # In a dry run, Snakemake writes its own errors to standard output.
            raise UserError(_refusal(done.stderr, done.stdout))
        return [_job(line) for line in reasons.read_text(encoding="utf-8").splitlines()]


def _job(line: str) -> PlannedJob:
    told = json.loads(line)
    log = Path(told["log"][0]) if told["log"] else None
    return PlannedJob(told["rule"], told["reason"], log, told["wildcards"])


def _refusal(errors: str, printed: str) -> str:
    """The message of this workflow, which is the last on standard error, else the end of what Snakemake said."""
    _, own, message = f"\n{errors}".rpartition("\nehr-attack: ")
    if own:
        return message.strip()
    lines = [line for line in (errors + printed).splitlines() if line.strip()]
    return "\n".join(["snakemake --dry-run fails; it says:", *lines[-5:]])
