"""Textbook proximal gradient descent (ISTA) on max(logit_y - logit_t, -kappa) + lambda |d|_1, in the box.

Its lambda grid is that of the published update times the effective weight of the latter, 1 + 1 / rate, so that equal
positions of the two grids give like attacks.
"""

from torch import Tensor

from ehr_attack.attacks.mode import soft_threshold


def step(perturbation: Tensor, gradient: Tensor, lambdas: Tensor, rate: float) -> Tensor:
    """d <- shrink(d - rate g, rate lambda)."""
    return soft_threshold(perturbation - rate * gradient, rate * lambdas)


def lambda_factor(rate: float) -> float:
    """The effective weight of |d|_1 in the published update."""
    return 1.0 + 1.0 / rate
