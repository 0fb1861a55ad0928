"""What the hand-written gradients of the LSTM and the GRU share: the products over all hours, and the ends of rows.

Products of the inputs with their weights are made for all hours at once, before the forward pass. Tensors of a pass are
(hours, rows, units), so that each hour's are contiguous. Where matrices are multiplied in bfloat16, everything between
the products stays in the dtype of the inputs.
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


def is_plain(layer: nn.RNNBase) -> bool:
    """Whether an nn.LSTM or nn.GRU is one layer in one direction, with biases, on (rows, hours, channels)."""
    one_way = layer.num_layers == 1 and not layer.bidirectional and not layer.proj_size
    return one_way and layer.bias and layer.batch_first


def side_by_side(first: Tensor, second: Tensor) -> Tensor:
    """Two matrices (depth, m) and (depth, n) as one, (depth, at least m + n): one product is faster than two.

    Columns of zeros make their number a multiple of 8, as the matrix units of GPUs want it.
    """
    spare = -(first.shape[1] + second.shape[1]) % 8
    return torch.cat([first, second, first.new_zeros(len(first), spare)], dim=1)


class Product:
    """Multiplication by one weight matrix (depth, outputs) from the right, in `dtype`; the matrix is copied."""

    def __init__(self, weight: Tensor, dtype: torch.dtype) -> None:
        self._weight = weight.to(dtype).contiguous()

    def nothing(self, rows: int) -> Tensor:
        """Zeros in the place of a product, (rows, outputs)."""
        return self._weight.new_zeros(rows, self._weight.shape[1])

    def add_to(self, sums: Tensor, values: Tensor) -> None:
        """sums += values (rows, depth) @ weight, all in `dtype`."""
        sums.addmm_(values, self._weight)

    def __call__(self, values: Tensor, plus: Tensor | None = None) -> Tensor:
        """values (..., depth) @ weight [+ plus (outputs,)]: (..., outputs), in `dtype`."""
        flat = values.reshape(-1, values.shape[-1]).to(self._weight.dtype)
        product = flat @ self._weight if plus is None else torch.addmm(plus.to(flat), flat, self._weight)
        return product.reshape(*values.shape[:-1], product.shape[1])
