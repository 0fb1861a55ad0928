"""What a hyperparameter search hands to training: the file between the two, which needs no Optuna."""

from pathlib import Path
from typing import Any

from ehr_attack.errors import UserError
from ehr_attack.storage import read_json

SEARCHED = ("lr", "weight_decay", "batch_size")
"""Keys of the config's `training` block that may be searched, each with its bounds or choices in `training.tuning`."""


def load_chosen(path: str | Path | None) -> dict[str, Any] | None:
    """The result of a search: `settings`, the chosen keys of `training`, and what they were chosen by. None for None.

    Raises UserError when the file holds anything else.
    """
    if path is None:
        return None
    stored = read_json(path)
    settings = stored.get("settings") if isinstance(stored, dict) else None
    if not isinstance(settings, dict) or not set(settings) <= set(SEARCHED):
        raise UserError(f"{path}: not the result of a search. Delete it and run snakemake again.")
    return dict(stored)
