"""Logistic regression on summaries of a stay: the baseline that a model of sequences has to beat."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from ehr_attack.inputs import VALUES_MASK
from ehr_attack.models.sequence import last_valid, valid_hours

_LEAST_VARIANCE = 1e-8


class LogisticClassifier(nn.Module):
    """First, last, mean, least, largest, spread and slope of a variable's values, share recorded -> two logits."""

    inputs: ClassVar[str] = VALUES_MASK
    lr: ClassVar[float] = 0.003
    weight_decay: ClassVar[float] = 3.0

    mean: Tensor
    scale: Tensor

    def __init__(self, n_features: int) -> None:
        """`n_features`: the channels of `values_mask`, two a variable."""
        super().__init__()
        n_summaries = 8 * (n_features // 2)
        self.register_buffer("mean", torch.zeros(n_summaries))
        self.register_buffer("scale", torch.ones(n_summaries))
        self.output = nn.Linear(n_summaries, 2)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    @torch.no_grad()
    def fit_inputs(self, inputs: Tensor, lengths: Tensor) -> None:
        """Take mean and standard deviation of the training stays' summaries, by which they are standardised."""
        summaries = self.summaries(inputs, lengths)
        deviation = summaries.std(dim=0)
        self.mean.copy_(summaries.mean(dim=0))
        self.scale.copy_(torch.where(deviation > 1e-4, deviation, 1.0))

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Map inputs (batch, time, feature) to logits (batch, 2); `lengths` (batch,), int64: valid hours; None: all."""
        logits: Tensor = self.output((self.summaries(inputs, lengths) - self.mean) / self.scale)
        return logits

    @staticmethod
    def summaries(inputs: Tensor, lengths: Tensor | None) -> Tensor:
        """Summaries (batch, 8 x variables) of inputs (batch, time, 2 x variables)."""
        valid = valid_hours(inputs, lengths)[..., None]
        values, mask = inputs.chunk(2, dim=-1)
        return torch.cat([_of_values(values, valid, lengths), _mean(mask, valid)], dim=-1)


def _of_values(values: Tensor, valid: Tensor, lengths: Tensor | None) -> Tensor:
    mean = _mean(values, valid)
    centred = values - mean[:, None]
    hour = torch.arange(values.shape[1], device=values.device, dtype=values.dtype)[None, :, None].expand_as(values)
    hour = hour - _mean(hour, valid)[:, None]
    slope = _mean(centred * hour, valid) / _mean(hour.square(), valid).clamp(min=1.0)
    spread = (_mean(centred.square(), valid) + _LEAST_VARIANCE).sqrt()
    least = values.masked_fill(~valid, torch.inf).amin(dim=1)
    largest = values.masked_fill(~valid, -torch.inf).amax(dim=1)
    return torch.cat([values[:, 0], last_valid(values, lengths), mean, least, largest, spread, slope], dim=-1)


def _mean(values: Tensor, valid: Tensor) -> Tensor:
    """Mean over the valid hours, (batch, features)."""
    weight = valid.to(values.dtype)
    return torch.where(valid, values, 0.0).sum(dim=1) / weight.sum(dim=1)
