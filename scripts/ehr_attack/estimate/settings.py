"""The config that a run would have: config.yaml with overlays on top, as snakemake reads them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ehr_attack.config import validated_config
from ehr_attack.config_file import read_config_file
from ehr_attack.errors import UserError
from ehr_attack.paths import PROJECT_DIR

CONFIG_NAME = "config.yaml"


def configured(directory: Path, configfiles: Sequence[Path]) -> dict[str, Any]:
    """The checked config of a run in `directory`, with every default filled in; `source.path` is made absolute.

    A config.yaml in `directory` wins over the project's own, as in the Snakefile. Raises UserError for a file that
    cannot be read and for whatever `validated_config` refuses.
    """
    if not directory.is_dir():
        raise UserError(f"--directory: {directory} is no folder; expected the folder that the run would write to.")
    own = directory / CONFIG_NAME
    raw = read_config_file(own if own.exists() else PROJECT_DIR / CONFIG_NAME)
    for file in configfiles:
        raw = merged(raw, read_config_file(file))
    config = validated_config(raw)
    if config["source"]["path"] is not None:
        config["source"]["path"] = str((directory / config["source"]["path"]).resolve())
    return config


def merged(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the keys of `overlay`: blocks are merged key by key, everything else is replaced."""
    result = dict(base)
    for key, value in overlay.items():
        if isinstance(value, Mapping):
            below = result.get(key)
            result[key] = merged(below if isinstance(below, Mapping) else {}, value)
        else:
            result[key] = value
    return result
