"""The attack modes by name. A new mode is one file and one line of `MODES`.

A mode's module holds two functions: `step`, the update (see `attacks.mode.Step`), and `lambda_factor(rate)`, by
which the configured grid of lambdas is multiplied to give the mode's own.
"""

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ehr_attack.attacks.mode import Mode


@dataclass(frozen=True)
class ModeEntry:
    """Where a mode is defined, and whether its attacks must be feasible (box, mutable cells, charted precision)."""

    module: str
    constrained: bool


CHUNK_ROWS = {"cpu": 64, "cuda": 4096, "mps": 1024}
"""Rows attacked at once where the config leaves it open: 64 stay in a CPU's cache; a GPU wants thousands."""

MODES = {
    "sun2018": ModeEntry("ehr_attack.attacks.sun2018", constrained=False),
    "ista": ModeEntry("ehr_attack.attacks.ista", constrained=True),
}


def module_of(name: str) -> str:
    """The importable module that defines mode `name`, for code digests."""
    return MODES[name].module


def load_mode(name: str) -> "Mode":
    """The attack mode `name`, ready to run."""
    from ehr_attack.attacks.mode import Mode

    entry = MODES[name]
    module = importlib.import_module(entry.module)
    return Mode(name, module.step, module.lambda_factor, entry.constrained)
