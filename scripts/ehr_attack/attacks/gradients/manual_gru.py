"""The gradient of `GRUClassifier` with respect to its input, written by hand: no gradient of a weight is ever made.

With p = W_i x + b_i and q = W_h h + b_h, each for r, z, n (torch's nn.GRU), h the hidden state:
r = sigmoid(p_r + q_r); z = sigmoid(p_z + q_z); n = tanh(p_n + r q_n); h = (1 - z) n + z h_before.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ehr_attack.attacks.gradients.margins import margins_of, signs_of
from ehr_attack.attacks.gradients.recurrent import Ends, Product, RecurrentWeights
from ehr_attack.models.gru import GRUClassifier

Cells = tuple[Callable[..., tuple[Tensor, ...]], Callable[..., tuple[Tensor, Tensor, Tensor]]]


def forward_cell(projected: Tensor, recurrent: Tensor, hidden: Tensor) -> tuple[Tensor, ...]:
    """One hour: p and q (rows, 3 units), hidden (rows, units) -> hidden, and r, z, n, q_n for the way back."""
    p_r, p_z, p_n = projected.chunk(3, dim=1)
    q_r, q_z, q_n = recurrent.chunk(3, dim=1)
    r, z = (p_r + q_r).sigmoid(), (p_z + q_z).sigmoid()
    n = (p_n + r * q_n).tanh()
    return n + z * (hidden - n), r, z, n, q_n


def backward_cell(
    d_hidden: Tensor, r: Tensor, z: Tensor, n: Tensor, q_n: Tensor, before: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """One hour back: gradients by p and by q (rows, 3 units), and by the hidden state before but for q's part."""
    d_n = d_hidden * (1 - z) * (1 - n * n)
    d_z = d_hidden * (before - n) * (z * (1 - z))
    d_r = d_n * q_n * (r * (1 - r))
    return torch.cat([d_r, d_z, d_n], dim=1), torch.cat([d_r, d_z, d_n * r], dim=1), d_hidden * z


class ManualGRU:
    """Margins and gradients of one model; the weights are copied. Dropout is off, as in evaluation."""

    def __init__(self, model: GRUClassifier, dtype: torch.dtype, cells: Cells) -> None:
        gru = model.gru
        self._units = gru.hidden_size
        self._forward, self._backward = cells
        weights = RecurrentWeights.of(gru)
        self._bias, self._recurrent_bias = weights.input_bias, weights.hidden_bias
        self._to_p, self._to_input = Product(weights.input.t(), dtype), Product(weights.input, dtype)
        self._to_q, self._to_hidden = Product(weights.hidden.t(), dtype), Product(weights.hidden, dtype)
        self._output, self._output_bias = model.output.weight.detach(), model.output.bias.detach()

    def __call__(self, inputs: Tensor, lengths: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Margins (rows,) and gradients (rows, hours, channels): see `GradientPath`."""
        rows, hours, channels = inputs.shape
        ends = Ends.of(inputs, lengths)
        flat = ends.hour_by_hour(inputs).reshape(hours * rows, channels)
        projected = (self._to_p(flat) + self._bias).reshape(hours, rows, 3 * self._units)
        hidden = inputs.new_zeros(rows, self._units)
        recurrent_bias = self._recurrent_bias.expand(rows, -1)
        last, saved = hidden, []
        for hour in range(hours):
            before = hidden
            recurrent = self._to_q(hidden, recurrent_bias) if hour else recurrent_bias
            hidden, *kept = self._forward(projected[hour], recurrent, before)
            saved.append((*kept, before))
            last = torch.where(ends.last[hour], hidden, last)
        margin = margins_of(torch.addmm(self._output_bias, last, self._output.t()), labels)
        d_last = (self._output[0] - self._output[1]) * signs_of(labels, last)[:, None]
        d_hidden = torch.zeros_like(last)
        d_projected = projected  # read for the last time above
        for hour in reversed(range(hours)):
            d_hidden = torch.where(ends.last[hour], d_last, d_hidden)
            d_projected[hour], d_recurrent, d_kept = self._backward(d_hidden, *saved.pop())
            if hour:
                d_hidden = self._to_hidden(d_recurrent, d_kept)
        d_inputs = self._to_input(d_projected.reshape(hours * rows, 3 * self._units))
        return margin, ends.row_by_row(d_inputs.reshape(hours, rows, channels))
