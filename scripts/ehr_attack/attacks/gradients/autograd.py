"""Gradients by torch's autograd: any model, any device. The reference for every other path."""

import torch
from torch import Tensor, nn


class Autograd:
    """Margins and input gradients of any model."""

    name = "autograd"
    any_rows = False  # how a matrix product sums up depends on the number of its rows

    def __init__(self, model: nn.Module) -> None:
        self._model = model

    def __call__(self, inputs: Tensor, lengths: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """See `GradientPath`."""
        leaf = inputs.detach().requires_grad_(True)
        margin = margins(self._model, leaf, lengths, labels)
        (gradient,) = torch.autograd.grad(-margin.sum(), leaf)
        return margin.detach(), gradient


def margins(model: nn.Module, inputs: Tensor, lengths: Tensor, labels: Tensor) -> Tensor:
    """logit_t - logit_y of every row, (rows,): positive where the prediction is not the label."""
    logits = model(inputs, lengths)
    margin: Tensor = (logits[:, 1] - logits[:, 0]) * (1 - 2 * labels).to(logits.dtype)
    return margin
