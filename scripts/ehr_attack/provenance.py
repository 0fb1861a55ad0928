"""What a run was made with: versions, seeds and devices, for the report. No host names, no paths, no dates."""

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from typing import Any

from ehr_attack import __version__
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
)


def provenance(config: Mapping[str, Any], checkpoints: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Sections of names and values; `checkpoints`: the model.json files, which name the device of training."""
    devices = sorted({read_json(path)["device"] for path in checkpoints})
    seeds = {"models": ", ".join(map(str, config["run"]["seeds"])), "folds": config["folds"]["seed"]}
    if config["source"]["kind"] == "synthetic":
        seeds["synthetic cohort"] = config["synthetic"]["seed"]
    return {
        "versions": {"ehr-attack": __version__, "Python": platform.python_version()}
        | {name: _version(name) for name in _PACKAGES},
        "devices": {"training": ", ".join(devices)},
        "seeds": seeds,
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "in an environment of its own"
