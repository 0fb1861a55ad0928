"""The reference: margins and gradients of any torch model by torch's automatic differentiation."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from ehr_attack.attacks.gradients.margins import margins_of


def margins(model: nn.Module, inputs: Tensor, lengths: Tensor, labels: Tensor) -> Tensor:
    """logit_t - logit_y of every row, (rows,): positive where the prediction is not the label."""
    return margins_of(model(inputs, lengths), labels)


class AutogradPath:
    """Any model that maps inputs (rows, hours, channels) and lengths (rows,) to logits (rows, 2), on any device.

    Weights that do not ask for a gradient cost none: freeze the model first (`ehr_attack.attacks.gradients.freeze`).
    """

    name: ClassVar[str] = "autograd"
    any_rows: ClassVar[bool] = False  # how a matrix product sums up depends on the number of its rows

    def __init__(self, model: nn.Module) -> None:
        self._model = model

    def __call__(self, inputs: Tensor, lengths: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Margins (rows,) and gradients (rows, hours, channels): see `GradientPath`."""
        with torch.enable_grad():
            leaf = inputs.detach().requires_grad_(True)
            margin = margins(self._model, leaf, lengths, labels)
            (gradient,) = torch.autograd.grad(-margin.sum(), leaf)
        return margin.detach(), gradient
