"""What the contenders of the attack's benchmark share: the stays and the model that they attack, and their results.

Imports torch, numpy, safetensors and the model's definition only, so that other tools' environments can use it.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import Tensor

from ehr_attack.models.lstm import LSTMClassifier

WEIGHTS, STAYS, SETTINGS = "model.safetensors", "stays.npz", "settings.json"
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Problem:
    """Who attacks what: the same for every contender.

    inputs: float32 (stays, hours, features), scaled to [0, 1], every hour valid; labels: int64 (stays,), the true and
    predicted class; lambdas: the published grid; steps, rate: of the published update.
    """

    model: LSTMClassifier
    inputs: Tensor
    labels: Tensor
    lambdas: list[float]
    steps: int
    rate: float

    @property
    def lengths(self) -> Tensor:
        """Valid hours of each stay, int64 (stays,)."""
        return torch.full((len(self.inputs),), self.inputs.shape[1])


def write_settings(folder: Path, lambdas: list[float], steps: int, rate: float) -> None:
    """Write the search's settings beside the stays and the weights in `folder`."""
    (folder / SETTINGS).write_text(json.dumps({"lambdas": lambdas, "steps": steps, "rate": rate}), encoding="utf-8")


def load_problem(folder: Path) -> Problem:
    """Read what lies in `folder`; the weights are frozen, the model is in evaluation mode."""
    with np.load(folder / STAYS) as stays:
        inputs, labels = torch.from_numpy(stays["inputs"]), torch.from_numpy(stays["labels"])
    weights = load_file(folder / WEIGHTS)
    model = LSTMClassifier(inputs.shape[2], weights["lstm.weight_hh_l0"].shape[1], weights["dense.weight"].shape[0])
    model.load_state_dict(weights)
    model.eval().requires_grad_(False)
    return Problem(model, inputs, labels, **json.loads((folder / SETTINGS).read_text(encoding="utf-8")))


READY, WAITING = "ready to start", "BENCH_ATTACK_WAITS"
"""What a contender's process says when all is loaded and warm; the environment variable that makes it wait then."""


def wait_for_start() -> None:
    """Say that all is loaded and warm, and wait for a line on standard input, so that shards start together."""
    if os.environ.get(WAITING):
        print(READY, flush=True)
        sys.stdin.readline()


@dataclass
class Clock:
    """Seconds of the machine's clock, comparable between processes, and of this process's work on the processor."""

    started: float = 0.0
    ended: float = 0.0
    cpu_seconds: float = 0.0


@contextmanager
def timed() -> Iterator[Clock]:
    """Measure what happens inside."""
    clock = Clock()
    before = os.times()
    clock.started = time.time()
    yield clock
    clock.ended = time.time()
    after = os.times()
    clock.cpu_seconds = after.user + after.system - before.user - before.system


@dataclass(frozen=True)
class Outcome:
    """What a contender found, and what it cost.

    best: float32 (stays, hours, features), each stay's smallest perturbation by L1 among its flips, NaN where none;
    row_steps: how often the gradient of a row was taken. A contender with a grid of lambdas also tells of its rows:
    stay, position (in the grid), steps: int64 (rows,), flipped: bool (rows,), margin: float32 (rows,), the last one
    that was seen, NaN where it is not known.
    """

    clock: Clock
    row_steps: int
    best: Array
    stay: Array = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    position: Array = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    steps: Array = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    flipped: Array = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    margin: Array = field(default_factory=lambda: np.zeros(0, dtype=np.float32))
    notes: dict[str, Any] = field(default_factory=dict)


def save_outcome(outcome: Outcome, file: Path) -> None:
    """Write `outcome` as .npz."""
    arrays = {name: getattr(outcome, name) for name in _ARRAYS}
    plain = {"clock": asdict(outcome.clock), "row_steps": outcome.row_steps, "notes": outcome.notes}
    np.savez(file, plain=np.array(json.dumps(plain)), **arrays)


def load_outcome(file: Path) -> Outcome:
    """Read what `save_outcome` wrote."""
    with np.load(file) as stored:
        plain = json.loads(str(stored["plain"]))
        arrays = {name: stored[name] for name in _ARRAYS}
    return Outcome(clock=Clock(**plain["clock"]), row_steps=plain["row_steps"], notes=plain["notes"], **arrays)


_ARRAYS = ("best", "stay", "position", "steps", "flipped", "margin")


class Smallest:
    """Keeps each stay's smallest flip by L1 while a search runs."""

    def __init__(self, inputs: Tensor) -> None:
        self.found = torch.full_like(inputs, torch.nan)
        self._l1 = torch.full((len(inputs),), torch.inf)

    def offer(self, stay: int, perturbation: Tensor) -> None:
        """Take `perturbation` (hours, features), a flip of `stay`, if it is the smallest so far."""
        l1 = perturbation.abs().sum()
        if l1 < self._l1[stay]:
            self._l1[stay] = l1
            self.found[stay] = perturbation
