"""What goes into a search and what comes out of it: the attacked stays, and rows (stay x lambda) that have ended."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True)
class Victims:
    """Correctly classified stays to attack.

    inputs: float32 (stays, hours, features), scaled; lengths: int64 (stays,), valid hours; labels: int64 (stays,), the
    true and predicted class; mutable: bool (stays, hours, features), cells that a constrained attack may change;
    constants: float32 (stays, hours, channels), what the model sees after the features and no attack changes, or None;
    keys: int64 (stays,), what tells the stays apart whatever the sharding (their ids), or None: their position.
    """

    inputs: Tensor
    lengths: Tensor
    labels: Tensor
    mutable: Tensor
    constants: Tensor | None = None
    keys: Tensor | None = None

    def seen(self, stays: Tensor, features: Tensor) -> Tensor:
        """What the model sees of `stays` (rows,) with `features` (rows, hours, features) in place of their inputs."""
        if self.constants is None or not self.constants.shape[-1]:
            return features
        return torch.cat([features, self.constants[stays].to(features)], dim=-1)

    def subset(self, stays: Tensor) -> "Victims":
        """Some of the stays, in the order of their positions `stays` (rows,)."""
        return self._each(lambda part: part[stays])

    def to(self, device: torch.device) -> "Victims":
        """The same on another device."""
        return self._each(lambda part: part.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Victims":
        return Victims(
            change(self.inputs),
            change(self.lengths),
            change(self.labels),
            change(self.mutable),
            None if self.constants is None else change(self.constants),
            None if self.keys is None else change(self.keys),
        )


@dataclass(frozen=True)
class FinishedRows:
    """Rows whose search has ended; every tensor's first axis is the row.

    stay, position: int64, index into the victims and into the grid of lambdas; point: float32 (rows, size), the
    perturbation in the units of the space: the flip found (the smallest, in modes that go on), else the last point;
    steps: int64, updates made; flipped: bool, by the mode's float32 rule; margin: float32, logit_t - logit_y at
    `point`; falling, vanished, stuck: bool, of a row without a flip: its margin still grew at the last step; its
    gradient is zero; its last step changed nothing but was held by a bound. pruned: bool, not searched, because a
    smaller lambda of the stay failed; audited: bool, searched all the same; rested: bool, not searched, because its
    first update leaves it at zero.
    """

    stay: Tensor
    position: Tensor
    point: Tensor
    steps: Tensor
    flipped: Tensor
    margin: Tensor
    falling: Tensor
    vanished: Tensor
    stuck: Tensor
    pruned: Tensor
    audited: Tensor
    rested: Tensor


def joined(blocks: Sequence[FinishedRows]) -> FinishedRows:
    """Blocks of rows end to end."""
    if len(blocks) == 1:
        return blocks[0]
    return FinishedRows(
        **{field.name: torch.cat([getattr(block, field.name) for block in blocks]) for field in fields(FinishedRows)}
    )
