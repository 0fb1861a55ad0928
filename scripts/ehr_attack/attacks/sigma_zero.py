"""sigma-zero (Cina et al., ICLR 2025): the smallest number of changed entries that flips the prediction.

A smooth stand-in for the L0 norm, sum d^2 / (d^2 + sigma), is minimised together with the loss; after each step,
entries below a threshold are set to zero. The threshold rises while the prediction is flipped and falls while it is
not.
"""

from typing import ClassVar, Literal

import torch
from torch import Tensor

from ehr_attack.attacks.mode import Mode, Seen, State, annealed

_SIGMA = 1e-3
_STEP, _LAST_STEP = 1.0, 0.1
_THRESHOLD, _FACTOR = 0.3, 0.01
_TINY = 1e-12


class SigmaZero(Mode):
    """d <- cut(d - a g / |g|_inf), g of max(logit_y - logit_t, -kappa) + |d|_0,sigma / size; smallest flip kept."""

    stops_at_flip: ClassVar[bool] = False
    norm: ClassVar[Literal["l1", "l0"]] = "l0"

    def start(self, point: Tensor) -> State:
        """`threshold`: (rows, 1), below which entries are set to zero."""
        return {"point": point, "threshold": torch.full_like(point[:, :1], _THRESHOLD)}

    def update(self, state: State, seen: Seen) -> State:
        """One step and one cut."""
        point = state["point"]
        # The paper divides by the size of the input; here, by the entries of the row's own stay that may change.
        entries = ((seen.low != 0) | (seen.high != 0)).sum(dim=1, keepdim=True).clamp(min=1)
        sparse = 2.0 * _SIGMA * point / (point.square() + _SIGMA).square() / entries
        slope = seen.gradient * (seen.movable(point) & ~seen.flipped) + sparse
        step = annealed(seen, _STEP, _LAST_STEP)
        moved = seen.project(point - step * slope / slope.abs().amax(dim=1, keepdim=True).clamp(min=_TINY))
        turn = _FACTOR * step
        threshold = (state["threshold"] + torch.where(seen.flipped, turn, -turn)).clamp(min=0.0)
        return {"point": torch.where(moved.abs() > threshold, moved, 0.0), "threshold": threshold}
