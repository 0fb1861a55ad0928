"""What an attack mode is: the update of one step, its grid of lambdas, when it stops, and what counts as small."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

State = dict[str, Tensor]
"""What a mode remembers of each row; the first axis of every tensor is the row. `point` (rows, size) is the
perturbation at which the loss is evaluated next, in the units of the attack's space."""


@dataclass(frozen=True)
class SearchSettings:
    """lambdas: the mode's own grid; steps: updates before giving up; rate: step size; kappa: margin of a flip.

    chunk_rows: rows attacked at once. prune: skip the lambdas above a stay's first failure, but for an audited sample.
    """

    lambdas: tuple[float, ...]
    steps: int
    rate: float
    kappa: float
    chunk_rows: int
    prune: bool = False


@dataclass(frozen=True)
class Seen:
    """What a mode learns at its `point`.

    gradient: (rows, size), of logit_y - logit_t with respect to the point; margin: (rows,), logit_t - logit_y, positive
    where the prediction has flipped; lambdas: (rows, 1), NaN where the mode has none; made: (rows, 1), updates made
    before this one; low, high: (rows, size), limits of a feasible point.
    """

    gradient: Tensor
    margin: Tensor
    lambdas: Tensor
    made: Tensor
    low: Tensor
    high: Tensor
    settings: SearchSettings

    @property
    def flipped(self) -> Tensor:
        """Bool (rows, 1): the margin passes kappa."""
        return (self.margin > self.settings.kappa)[:, None]

    def movable(self, point: Tensor) -> Tensor:
        """Bool (rows, size): a step against the gradient is not held by a bound."""
        return torch.where(self.gradient < 0, point < self.high, point > self.low)

    def project(self, point: Tensor) -> Tensor:
        """The nearest feasible point."""
        return torch.clamp(point, self.low, self.high)


class Mode:
    """An attack mode. Derive from it and write `update`, a pure function, row by row.

    constrained: it stays in the box and in the mutable cells, needs the configured kappa to stop, and succeeds only
    where its perturbation is feasible; an unconstrained one follows the published code (no box, kappa 0).
    stops_at_flip: a row ends at its first flip; else it makes all its steps, and the smallest flip counts.
    rests_at_zero: a first update that leaves a row at zero would do so for ever, so the row ends at once.
    norm: what `smallest` means, `l1` or `l0`.
    """

    constrained: ClassVar[bool] = True
    stops_at_flip: ClassVar[bool] = True
    rests_at_zero: ClassVar[bool] = False
    norm: ClassVar[Literal["l1", "l0"]] = "l1"

    def update(self, state: State, seen: Seen) -> State:
        """The state after one more step. The engine keeps the new `point` feasible where the mode is constrained."""
        raise NotImplementedError

    def start(self, point: Tensor) -> State:
        """The state of fresh rows: `point` (rows, size) is zero."""
        return {"point": point}

    def lambda_factor(self, rate: float) -> float | None:
        """What the configured grid of lambdas is multiplied by to give the mode's own; None: the mode has no lambda."""
        return None

    def size(self, point: Tensor) -> Tensor:
        """How large each perturbation is, (rows,), by the mode's norm."""
        return point.abs().sum(dim=1) if self.norm == "l1" else (point != 0).sum(dim=1).to(point.dtype)


def annealed(seen: Seen, first: float, last: float) -> Tensor:
    """A cosine from `first` to `last` over the steps, (rows, 1)."""
    angle = math.pi * seen.made / max(1, seen.settings.steps)
    return last + (first - last) * (1.0 + torch.cos(angle)) / 2.0


def soft_threshold(values: Tensor, threshold: Tensor) -> Tensor:
    """Shrink every entry towards zero by `threshold`, the proximal operator of threshold * |.|_1."""
    return values - torch.clamp(values, -threshold, threshold)
