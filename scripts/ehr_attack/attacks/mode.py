"""What an attack mode is: the update of one step, its lambda grid, and whether its attacks must be feasible."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Step = Callable[[Tensor, Tensor, Tensor, float], Tensor]
"""(perturbation, gradient, lambdas, rate) -> next perturbation.

perturbation, gradient: (rows, hours, features), scaled units, the gradient of logit_y - logit_t; lambdas:
(rows, 1, 1). A pure function, row by row, whose fixed point at zero does not depend on anything but its arguments.
"""


@dataclass(frozen=True)
class Mode:
    """An attack mode.

    `lambda_factor(rate)` times the configured grid of lambdas is the mode's own grid. A `constrained` mode stays in
    the box [0, 1] and in the mutable cells, needs the configured margin kappa to stop, and succeeds only where its
    perturbation is feasible. An unconstrained one follows the published code: no box, kappa 0.
    """

    name: str
    step: Step
    lambda_factor: Callable[[float], float]
    constrained: bool


def soft_threshold(values: Tensor, threshold: Tensor) -> Tensor:
    """Shrink every entry towards zero by `threshold`, the proximal operator of threshold * |.|_1."""
    return torch.sign(values) * (values.abs() - threshold).clamp(min=0.0)
