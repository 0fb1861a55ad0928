"""A gated recurrent unit over time, with dropout before its one output layer."""

from typing import ClassVar

from torch import Tensor, nn

from ehr_attack.models.sequence import last_valid


class GRUClassifier(nn.Module):
    """GRU (hidden 64) over the hours -> last hidden state -> dropout -> two logits."""

    weight_decay: ClassVar[float] = 0.01

    def __init__(self, n_features: int, hidden_size: int = 64, dropout: float = 0.3) -> None:
        super().__init__()
        self.gru = nn.GRU(n_features, hidden_size, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden_size, 2)

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Map inputs (batch, time, feature) to logits (batch, 2); `lengths` (batch,), int64: valid hours; None: all."""
        states, _ = self.gru(inputs)
        logits: Tensor = self.output(self.dropout(last_valid(states, lengths)))
        return logits
