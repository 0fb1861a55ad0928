"""`manual_lstm` for a CPU: every result goes into memory that is kept, and few passes are made over it.

With 64 rows a hour's tensors are small: what costs, beside the products, is allocating and dividing them. So

- tanh(a) = 2 sigmoid(2 a) - 1: with the weights of g doubled (exactly), one sigmoid s serves all four gates;
- the derivative of each gate is then s - s^2 times a factor (4 for g, which the backward weights hold);
- the bias is a weight of an additional input that is always 1;
- the derivative of h by c is o (1 - tanh(c)^2) = o - h tanh(c).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ehr_attack.attacks.gradients.manual_lstm import Head
from ehr_attack.attacks.gradients.recurrent import Ends, RecurrentWeights
from ehr_attack.models.lstm import LSTMClassifier


@dataclass(frozen=True)
class _Buffers:
    """For batches of (rows, hours). Lists: one an hour; gates are views of (rows, 4 units), in the order i, f, g, o."""

    active: list[Tensor]
    gates: list[tuple[Tensor, ...]]
    tangent: list[Tensor]
    cell: list[Tensor]
    squashed: list[Tensor]
    hidden_by_cell: list[Tensor]
    hidden: Tensor
    slope: Tensor
    d_active: Tensor
    d_gates: tuple[Tensor, ...]
    d_both: Tensor

    @classmethod
    def of(cls, rows: int, hours: int, units: int, outputs: int, like: Tensor) -> "_Buffers":
        def many(count: int, columns: int) -> list[Tensor]:
            return [like.new_empty(rows, columns) for _ in range(count)]

        active = many(hours, 4 * units)
        d_active = like.new_empty(rows, 4 * units)
        return cls(
            active=active,
            gates=[gates.chunk(4, dim=1) for gates in active],
            tangent=many(hours, units),
            cell=[like.new_zeros(rows, units), *many(hours, units)],
            squashed=many(hours, units),
            hidden_by_cell=many(hours, units),
            hidden=like.new_empty(rows, units),
            slope=like.new_empty(rows, 4 * units),
            d_active=d_active,
            d_gates=d_active.chunk(4, dim=1),
            d_both=like.new_empty(rows, outputs),
        )


class ManualLSTMOnCPU:
    """Margins and gradients of one model. Buffers are kept for the last shape of inputs."""

    def __init__(self, model: LSTMClassifier) -> None:
        weights = RecurrentWeights.of(model.lstm)
        self._units = model.lstm.hidden_size
        self._head = Head(model)
        factor = weights.input_bias.new_ones(4 * self._units)
        factor[2 * self._units : 3 * self._units] = 2.0
        bias = weights.input_bias + weights.hidden_bias
        with_bias = torch.cat([weights.input, bias[:, None]], dim=1)
        self._input_to_gates = (with_bias * factor[:, None]).t().contiguous()
        self._hidden_to_gates = (weights.hidden * factor[:, None]).t().contiguous()
        self._to_both = torch.cat([weights.hidden, weights.input], dim=1) * (factor * factor)[:, None]
        self._minus_one = -weights.input_bias.new_ones(())
        self._buffers: dict[tuple[int, int], _Buffers] = {}

    def __call__(self, inputs: Tensor, lengths: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Margins (rows,) and gradients (rows, hours, channels): see `GradientPath`."""
        rows, hours, _ = inputs.shape
        if (rows, hours) not in self._buffers:
            self._buffers = {(rows, hours): _Buffers.of(rows, hours, self._units, self._to_both.shape[1], inputs)}
        buffers = self._buffers[rows, hours]
        ends = Ends.of(inputs, lengths)
        together = bool((lengths == hours).all())
        last = self._forward(buffers, ends.hour_by_hour(inputs), None if together else ends)
        margin, d_last = self._head(last, labels)
        d_inputs = self._backward(buffers, d_last, None if together else ends)
        return margin, ends.row_by_row(d_inputs)

    def _forward(self, buffers: _Buffers, inputs: Tensor, ends: Ends | None) -> Tensor:
        """The hidden state (rows, units) after each row's end; inputs (hours, rows, channels); ends None: all whole."""
        add, mul, minus_one = torch.add, torch.mul, self._minus_one
        inputs = torch.cat([inputs, torch.ones_like(inputs[..., :1])], dim=2)
        hidden, last = buffers.hidden, torch.zeros_like(buffers.hidden)
        for hour, (i, f, s_g, o) in enumerate(buffers.gates):
            active, g, squashed = buffers.active[hour], buffers.tangent[hour], buffers.squashed[hour]
            cell = buffers.cell[hour + 1]
            torch.mm(inputs[hour], self._input_to_gates, out=active)
            if hour:
                active.addmm_(hidden, self._hidden_to_gates)
            active.sigmoid_()
            add(minus_one, s_g, alpha=2, out=g)
            mul(f, buffers.cell[hour], out=cell).addcmul_(i, g)
            add(cell, cell, out=squashed).sigmoid_()
            add(minus_one, squashed, alpha=2, out=squashed)
            mul(o, squashed, out=hidden)
            torch.addcmul(o, hidden, squashed, value=-1, out=buffers.hidden_by_cell[hour])
            if ends is not None:
                last = torch.where(ends.last[hour], hidden, last)
        return hidden if ends is None else last

    def _backward(self, buffers: _Buffers, d_last: Tensor, ends: Ends | None) -> Tensor:
        """The gradients by the inputs, (hours, rows, channels)."""
        mul = torch.mul
        hours, units = len(buffers.active), self._units
        d_i, d_f, d_g, d_o = buffers.d_gates
        d_hidden = d_last if ends is None else torch.zeros_like(d_last)
        d_cell = torch.zeros_like(d_last)
        d_inputs = d_last.new_empty(hours, len(d_last), self._to_both.shape[1] - units)
        for hour in reversed(range(hours)):
            i, f, _, _ = buffers.gates[hour]
            active = buffers.active[hour]
            if ends is not None:
                d_hidden = torch.where(ends.last[hour], d_last, d_hidden)
            mul(d_hidden, buffers.squashed[hour], out=d_o)
            d_cell.addcmul_(d_hidden, buffers.hidden_by_cell[hour])
            mul(d_cell, buffers.tangent[hour], out=d_i)
            mul(d_cell, buffers.cell[hour], out=d_f)
            mul(d_cell, i, out=d_g)
            d_cell.mul_(f)
            torch.addcmul(active, active, active, value=-1, out=buffers.slope)
            torch.mm(buffers.d_active.mul_(buffers.slope), self._to_both, out=buffers.d_both)
            d_hidden = buffers.d_both[:, :units]
            d_inputs[hour] = buffers.d_both[:, units:]
        return d_inputs
