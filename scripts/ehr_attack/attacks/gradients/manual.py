"""Hand-written gradients with respect to the input, for LSTMClassifier and GRUClassifier, on any device.

On a CPU the cells run as plain torch. On CUDA they are compiled by torch.compile and the whole pass is recorded once
for each shape of the inputs (a CUDA graph): a CPU cannot start 400 small kernels as fast as the GPU ends them.
"""

import logging
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ehr_attack.attacks.gradients import manual_gru, manual_lstm
from ehr_attack.attacks.gradients.manual_gru_cpu import ManualGRUOnCPU
from ehr_attack.attacks.gradients.manual_lstm_cpu import ManualLSTMOnCPU
from ehr_attack.attacks.gradients.recurrent import is_plain
from ehr_attack.models.gru import GRUClassifier
from ehr_attack.models.lstm import LSTMClassifier

_log = logging.getLogger(__name__)

_Pass = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def why_not_manual(model: nn.Module) -> str | None:
    """Why there is no hand-written gradient for `model`; None when there is one."""
    layer = {LSTMClassifier: "lstm", GRUClassifier: "gru"}.get(type(model))
    if layer is None:
        return f"it is for LSTMClassifier and GRUClassifier, not {type(model).__name__}"
    recurrent = getattr(model, layer)
    return None if is_plain(recurrent) else f"it is for one layer in one direction, with biases, not {recurrent}"


class ManualPath:
    """Margins and gradients of an LSTMClassifier or a GRUClassifier, float32 or float64 as its weights are.

    The model must not change afterwards: some weights are copied.
    """

    name: ClassVar[str] = "manual"
    any_rows: ClassVar[bool] = False  # how a matrix product sums up depends on the number of its rows

    def __init__(
        self,
        model: nn.Module,
        *,
        matmul_dtype: torch.dtype | None = None,
        compiled: bool | None = None,
        recorded: bool | None = None,
    ) -> None:
        """matmul_dtype: in which matrices are multiplied, for example torch.bfloat16; None: the dtype of the weights.

        compiled: whether torch.compile makes the cells; recorded: whether the pass is kept as a CUDA graph; None: on
        CUDA.
        """
        weight = next(model.parameters())
        on_cuda = weight.device.type == "cuda"
        self._dtype = weight.dtype
        self._pass = _pass_of(model, matmul_dtype or weight.dtype, on_cuda if compiled is None else compiled)
        if on_cuda if recorded is None else recorded:
            self._pass = _Recorded(self._pass)

    @torch.no_grad()
    def __call__(self, inputs: Tensor, lengths: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Margins (rows,) and gradients (rows, hours, channels): see `GradientPath`."""
        if inputs.dtype != self._dtype:
            raise ValueError(f"inputs: {inputs.dtype}; expected {self._dtype}, as the weights")
        return self._pass(inputs, lengths, labels)


def _pass_of(model: nn.Module, dtype: torch.dtype, compiled: bool) -> _Pass:
    """The pass for the model's kind and device."""
    weight = next(model.parameters())
    kept_buffers = weight.device.type == "cpu" and dtype == weight.dtype and not compiled
    if isinstance(model, LSTMClassifier):
        if kept_buffers:
            return ManualLSTMOnCPU(model)
        cells = manual_lstm.forward_cell, manual_lstm.backward_cell
        return manual_lstm.ManualLSTM(model, dtype, _compiled(cells) if compiled else cells)
    if isinstance(model, GRUClassifier):
        if kept_buffers:
            return ManualGRUOnCPU(model)
        gru_cells = manual_gru.forward_cell, manual_gru.backward_cell
        return manual_gru.ManualGRU(model, dtype, _compiled(gru_cells) if compiled else gru_cells)
    raise TypeError(why_not_manual(model))


def _compiled(cells: Any) -> Any:
    return tuple(_Compiled(cell) for cell in cells)


class _Compiled:
    """A cell made by torch.compile, or the plain one where that fails, for example for want of a C compiler."""

    def __init__(self, plain: Callable[..., Any]) -> None:
        self._plain = plain
        self._chosen: Callable[..., Any] = torch.compile(plain)

    def __call__(self, *arguments: Any) -> Any:
        try:
            return self._chosen(*arguments)
        except Exception as error:
            if self._chosen is self._plain:
                raise
            _log.info("gradients: %s stays uncompiled: %s", self._plain.__name__, str(error).partition("\n")[0])
            self._chosen = self._plain
            return self._plain(*arguments)


class _Recorded:
    """A pass whose CUDA kernels are recorded at the first call with inputs of a shape, and started as one after it."""

    def __init__(self, plain: _Pass) -> None:
        self._plain = plain
        self._recordings: dict[torch.Size, tuple[Any, list[Tensor], tuple[Tensor, Tensor]]] = {}

    def __call__(self, inputs: Tensor, lengths: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        arguments = [inputs, lengths, labels]
        if inputs.shape not in self._recordings:
            self._recordings[inputs.shape] = self._record(arguments)
        graph, held, (margin, gradient) = self._recordings[inputs.shape]
        for to, value in zip(held, arguments, strict=True):
            to.copy_(value)
        graph.replay()
        return margin.clone(), gradient.clone()

    def _record(self, arguments: list[Tensor]) -> tuple[Any, list[Tensor], tuple[Tensor, Tensor]]:
        held = [argument.clone() for argument in arguments]
        stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # compiles, and lets libraries set themselves up, before anything is recorded
            for _ in range(2):
                self._plain(*held)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            results = self._plain(*held)
        _log.info("recorded a CUDA graph for inputs of shape %s", tuple(held[0].shape))
        return graph, held, results
