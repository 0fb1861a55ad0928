"""FMN with the L1 norm (Pintor et al., Fast Minimum-Norm Attacks, NeurIPS 2021).

A ball around the record grows while the prediction holds and shrinks once it has flipped; the point moves along the
gradient and is projected onto the ball. No lambda: it looks for the smallest flip itself.
"""

from typing import ClassVar

import torch
from torch import Tensor

from ehr_attack.attacks.mode import Mode, Seen, State, annealed

_STEP, _LAST_STEP = 1.0, 0.01
_GROWTH, _LAST_GROWTH = 0.05, 0.001
_TINY = 1e-12


class FMNL1(Mode):
    """d <- project(d - a g / |g|_2) into the box, then onto the ball |d|_1 <= epsilon."""

    stops_at_flip: ClassVar[bool] = False

    def start(self, point: Tensor) -> State:
        """`radius`: epsilon, unknown at first; `smallest`: the norm of the smallest flip so far."""
        unknown = torch.full_like(point[:, :1], torch.inf)
        return {"point": point, "radius": unknown, "smallest": unknown}

    def update(self, state: State, seen: Seen) -> State:
        """One step: the radius first, then the point."""
        point = state["point"]
        gradient = seen.gradient * seen.movable(point)
        share = annealed(seen, 1.0, 0.0)
        growth = _LAST_GROWTH + (_GROWTH - _LAST_GROWTH) * share
        norm = point.abs().sum(dim=1, keepdim=True)
        smallest = torch.where(seen.flipped, torch.minimum(norm, state["smallest"]), state["smallest"])
        # Until the first flip, the distance at which a linear model of the margin flips: margin over dual norm.
        missing = (seen.settings.kappa - seen.margin)[:, None].clamp(min=0.0)
        reach = norm + missing / gradient.abs().amax(dim=1, keepdim=True).clamp(min=_TINY)
        grown = torch.where(smallest.isinf(), reach, state["radius"] * (1.0 + growth))
        radius = torch.where(seen.flipped, torch.minimum(state["radius"] * (1.0 - growth), smallest), grown)
        step = _LAST_STEP + (_STEP - _LAST_STEP) * share
        # Into the box first: shrinking does not leave it, and what a bound cuts off is left of the ball for others.
        moved = seen.project(point - step * gradient / gradient.norm(dim=1, keepdim=True).clamp(min=_TINY))
        return {"point": l1_ball(moved, radius), "radius": radius, "smallest": smallest}


def l1_ball(points: Tensor, radius: Tensor) -> Tensor:
    """Project each row of points (rows, size) onto |d|_1 <= radius (rows, 1); Duchi et al., ICML 2008."""
    magnitude = points.abs()
    falling = magnitude.sort(dim=1, descending=True).values
    excess = falling.cumsum(dim=1) - radius
    count = torch.arange(1, points.shape[1] + 1, device=points.device, dtype=points.dtype)
    kept = (falling * count > excess).sum(dim=1, keepdim=True).clamp(min=1)
    threshold = (excess.gather(1, kept - 1) / kept).clamp(min=0.0)
    shrunk = points.sign() * (magnitude - threshold).clamp(min=0.0)
    return torch.where(magnitude.sum(dim=1, keepdim=True) <= radius, points, shrunk)
