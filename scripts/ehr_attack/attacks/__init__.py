"""The attack modes by name. A new mode is one file and one line of `MODES`; a user's own is `package.module:Class`.

A mode of kind `cells` or `measurements` is a class derived from `attacks.mode.Mode`: an update of one step, run by the
engine. A `baseline` is a function of `attacks.baselines`, which changes as much as another attack did; `single` tries
every recorded value. For attacks on a model of your own, without this project's data, see `run_attack`.
"""

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ehr_attack.errors import UserError
from ehr_attack.modules import check_module, load_named

if TYPE_CHECKING:
    from ehr_attack.attacks.mode import Mode

CELLS, MEASUREMENTS, SINGLE, BASELINE = "cells", "measurements", "single", "baseline"
"""Kinds of modes: what they vary (values of hours, or recorded values), or how they search."""


@dataclass(frozen=True)
class ModeEntry:
    """Where a mode is defined, its kind, and whether its attacks must be feasible (box, mutable cells, precision).

    Baselines keep to box and mutable cells, but any flip of theirs counts.
    """

    where: str
    kind: str = CELLS
    constrained: bool = True


CHUNK_ROWS = {"cpu": 64, "cuda": 4096, "mps": 1024}
"""Rows attacked at once where the config leaves it open: 64 stay in a CPU's cache; a GPU wants thousands."""

MODES = {
    "sun2018": ModeEntry("ehr_attack.attacks.sun2018:Sun2018", constrained=False),
    "ista": ModeEntry("ehr_attack.attacks.ista:ISTA"),
    "ead": ModeEntry("ehr_attack.attacks.ead:EAD"),
    "fmn_l1": ModeEntry("ehr_attack.attacks.fmn_l1:FMNL1"),
    "sigma_zero": ModeEntry("ehr_attack.attacks.sigma_zero:SigmaZero"),
    "measurement": ModeEntry("ehr_attack.attacks.sigma_zero:SigmaZero", MEASUREMENTS),
    "single": ModeEntry("ehr_attack.attacks.single:scan", SINGLE),
    "random_cells": ModeEntry("ehr_attack.attacks.baselines:random_cells", BASELINE, constrained=False),
    "random_noise": ModeEntry("ehr_attack.attacks.baselines:random_noise", BASELINE, constrained=False),
    "gradient_sign": ModeEntry("ehr_attack.attacks.baselines:gradient_sign", BASELINE, constrained=False),
    "last_hours": ModeEntry("ehr_attack.attacks.baselines:last_hours", BASELINE, constrained=False),
}


def label_of(mode: str) -> str:
    """The name of `mode` in tables and file names: of `package.module:Class`, the class."""
    return mode.rpartition(":")[2]


def entry_of(mode: str) -> ModeEntry:
    """The entry of `mode`; a user's own varies cells and must be feasible."""
    return MODES.get(mode) or ModeEntry(mode)


def is_baseline(mode: str) -> bool:
    """Whether `mode` changes as much as another attack did, to compare with it."""
    return entry_of(mode).kind == BASELINE


def needs_measurements(mode: str) -> bool:
    """Whether `mode` changes recorded values, and so needs them."""
    return entry_of(mode).kind in (MEASUREMENTS, SINGLE)


def matched(modes: Sequence[str]) -> str | None:
    """The mode that baselines are matched to: the first that attacks by cells, else the first that attacks at all."""
    attacks = [mode for mode in modes if not is_baseline(mode)]
    return next((mode for mode in attacks if not needs_measurements(mode)), attacks[0] if attacks else None)


def settings_of(label: str, attack: Mapping[str, Any]) -> dict[str, Any]:
    """The config's `attack` block for the mode called `label`: what all share, and its own `overrides`.

    `levels` is left out where the mode has none.
    """
    others = {"modes", "overrides"} | (set() if entry_of(label).kind == SINGLE else {"levels"})
    shared = {key: value for key, value in attack.items() if key not in others}
    own: dict[str, Any] = attack["overrides"].get(label, {})
    if "lambdas" in own:
        own = own | {"lambdas": shared["lambdas"] | own["lambdas"]}
    return shared | own


def module_of(mode: str) -> str:
    """The importable module that defines `mode`, for code digests."""
    return entry_of(mode).where.partition(":")[0]


def check_found(modes: Iterable[str]) -> None:
    """Raise UserError when the module of one of `modes` is nowhere to be found (it is not imported)."""
    for mode in modes:
        check_module(module_of(mode), f"config key attack.modes: {mode!r}")


def load_object(mode: str) -> Any:
    """What the registry names for `mode`. Raises UserError when a user's own cannot be imported."""
    return load_named(entry_of(mode).where, f"attack.modes: {mode!r}", is_own=mode not in MODES)


def load_mode(mode: str) -> "Mode":
    """The attack mode called `mode`, ready to run. Raises UserError when a user's own is no mode, or does not work."""
    from ehr_attack.attacks.contract import check_mode  # needs torch, which this package does without
    from ehr_attack.attacks.mode import Mode

    found = load_object(mode)
    if not (isinstance(found, type) and issubclass(found, Mode)):
        raise UserError(
            f"attack.modes: {mode!r} is no attack mode; expected a class derived from ehr_attack.attacks.mode.Mode."
        )
    if mode in MODES:
        return found()
    try:
        own = found()
    except Exception as error:
        raise UserError(f"attack.modes: {mode!r} cannot be made: {type(error).__name__}: {error}.") from error
    check_mode(own, mode)
    return own


def __getattr__(name: str) -> Any:
    """`run_attack` and its result, imported when asked for: they need torch, which the workflow's plan does without."""
    if name in ("run_attack", "AttackResult"):
        return getattr(importlib.import_module("ehr_attack.attacks.library"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
