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


def forward_cell(
    projected: Tensor, recurrent: Tensor, hidden: Tensor, ends: Tensor, last: Tensor, dtype: torch.dtype
) -> tuple[Tensor, ...]:
    """One hour of all rows.

    projected, recurrent: p and q (rows, 3 units); hidden, last: (rows, units), the latter the hidden state after the
    last valid hour, once it is known; ends: bool (rows, 1), whether that hour is this one. Returns the hidden state,
    the same in `dtype`, and last, and for the way back r, z and n side by side, and q_n.
    """
    p_r, p_z, p_n = projected.chunk(3, dim=1)
    q_r, q_z, q_n = recurrent.chunk(3, dim=1)
    r, z = (p_r + q_r).sigmoid(), (p_z + q_z).sigmoid()
    n = (p_n + r * q_n).tanh()
    hidden = n + z * (hidden - n)
    return hidden, hidden.to(dtype), torch.where(ends, hidden, last), torch.cat([r, z, n], dim=1), q_n.to(hidden.dtype)


def backward_cell(
    d_product: Tensor,
    d_kept: Tensor,
    d_last: Tensor,
    ends: Tensor,
    active: Tensor,
    q_n: Tensor,
    before: Tensor,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor, Tensor]:
    """One hour of all rows back.

    d_product + d_kept: (rows, units), the gradient by the hidden state; d_last by the last one; active: r, z, n;
    before: the hidden state before. Returns the gradients by p and by q (rows, 3 units), in `dtype`, and what of the
    gradient by the hidden state before does not come through q.
    """
    d_hidden = torch.where(ends, d_last, d_product + d_kept)
    r, z, n = active.chunk(3, dim=1)
    d_n = d_hidden * (1 - z) * (1 - n * n)
    d_z = d_hidden * (before - n) * (z * (1 - z))
    d_r = d_n * q_n * (r * (1 - r))
    d_p, d_q = torch.cat([d_r, d_z, d_n], dim=1), torch.cat([d_r, d_z, d_n * r], dim=1)
    return d_p.to(dtype), d_q.to(dtype), d_hidden * z


class ManualGRU:
    """Margins and gradients of one model, dropout off. Its weights are multiplied in `dtype`, all else in theirs."""

    def __init__(self, model: GRUClassifier, dtype: torch.dtype, cells: Cells) -> None:
        weights = RecurrentWeights.of(model.gru)
        self._units, self._dtype = model.gru.hidden_size, dtype
        self._forward, self._backward = cells
        self._bias, self._recurrent_bias = weights.input_bias, weights.hidden_bias
        self._to_p, self._to_input = Product(weights.input.t(), dtype), Product(weights.input, dtype)
        self._to_q, self._to_hidden = Product(weights.hidden.t(), dtype), Product(weights.hidden, dtype)
        self._output, self._output_bias = model.output.weight.detach(), model.output.bias.detach()

    def __call__(self, inputs: Tensor, lengths: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Margins (rows,) and gradients (rows, hours, channels): see `GradientPath`."""
        rows, hours, _ = inputs.shape
        ends = Ends.of(inputs, lengths)
        projected = self._to_p(ends.hour_by_hour(inputs), self._bias)
        hidden, last = (inputs.new_zeros(rows, self._units) for _ in range(2))
        multiplied = hidden.to(self._dtype)
        saved = []
        for hour in range(hours):
            before = hidden
            recurrent = self._to_q(multiplied, self._recurrent_bias)
            hidden, multiplied, last, active, q_n = self._forward(
                projected[hour], recurrent, before, ends.last[hour], last, self._dtype
            )
            saved.append((active, q_n, before))
        margin = margins_of(torch.addmm(self._output_bias, last, self._output.t()), labels)
        d_last = (self._output[0] - self._output[1]) * signs_of(labels, last)[:, None]
        d_kept = torch.zeros_like(last)
        d_product = self._to_hidden.nothing(rows)
        d_p = []
        for hour in reversed(range(hours)):
            by_p, by_q, d_kept = self._backward(d_product, d_kept, d_last, ends.last[hour], *saved.pop(), self._dtype)
            d_product = self._to_hidden(by_q)
            d_p.append(by_p)
        return margin, ends.row_by_row(self._to_input(torch.stack(d_p[::-1]))).to(inputs.dtype)
