"""A small transformer encoder over the hours, read by the mean of its states."""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ehr_attack.models.sequence import valid_hours

# The fused kernels of inference round otherwise than the path with gradients that the attack takes.
torch.backends.mha.set_fastpath_enabled(False)


class TransformerClassifier(nn.Module):
    """Embedding and position -> two encoder layers (width 32, 2 heads) -> mean over the hours -> two logits."""

    weight_decay: ClassVar[float] = 0.01

    def __init__(self, n_features: int, width: int = 32, heads: int = 2, layers: int = 2, dropout: float = 0.2) -> None:
        super().__init__()
        self.embedding = nn.Linear(n_features, width)
        layer = nn.TransformerEncoderLayer(
            width, heads, dim_feedforward=2 * width, dropout=dropout, batch_first=True, norm_first=True
        )
        layer.self_attn.dropout = 0.0  # dropout of the weights of all pairs of hours takes half of the time
        self.encoder = nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(width, 2)

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Map inputs (batch, time, feature) to logits (batch, 2); `lengths` (batch,), int64: valid hours; None: all."""
        valid = valid_hours(inputs, lengths)
        embedded = self.embedding(inputs)
        embedded = embedded + _positions(inputs.shape[1], embedded.shape[-1]).to(embedded)
        # The other kernels are not deterministic on every device, nor is there one for float64.
        with sdpa_kernel(SDPBackend.MATH):
            states = self.encoder(embedded, src_key_padding_mask=~valid)
        weight = valid.to(states.dtype)[..., None]
        pooled = (states * weight).sum(dim=1) / weight.sum(dim=1)
        logits: Tensor = self.output(self.dropout(pooled))
        return logits


def _positions(time: int, width: int) -> Tensor:
    """The sinusoidal encoding of Vaswani et al. (2017), float64 (time, width)."""
    rate = torch.exp(torch.arange(0, width, 2, dtype=torch.float64) * (-math.log(10_000.0) / width))
    angle = torch.arange(time, dtype=torch.float64)[:, None] * rate
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)
