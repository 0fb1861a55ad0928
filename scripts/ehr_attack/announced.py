"""What a run was planned with, so that its jobs notice an edit that came after.

Snakemake records of a result what was planned for it. A job that starts later works with the files as they are by then:
edited meanwhile, and edited back before the next run, they would leave a result that was made by one code and is
recorded as made by another. So a job that finds another code than was planned ends before it computes anything. What is
edited behind a job's start does it no harm, and makes its result stale for the next run.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ehr_attack.errors import UserError
from ehr_attack.modules import find_module
from ehr_attack.paths import PROJECT_DIR

_PLAN = "EHR_ATTACK_PLAN"
_DIGITS = 16
_REMEDY = "Nothing was computed. Run snakemake again: it plans anew, with the files as they are now."


def announce(config: Mapping[str, Any], files: Mapping[str, str]) -> None:
    """Tell the jobs of this process, on clusters too, what was planned: the config, and digests of files by name."""
    plan = {"config": _digest_of(config), "files": {name: digest[:_DIGITS] for name, digest in files.items()}}
    os.environ[_PLAN] = json.dumps(plan, separators=(",", ":"))


def check_config(config: Mapping[str, Any]) -> None:
    """Raise UserError when this is a job that reads the config again and finds another than was planned."""
    if _plan() and _plan()["config"] != _digest_of(config):
        raise UserError(f"the config was edited after this run was planned, before this job began. {_REMEDY}")


def check_code(code: Mapping[str, str]) -> None:
    """Raise UserError when a file of `code`, see `digests.code_digest`, is not as planned any more."""
    files = {name: path for name in code if (path := code_file(name, PROJECT_DIR)) is not None}
    edited = sorted(name for name, path in files.items() if _sha256(path)[:_DIGITS] != _planned(name, code))
    if edited:
        more = f" (and {len(edited) - 1} more)" if len(edited) > 1 else ""
        raise UserError(
            f"{edited[0]}{more}: edited after this run was planned, before this job began. {_REMEDY} Let runs end, or "
            "edit in another checkout, to change code beside them."
        )


def code_file(name: str, project: Path) -> Path | None:
    """The file that a digest of code names: of the project, or of a user's own package.

    None where it cannot be found, and for packages, which have a version only.
    """
    path: Path | None = project / name
    if path is not None and not path.is_file() and name.endswith(".py"):
        path = find_module(name.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
    return path if path is not None and path.is_file() else None


def _planned(name: str, code: Mapping[str, str]) -> str:
    return str(_plan().get("files", {}).get(name, code[name][:_DIGITS]))


def _plan() -> dict[str, Any]:
    return dict(json.loads(os.environ.get(_PLAN, "{}")))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _digest_of(config: Mapping[str, Any]) -> str:
    """Of all keys but the place of the source, which may have another name on another machine."""
    config = {**config, "source": {key: value for key, value in config["source"].items() if key != "path"}}
    return hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest()[:_DIGITS]
