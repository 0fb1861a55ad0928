"""A mistake, made on purpose: the LSTM of the study on transposed records."""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from ehr_attack.mistakes import MOST_HOURS
from ehr_attack.models.sequence import valid_hours


class TransposedLSTM(nn.Module):
    """The LSTM of Sun et al. (hidden 128, dense 32) whose sequence runs over variables; an hour is a feature.

    Records shorter than 48 hours are filled up with zeros, as are hours after the end of a stay.
    """

    inputs = "values"

    def __init__(self, n_features: int, hidden_size: int = 128, dense_size: int = 32) -> None:
        super().__init__()
        self.lstm = nn.LSTM(MOST_HOURS, hidden_size, batch_first=True)
        self.dense = nn.Linear(hidden_size, dense_size)
        self.output = nn.Linear(dense_size, 2)

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Map inputs (batch, time, feature), of at most 48 hours, to logits (batch, 2): survival, death."""
        shown = inputs * valid_hours(inputs, lengths)[:, :, None]
        by_variable = pad(shown.transpose(1, 2), (0, MOST_HOURS - inputs.shape[1]))
        states, _ = self.lstm(by_variable)
        logits: Tensor = self.output(torch.relu(self.dense(states[:, -1])))
        return logits
