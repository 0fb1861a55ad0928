"""GRU-D (Che et al., Recurrent Neural Networks for Multivariate Time Series with Missing Values, 2018).

A value that was not recorded decays from the last one towards the variable's mean, and the hidden state decays too,
the more the longer ago the last record is. The imputed value stands for the last one: with forward imputation, it is.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from ehr_attack.inputs import VALUES_MASK_DELTA
from ehr_attack.models.sequence import last_valid


class GRUDClassifier(nn.Module):
    """GRU-D (hidden 64) over the hours -> last hidden state -> dropout -> two logits."""

    inputs: ClassVar[str] = VALUES_MASK_DELTA
    lr: ClassVar[float] = 0.002
    weight_decay: ClassVar[float] = 0.01

    mean: Tensor

    def __init__(self, n_features: int, hidden_size: int = 64, dropout: float = 0.3) -> None:
        """`n_features`: the channels of `values_mask_delta`, three a variable."""
        super().__init__()
        n_variables = n_features // 3
        self.register_buffer("mean", torch.full((n_variables,), 0.5))
        self.decay_rate = nn.Parameter(torch.full((n_variables,), 1.0))
        self.decay_offset = nn.Parameter(torch.zeros(n_variables))
        self.state_decay = nn.Linear(n_variables, hidden_size)
        self.from_input = nn.Linear(2 * n_variables, 3 * hidden_size)
        self.from_state = nn.Linear(hidden_size, 3 * hidden_size)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden_size, 2)

    @torch.no_grad()
    def fit_inputs(self, inputs: Tensor, lengths: Tensor) -> None:
        """Take the mean of each variable's recorded training values, to which values decay."""
        values, mask, _ = inputs.chunk(3, dim=-1)
        self.mean.copy_((values * mask).sum(dim=(0, 1)) / mask.sum(dim=(0, 1)).clamp(min=1.0))

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Map inputs (batch, time, feature) to logits (batch, 2); `lengths` (batch,), int64: valid hours; None: all."""
        values, mask, delta = inputs.chunk(3, dim=-1)
        decay = torch.exp(-torch.relu(self.decay_rate * delta + self.decay_offset))
        estimated = decay * values + (1.0 - decay) * self.mean
        known = mask * values + (1.0 - mask) * estimated
        states = self._states(
            self.from_input(torch.cat([known, mask], dim=-1)), torch.exp(-torch.relu(self.state_decay(delta)))
        )
        logits: Tensor = self.output(self.dropout(last_valid(states, lengths)))
        return logits

    def _states(self, gates: Tensor, decay: Tensor) -> Tensor:
        """Hidden states (batch, time, hidden); gates: (batch, time, 3 hidden), decay: (batch, time, hidden)."""
        state = torch.zeros_like(decay[:, 0])
        states: list[Tensor] = []
        for gate, kept in zip(gates.unbind(dim=1), decay.unbind(dim=1), strict=True):
            state = kept * state
            reset, update, new = gate.chunk(3, dim=-1)
            reset_state, update_state, new_state = self.from_state(state).chunk(3, dim=-1)
            candidate = torch.tanh(new + torch.sigmoid(reset + reset_state) * new_state)
            state = candidate + torch.sigmoid(update + update_state) * (state - candidate)
            states.append(state)
        return torch.stack(states, dim=1)
