"""What a run was made with: versions, seeds and devices, for the report. No host names, no paths, no dates."""

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from typing import Any

from ehr_attack import __version__
from ehr_attack.public_config import public_config
from ehr_attack.storage import read_json

_PACKAGES = (
    "duckdb",
    "numpy",
    "pandas",
    "pyarrow",
    "scikit-learn",
    "scipy",
    "torch",
    "optuna",
    "snakemake",
    "matplotlib",
    "plotly",
)


def provenance(
    config: Mapping[str, Any], checkpoints: Sequence[str], digests: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Sections of names and values.

    checkpoints: the model.json files, which name the device of training; digests: by section (`source`, `code`), what
    is told of each input or stage: words, or the digests of files by name, of which one digest is shown.
    """
    devices = sorted({read_json(path)["device"] for path in checkpoints})
    seeds = {"models": ", ".join(map(str, config["run"]["seeds"])), "folds": config["folds"]["seed"]}
    if config["source"]["kind"] == "synthetic":
        seeds["synthetic cohort"] = config["synthetic"]["seed"]
    return {
        "versions": {"ehr-attack": __version__, "Python": platform.python_version()}
        | {name: _version(name) for name in _PACKAGES},
        "devices": {"training": ", ".join(devices)},
        "seeds": seeds,
        "configuration": {"digest": short_digest(public_config(config))},
    } | {f"digests of the {name}": {key: _shown(of) for key, of in parts.items()} for name, parts in digests.items()}


def short_digest(value: Any) -> str:
    """SHA-256 of a value as canonical JSON: 32 hex digits in fours, so that no part can pass for a patient's number."""
    text = json.dumps(value, sort_keys=True, default=str)
    digits = hashlib.sha256(text.encode()).hexdigest()[:32]
    return "-".join(digits[start : start + 4] for start in range(0, len(digits), 4))


def _shown(value: Any) -> str:
    """Words stay; digests, also a dict of them, become one short digest."""
    return value if isinstance(value, str) and " " in value else short_digest(value)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "in an environment of its own"
