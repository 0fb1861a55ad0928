"""`manual_gru` for a CPU: as `manual_lstm_cpu`, every result goes into memory that is kept, and few passes are made.

- tanh(a) = 2 sigmoid(2 a) - 1: with the weights of n doubled (exactly), sigmoid serves r, z and n;
- their derivatives are then s - s^2 times a factor (2 for r, through the doubled q_n; 4 for n), which the backward
  weights hold;
- biases are weights of an additional input that is always 1; r and z need p + q only, so that theirs are one sum;
- h = n + z (h_before - n).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ehr_attack.attacks.gradients.margins import margins_of, signs_of
from ehr_attack.attacks.gradients.recurrent import Ends, RecurrentWeights
from ehr_attack.models.gru import GRUClassifier


@dataclass(frozen=True)
class _Buffers:
    """For batches of (rows, hours). Lists: one an hour. `active`: r, z and the sigmoid of n, side by side.

    hidden: (rows, units + 1), the last column 1; d_gates: (rows, 4 units), by q_n, r, z and p_n.
    """

    active: list[Tensor]
    q_n: list[Tensor]
    n: list[Tensor]
    before_less_n: list[Tensor]
    hidden: Tensor
    slope: Tensor
    d_gates: Tensor
    d_kept: Tensor
    d_hidden: Tensor

    @classmethod
    def of(cls, rows: int, hours: int, units: int, like: Tensor) -> "_Buffers":
        def many(columns: int) -> list[Tensor]:
            return [like.new_empty(rows, columns) for _ in range(hours)]

        return cls(
            active=many(3 * units),
            q_n=many(units),
            n=many(units),
            before_less_n=many(units),
            hidden=like.new_ones(rows, units + 1),
            slope=like.new_empty(rows, 3 * units),
            d_gates=like.new_empty(rows, 4 * units),
            d_kept=like.new_empty(rows, units),
            d_hidden=like.new_empty(rows, units),
        )


class ManualGRUOnCPU:
    """Margins and gradients of one model, dropout off. Buffers are kept for the last shape of inputs."""

    def __init__(self, model: GRUClassifier) -> None:
        weights = RecurrentWeights.of(model.gru)
        units = self._units = model.gru.hidden_size
        doubled = weights.input_bias.new_ones(3 * units, 1)
        doubled[2 * units :] = 2.0
        of_input = torch.cat([weights.input, weights.input_bias[:, None]], dim=1) * doubled
        of_hidden = torch.cat([weights.hidden, weights.hidden_bias[:, None]], dim=1) * doubled
        self._input_to_gates = of_input.t().contiguous()
        self._hidden_to_rz = of_hidden[: 2 * units].t().contiguous()
        self._hidden_to_q_n = of_hidden[2 * units :].t().contiguous()
        factor = torch.cat([2 * doubled[:units], doubled[units : 2 * units], 2 * doubled[2 * units :]])
        to_hidden, self._to_input = weights.hidden * factor, weights.input * factor
        self._to_hidden = torch.cat([to_hidden[2 * units :], to_hidden[: 2 * units]])
        self._output, self._output_bias = model.output.weight.detach(), model.output.bias.detach()
        self._minus_one = -weights.input_bias.new_ones(())
        self._buffers: dict[tuple[int, int], _Buffers] = {}

    def __call__(self, inputs: Tensor, lengths: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Margins (rows,) and gradients (rows, hours, channels): see `GradientPath`."""
        rows, hours, _ = inputs.shape
        if (rows, hours) not in self._buffers:
            self._buffers = {(rows, hours): _Buffers.of(rows, hours, self._units, inputs)}
        buffers = self._buffers[rows, hours]
        ends = Ends.of(inputs, lengths)
        last = self._forward(buffers, ends.hour_by_hour(inputs), ends)
        margin = margins_of(torch.addmm(self._output_bias, last, self._output.t()), labels)
        d_last = (self._output[0] - self._output[1]) * signs_of(labels, last)[:, None]
        return margin, ends.row_by_row(self._backward(buffers, d_last, ends))

    def _forward(self, buffers: _Buffers, inputs: Tensor, ends: Ends) -> Tensor:
        """The hidden state (rows, units) after each row's end; inputs: (hours, rows, channels)."""
        units = self._units
        inputs = torch.cat([inputs, torch.ones_like(inputs[..., :1])], dim=2)
        hidden = buffers.hidden[:, :units].zero_()
        last = torch.zeros_like(hidden)
        for hour, (active, q_n, n) in enumerate(zip(buffers.active, buffers.q_n, buffers.n, strict=True)):
            difference = buffers.before_less_n[hour]
            rz, s_n = active[:, : 2 * units], active[:, 2 * units :]
            torch.mm(inputs[hour], self._input_to_gates, out=active)
            rz.addmm_(buffers.hidden, self._hidden_to_rz).sigmoid_()
            torch.mm(buffers.hidden, self._hidden_to_q_n, out=q_n)
            s_n.addcmul_(rz[:, :units], q_n).sigmoid_()
            torch.add(self._minus_one, s_n, alpha=2, out=n)
            torch.sub(hidden, n, out=difference)
            torch.addcmul(n, rz[:, units:], difference, out=hidden)
            last = torch.where(ends.last[hour], hidden, last)
        return last

    def _backward(self, buffers: _Buffers, d_last: Tensor, ends: Ends) -> Tensor:
        """The gradients by the inputs, (hours, rows, channels)."""
        units, mul = self._units, torch.mul
        kept, by_q_n, by_r, by_z, by_n = buffers.d_kept, *buffers.d_gates.chunk(4, dim=1)
        by_rz, by_p = buffers.d_gates[:, units : 3 * units], buffers.d_gates[:, units:]
        slope_rz, slope_n = buffers.slope[:, : 2 * units], buffers.slope[:, 2 * units :]
        d_hidden = torch.zeros_like(d_last)
        d_inputs = d_last.new_empty(len(buffers.active), len(d_last), self._to_input.shape[1])
        for hour in reversed(range(len(buffers.active))):
            active = buffers.active[hour]
            d_hidden = torch.where(ends.last[hour], d_last, d_hidden)
            torch.addcmul(active, active, active, value=-1, out=buffers.slope)
            mul(d_hidden, active[:, units : 2 * units], out=kept)
            torch.sub(d_hidden, kept, out=by_n).mul_(slope_n)
            mul(d_hidden, buffers.before_less_n[hour], out=by_z)
            mul(by_n, buffers.q_n[hour], out=by_r)
            by_rz.mul_(slope_rz)
            mul(by_n, active[:, :units], out=by_q_n)
            d_hidden = torch.addmm(kept, buffers.d_gates[:, : 3 * units], self._to_hidden, out=buffers.d_hidden)
            torch.mm(by_p, self._to_input, out=d_inputs[hour])
        return d_inputs
