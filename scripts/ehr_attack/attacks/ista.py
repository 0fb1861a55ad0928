"""Textbook proximal gradient descent (ISTA) on max(logit_y - logit_t, -kappa) + lambda |d|_1, in the box.

Its lambda grid is that of the published update times the effective weight of the latter, 1 + 1 / rate, so that equal
positions of the two grids give like attacks.
"""

from typing import ClassVar

from ehr_attack.attacks.mode import Mode, Seen, State, soft_threshold


class ISTA(Mode):
    """d <- shrink(d - rate g, rate lambda)."""

    rests_at_zero: ClassVar[bool] = True

    def update(self, state: State, seen: Seen) -> State:
        """One proximal step."""
        rate = seen.settings.rate
        return {"point": soft_threshold(state["point"] - rate * seen.gradient, rate * seen.lambdas)}

    def lambda_factor(self, rate: float) -> float:
        """The effective weight of |d|_1 in the published update."""
        return 1.0 + 1.0 / rate
