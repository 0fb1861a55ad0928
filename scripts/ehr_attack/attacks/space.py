"""What an attack may vary, and how that becomes a change of the features that the model sees."""

from typing import Protocol

import torch
from torch import Tensor


class Space(Protocol):
    """The numbers that an attack optimises, `size` of them a stay; all zero: the record as it is.

    `stays` (rows,), int64, says which stay each row belongs to; `point` (rows, size), float32, scaled units.
    """

    size: int

    def features(self, stays: Tensor, point: Tensor) -> Tensor:
        """The scaled features (rows, hours, features) that the model sees at `point`, in its dtype."""

    def pull(self, stays: Tensor, point: Tensor, gradient: Tensor) -> Tensor:
        """The gradient (rows, size) with respect to `point` from the one with respect to `features`, same rows."""

    def bounds(self, stays: Tensor) -> tuple[Tensor, Tensor]:
        """The smallest and largest point that a constrained attack may reach, each (rows, size).

        low <= 0 <= high everywhere; both 0 where nothing may change.
        """


class CellSpace:
    """One number a cell (hour, feature): the change of the imputed, scaled value that the model sees."""

    def __init__(self, inputs: Tensor, mutable: Tensor, box: tuple[float, float] = (0.0, 1.0)) -> None:
        """inputs: (stays, hours, features), scaled; mutable: bool, same shape; box: limits of a changed input.

        An input that lies outside the box may stay where it is or move towards it.
        """
        self._inputs = inputs
        self.shape = inputs.shape[1:]
        self.size = inputs[0].numel() if len(inputs) else int(torch.tensor(self.shape).prod())
        flat, free = inputs.flatten(1), mutable.flatten(1)
        self._low = ((box[0] - flat).clamp(max=0.0)) * free
        self._high = ((box[1] - flat).clamp(min=0.0)) * free

    def features(self, stays: Tensor, point: Tensor) -> Tensor:
        """The inputs of `stays` plus `point`."""
        return self._inputs[stays].to(point.dtype) + point.view(-1, *self.shape)

    def pull(self, stays: Tensor, point: Tensor, gradient: Tensor) -> Tensor:
        """The gradient itself, flat."""
        return gradient.flatten(1)

    def cell_delta(self, stays: Tensor, point: Tensor) -> Tensor:
        """The point itself, (rows, hours, features)."""
        return point.view(-1, *self.shape)

    def bounds(self, stays: Tensor) -> tuple[Tensor, Tensor]:
        """The way to the box, in mutable cells."""
        return self._low[stays], self._high[stays]
