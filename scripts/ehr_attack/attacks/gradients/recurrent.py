"""What the hand-written gradients of the LSTM and the GRU share: the products over all hours, and the ends of rows.

Products with the input weights are made for all hours at once, before the forward and after the backward pass. Tensors
of a pass are (hours, rows, units), so that each hour's are contiguous. Where matrices are multiplied in bfloat16, sums
and everything between the products stay in the dtype of the inputs.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ehr_attack.models.sequence import valid_hours


@dataclass(frozen=True)
class RecurrentWeights:
    """Of the first layer of an nn.LSTM (4 gates) or nn.GRU (3), without gradients.

    input: (gates x units, channels); hidden: (gates x units, units); biases: (gates x units,).
    """

    input: Tensor
    hidden: Tensor
    input_bias: Tensor
    hidden_bias: Tensor

    @classmethod
    def of(cls, layer: nn.RNNBase) -> "RecurrentWeights":
        """The layer's own tensors, not copies."""
        names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        return cls(*(layer.get_parameter(name).detach() for name in names))


@dataclass(frozen=True)
class Ends:
    """Where rows end: bool, valid (rows, hours) up to the last valid hour, last (hours, rows, 1) at that one."""

    valid: Tensor
    last: Tensor

    @classmethod
    def of(cls, inputs: Tensor, lengths: Tensor) -> "Ends":
        """Of inputs (rows, hours, channels) with `lengths` (rows,) valid hours."""
        hour = torch.arange(inputs.shape[1], device=inputs.device)[:, None]
        return cls(valid_hours(inputs, lengths), (hour == lengths[None, :] - 1)[..., None])

    def hour_by_hour(self, inputs: Tensor) -> Tensor:
        """inputs (rows, hours, channels) as (hours, rows, channels), 0 after a row's end, whatever stands there."""
        return inputs.masked_fill(~self.valid[..., None], 0.0).transpose(0, 1).contiguous()

    def row_by_row(self, gradients: Tensor) -> Tensor:
        """gradients (hours, rows, channels) as (rows, hours, channels), 0 after a row's end."""
        return gradients.transpose(0, 1).masked_fill(~self.valid[..., None], 0.0)


class Product:
    """Multiplication by one weight matrix from the right, in `dtype`; the matrix is copied.

    weight: (depth, outputs), in the dtype of the inputs.
    """

    def __init__(self, weight: Tensor, dtype: torch.dtype) -> None:
        self._weight = weight.detach().to(dtype).contiguous()
        self._result = weight.dtype

    def __call__(self, values: Tensor, plus: Tensor | None = None) -> Tensor:
        """values (..., depth) @ weight [+ plus]: (..., outputs)."""
        if self._weight.dtype == self._result:
            return torch.addmm(plus, values, self._weight) if plus is not None else values @ self._weight
        product = (values.to(self._weight.dtype) @ self._weight).to(self._result)
        return product if plus is None else product + plus
