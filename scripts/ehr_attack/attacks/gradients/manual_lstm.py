"""The gradient of `LSTMClassifier` with respect to its input, written by hand: no gradient of a weight is ever made.

With a_i, a_f, a_g, a_o the gates before their activations, c the cell, h the hidden state (torch's nn.LSTM):
i, f, o = sigmoid(a_i, a_f, a_o); g = tanh(a_g); c = f c_before + i g; h = o tanh(c).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ehr_attack.attacks.gradients.margins import margins_of, signs_of
from ehr_attack.attacks.gradients.recurrent import Ends, Product, RecurrentWeights, side_by_side
from ehr_attack.models.lstm import LSTMClassifier

Cells = tuple[Callable[..., tuple[Tensor, ...]], Callable[..., tuple[Tensor, Tensor]]]


def forward_cell(
    gates: Tensor, cell: Tensor, ends: Tensor, last: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """One hour of all rows.

    gates: (rows, 4 units), before their activations; cell, last: (rows, units), the latter the hidden state after the
    last valid hour, once it is known; ends: bool (rows, 1), whether that hour is this one. Returns the hidden state in
    `dtype`, and the next cell and last.
    """
    i, f, g, o = _activated(gates, cell)
    cell = f * cell + i * g
    hidden = o * cell.tanh()
    return hidden.to(dtype), cell, torch.where(ends, hidden, last)


def backward_cell(
    d_hidden: Tensor,
    d_cell: Tensor,
    d_last: Tensor,
    ends: Tensor,
    gates: Tensor,
    before: Tensor,
    cell: Tensor,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """One hour of all rows back.

    d_hidden, d_cell, d_last: (rows, units), gradients by the hidden state, the cell and the last hidden state; before,
    cell: the cell before and after the hour; the rest as in `forward_cell`. Activations are made anew: on a GPU that
    costs less than to keep and read them. Returns the gradients by the gates, in `dtype`, and by the cell before.
    """
    d_hidden = torch.where(ends, d_last, d_hidden)
    i, f, g, o = _activated(gates, cell)
    squashed = cell.tanh()
    d_cell = d_cell + d_hidden * o * (1 - squashed * squashed)
    d_i = d_cell * g * (i * (1 - i))
    d_f = d_cell * before * (f * (1 - f))
    d_g = d_cell * i * (1 - g * g)
    d_o = d_hidden * squashed * (o * (1 - o))
    return torch.cat([d_i, d_f, d_g, d_o], dim=1).to(dtype), d_cell * f


def _activated(gates: Tensor, like: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """i, f, g, o (rows, units), in the dtype of `like`."""
    a_i, a_f, a_g, a_o = gates.to(like.dtype).chunk(4, dim=1)
    return a_i.sigmoid(), a_f.sigmoid(), a_g.tanh(), a_o.sigmoid()


class Head:
    """The layers after the last hidden state: dense, ReLU, two logits."""

    def __init__(self, model: LSTMClassifier) -> None:
        self._dense, self._dense_bias = model.dense.weight.detach(), model.dense.bias.detach()
        self._output, self._output_bias = model.output.weight.detach(), model.output.bias.detach()

    def __call__(self, last: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Margins (rows,), and the gradient of -margin by the last hidden state (rows, units)."""
        dense = torch.addmm(self._dense_bias, last, self._dense.t())
        margin = margins_of(torch.addmm(self._output_bias, dense.relu(), self._output.t()), labels)
        d_dense = (self._output[0] - self._output[1]) * (dense > 0) * signs_of(labels, dense)[:, None]
        return margin, d_dense @ self._dense


class ManualLSTM:
    """Margins and gradients of one model. Its weights are multiplied in `dtype`, all else is done in theirs."""

    def __init__(self, model: LSTMClassifier, dtype: torch.dtype, cells: Cells) -> None:
        weights = RecurrentWeights.of(model.lstm)
        self._units, self._dtype = model.lstm.hidden_size, dtype
        self._forward, self._backward = cells
        self._head = Head(model)
        self._bias = weights.input_bias + weights.hidden_bias
        self._input_to_gates = Product(weights.input.t(), dtype)
        self._hidden_to_gates = Product(weights.hidden.t(), dtype)
        self._to_hidden_and_input = Product(side_by_side(weights.hidden, weights.input), dtype)

    def __call__(self, inputs: Tensor, lengths: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Margins (rows,) and gradients (rows, hours, channels): see `GradientPath`."""
        rows, hours, channels = inputs.shape
        ends = Ends.of(inputs, lengths)
        gates = self._input_to_gates(ends.hour_by_hour(inputs), self._bias)  # the hidden state's part is added below
        cell, last = (inputs.new_zeros(rows, self._units) for _ in range(2))
        cells = [cell]
        hidden = None
        for hour in range(hours):
            if hidden is not None:
                self._hidden_to_gates.add_to(gates[hour], hidden)
            hidden, cell, last = self._forward(gates[hour], cells[hour], ends.last[hour], last, self._dtype)
            cells.append(cell)
        margin, d_last = self._head(last, labels)
        d_cell = torch.zeros_like(last)
        both = self._to_hidden_and_input.nothing(rows)
        d_inputs = []
        for hour in reversed(range(hours)):
            d_hidden = both[:, : self._units]
            kept = gates[hour], cells[hour], cells[hour + 1]
            d_gates, d_cell = self._backward(d_hidden, d_cell, d_last, ends.last[hour], *kept, self._dtype)
            both = self._to_hidden_and_input(d_gates)
            d_inputs.append(both[:, self._units : self._units + channels])
        return margin, ends.row_by_row(torch.stack(d_inputs[::-1])).to(inputs.dtype)
