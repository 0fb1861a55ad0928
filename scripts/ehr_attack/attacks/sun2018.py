"""The update of the published code of Sun et al. (KDD 2018): subgradient of both terms, then a shrink by lambda.

It is not textbook ISTA: lambda |d|_1 is in the gradient, and the shrink is by lambda, not rate x lambda. In effect
the weight of |d|_1 is (1 + 1 / rate) lambda. There is no box.
"""

from torch import Tensor

from ehr_attack.attacks.mode import soft_threshold


def step(perturbation: Tensor, gradient: Tensor, lambdas: Tensor, rate: float) -> Tensor:
    """d <- shrink(d - rate (g + lambda sign(d)), lambda)."""
    return soft_threshold(perturbation - rate * (gradient + lambdas * perturbation.sign()), lambdas)


def lambda_factor(rate: float) -> float:
    """The published grid is meant for this update."""
    return 1.0
