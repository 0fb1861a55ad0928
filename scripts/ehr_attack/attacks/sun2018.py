"""The update of the published code of Sun et al. (KDD 2018): subgradient of both terms, then a shrink by lambda.

It is not textbook ISTA: lambda |d|_1 is in the gradient, and the shrink is by lambda, not rate x lambda. In effect
the weight of |d|_1 is (1 + 1 / rate) lambda. There is no box.
"""

from typing import ClassVar

from ehr_attack.attacks.mode import Mode, Seen, State, soft_threshold


class Sun2018(Mode):
    """d <- shrink(d - rate (g + lambda sign(d)), lambda)."""

    constrained: ClassVar[bool] = False
    rests_at_zero: ClassVar[bool] = True

    def update(self, state: State, seen: Seen) -> State:
        """One published step."""
        point = state["point"]
        moved = point - seen.settings.rate * (seen.gradient + seen.lambdas * point.sign())
        return {"point": soft_threshold(moved, seen.lambdas)}

    def lambda_factor(self, rate: float) -> float:
        """The published grid is meant for this update."""
        return 1.0
