"""The logistic baseline and GRU-D side by side: each learns by itself, their logits are averaged."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from ehr_attack.inputs import VALUES_MASK_DELTA
from ehr_attack.models.grud import GRUDClassifier
from ehr_attack.models.logistic import LogisticClassifier


class EnsembleClassifier(nn.Module):
    """Logistic regression on summaries of a stay, and GRU-D -> mean of their logits."""

    inputs: ClassVar[str] = VALUES_MASK_DELTA

    def __init__(self, n_features: int) -> None:
        """`n_features`: the channels of `values_mask_delta`, three a variable."""
        super().__init__()
        self.logistic = LogisticClassifier(n_features // 3 * 2)
        self.grud = GRUDClassifier(n_features)

    @property
    def members(self) -> list[nn.Module]:
        """The members, each of which learns at its own rate and weight decay."""
        return [self.logistic, self.grud]

    @torch.no_grad()
    def fit_inputs(self, inputs: Tensor, lengths: Tensor) -> None:
        """Set the buffers of both members by the training inputs."""
        self.logistic.fit_inputs(self._summarised(inputs), lengths)
        self.grud.fit_inputs(inputs, lengths)

    def member_logits(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits (members, batch, 2) of each member by itself, for its own loss in training."""
        return torch.stack([self.logistic(self._summarised(inputs), lengths), self.grud(inputs, lengths)])

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Map inputs (batch, time, feature) to logits (batch, 2); `lengths` (batch,), int64: valid hours; None: all."""
        return self.member_logits(inputs, lengths).mean(dim=0)

    @staticmethod
    def _summarised(inputs: Tensor) -> Tensor:
        """The channels that the logistic regression sees: values and masks."""
        return inputs[..., : inputs.shape[-1] // 3 * 2]
