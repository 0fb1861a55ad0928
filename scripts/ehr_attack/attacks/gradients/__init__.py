"""How the gradient of a model with respect to its inputs is computed: several paths behind one interface."""

from typing import Protocol

import torch
from torch import Tensor, nn


class GradientPath(Protocol):
    """Margins and input gradients of a batch.

    any_rows: a row's result does not depend on the number of rows beside it, bit by bit, so that fewer may be computed.
    """

    name: str
    any_rows: bool

    def __call__(self, inputs: Tensor, lengths: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Margins logit_t - logit_y (rows,), and the gradient of logit_y - logit_t with respect to inputs, same shape.

        inputs: float32 (rows, hours, channels); lengths: int64 (rows,), valid hours; labels: int64 (rows,), class y.
        """


def gradient_path(model: nn.Module, wanted: str = "auto", device: torch.device | None = None) -> GradientPath:
    """The path `wanted` (auto, autograd, manual, fused) for `model`; auto: the fastest that is there."""
    from ehr_attack.attacks.gradients.autograd import Autograd

    return Autograd(model)


def freeze(model: nn.Module) -> None:
    """Make gradients flow to inputs only; dropout off, recurrent layers in the mode that cuDNN's backward needs."""
    model.eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for module in model.modules():
        if isinstance(module, nn.RNNBase) and not module.dropout:
            module.train()
