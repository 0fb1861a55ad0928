"""The gradient of `LSTMClassifier` with respect to its input, written by hand: no gradient of a weight is ever made.

With a_i, a_f, a_g, a_o the gates before their activations, c the cell, h the hidden state (torch's nn.LSTM):
i, f, o = sigmoid(a_i, a_f, a_o); g = tanh(a_g); c = f c_before + i g; h = o tanh(c).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ehr_attack.attacks.gradients.margins import margins_of, signs_of
from ehr_attack.attacks.gradients.recurrent import Ends, Product, RecurrentWeights
from ehr_attack.models.lstm import LSTMClassifier

Cells = tuple[Callable[..., tuple[Tensor, ...]], Callable[..., tuple[Tensor, Tensor]]]


def forward_cell(gates: Tensor, cell: Tensor) -> tuple[Tensor, ...]:
    """One hour: gates (rows, 4 units), cell (rows, units) -> hidden, cell, gates after activation, tanh(cell)."""
    a_i, a_f, a_g, a_o = gates.chunk(4, dim=1)
    i, f, g, o = a_i.sigmoid(), a_f.sigmoid(), a_g.tanh(), a_o.sigmoid()
    cell = f * cell + i * g
    squashed = cell.tanh()
    return o * squashed, cell, torch.cat([i, f, g, o], dim=1), squashed


def backward_cell(
    d_hidden: Tensor, d_cell: Tensor, active: Tensor, cell_before: Tensor, squashed: Tensor
) -> tuple[Tensor, Tensor]:
    """One hour back: gradients by the gates before their activations (rows, 4 units), and by the cell before."""
    i, f, g, o = active.chunk(4, dim=1)
    d_cell = d_cell + d_hidden * o * (1 - squashed * squashed)
    d_gates = torch.cat(
        [
            d_cell * g * (i * (1 - i)),
            d_cell * cell_before * (f * (1 - f)),
            d_cell * i * (1 - g * g),
            d_hidden * squashed * (o * (1 - o)),
        ],
        dim=1,
    )
    return d_gates, d_cell * f


def forward_cell_in_place(gates: Tensor, cell: Tensor) -> tuple[Tensor, ...]:
    """`forward_cell` with few passes over memory: `gates` is overwritten."""
    units = cell.shape[1]
    gates[:, : 2 * units].sigmoid_()
    gates[:, 2 * units : 3 * units].tanh_()
    gates[:, 3 * units :].sigmoid_()
    i, f, g, o = gates.chunk(4, dim=1)
    cell = torch.addcmul(f * cell, i, g)
    squashed = cell.tanh()
    return o * squashed, cell, gates, squashed


def backward_cell_in_place(
    d_hidden: Tensor, d_cell: Tensor, active: Tensor, cell_before: Tensor, squashed: Tensor
) -> tuple[Tensor, Tensor]:
    """`backward_cell` with few passes over memory."""
    sigmoid_backward, tanh_backward = torch.ops.aten.sigmoid_backward, torch.ops.aten.tanh_backward
    i, f, g, o = active.chunk(4, dim=1)
    d_cell = d_cell + tanh_backward(d_hidden * o, squashed)
    d_gates = torch.empty_like(active)
    d_i, d_f, d_g, d_o = d_gates.chunk(4, dim=1)
    sigmoid_backward.grad_input(d_cell * g, i, grad_input=d_i)
    sigmoid_backward.grad_input(d_cell * cell_before, f, grad_input=d_f)
    tanh_backward.grad_input(d_cell * i, g, grad_input=d_g)
    sigmoid_backward.grad_input(d_hidden * squashed, o, grad_input=d_o)
    return d_gates, d_cell.mul_(f)


class ManualLSTM:
    """Margins and gradients of one model; the weights are copied."""

    def __init__(self, model: LSTMClassifier, dtype: torch.dtype, cells: Cells) -> None:
        lstm = model.lstm
        self._units = lstm.hidden_size
        self._forward, self._backward = cells
        weights = RecurrentWeights.of(lstm)
        self._bias = weights.input_bias + weights.hidden_bias
        self._to_gates, self._to_input = Product(weights.input.t(), dtype), Product(weights.input, dtype)
        self._hidden_to_gates, self._to_hidden = (
            Product(weights.hidden.t(), dtype),
            Product(weights.hidden, dtype),
        )
        self._dense, self._dense_bias = model.dense.weight.detach(), model.dense.bias.detach()
        self._output, self._output_bias = model.output.weight.detach(), model.output.bias.detach()

    def __call__(self, inputs: Tensor, lengths: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Margins (rows,) and gradients (rows, hours, channels): see `GradientPath`."""
        rows, hours, channels = inputs.shape
        ends = Ends.of(inputs, lengths)
        flat = ends.hour_by_hour(inputs).reshape(hours * rows, channels)
        projected = (self._to_gates(flat) + self._bias).reshape(hours, rows, 4 * self._units)
        hidden = cell = inputs.new_zeros(rows, self._units)
        last, saved = hidden, []
        for hour in range(hours):
            gates = self._hidden_to_gates(hidden, projected[hour]) if hour else projected[0]
            hidden, after, active, squashed = self._forward(gates, cell)
            saved.append((active, cell, squashed))
            cell = after
            last = torch.where(ends.last[hour], hidden, last)
        margin, d_last = self._head(last, labels)
        d_hidden = d_cell = torch.zeros_like(last)
        d_gates = projected  # read for the last time above
        for hour in reversed(range(hours)):
            d_hidden = torch.where(ends.last[hour], d_last, d_hidden)
            d_gates[hour], d_cell = self._backward(d_hidden, d_cell, *saved.pop())
            if hour:
                d_hidden = self._to_hidden(d_gates[hour])
        d_inputs = self._to_input(d_gates.reshape(hours * rows, 4 * self._units))
        return margin, ends.row_by_row(d_inputs.reshape(hours, rows, channels))

    def _head(self, last: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Margins, and the gradient of -margin by the last hidden state (rows, units)."""
        dense = torch.addmm(self._dense_bias, last, self._dense.t())
        margin = margins_of(torch.addmm(self._output_bias, dense.relu(), self._output.t()), labels)
        d_dense = (self._output[0] - self._output[1]) * (dense > 0) * signs_of(labels, dense)[:, None]
        return margin, d_dense @ self._dense
