"""The model of Sun et al. (KDD 2018): one LSTM layer over time, last hidden state, two dense layers."""

import torch
from torch import Tensor, nn

from ehr_attack.models.sequence import last_valid


class LSTMClassifier(nn.Module):
    """LSTM (hidden 128) over the hours -> last hidden state -> dense 32, ReLU -> two logits."""

    def __init__(self, n_features: int, hidden_size: int = 128, dense_size: int = 32) -> None:
        super().__init__()
        self.lstm = nn.LSTM(n_features, hidden_size, batch_first=True)
        self.dense = nn.Linear(hidden_size, dense_size)
        self.output = nn.Linear(dense_size, 2)

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Map inputs (batch, time, feature) to logits (batch, 2): survival, death.

        `lengths` (batch,), int64: valid time steps of each row; the state after the last valid one is used. None: all.
        """
        states, _ = self.lstm(inputs)
        logits: Tensor = self.output(torch.relu(self.dense(last_valid(states, lengths))))
        return logits
