"""The fused CPU kernel for the LSTM: forward and backward of a block of rows in cache, rows in SIMD lanes.

The source is `data/fused_lstm.cpp`; see `ehr_attack.attacks.gradients.compiler` for how it gets built.
"""

import ctypes
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor, nn

from ehr_attack.attacks.gradients.autograd import AutogradPath
from ehr_attack.attacks.gradients.compiler import KernelUnavailableError
from ehr_attack.attacks.gradients.library import load_library, on_threads, pointer
from ehr_attack.attacks.gradients.recurrent import RecurrentWeights, is_plain
from ehr_attack.models.lstm import LSTMClassifier


def fused_available() -> bool:
    """Whether this machine has the kernel, or a compiler that can make it."""
    try:
        return _checked_kernel() is not None
    except KernelUnavailableError:
        return False


def why_not_fused(model: nn.Module, device: torch.device) -> str | None:
    """Why the kernel cannot serve `model` on `device`; None when it can. Compiles it when need be."""
    if device.type != "cpu":
        return f"the kernel is for the CPU, not {device.type}"
    if type(model) is not LSTMClassifier or not is_plain(model.lstm):
        return f"the kernel is for LSTMClassifier with one layer, not {type(model).__name__}"
    if any(parameter.dtype != torch.float32 for parameter in model.parameters()):
        return "the kernel is for float32 weights"
    try:
        _checked_kernel()
    except KernelUnavailableError as error:
        return str(error)
    return None


class FusedPath:
    """`LSTMClassifier` in float32 on a CPU. The weights are copied: the model must not change afterwards.

    A row's results do not depend, not in one bit, on its neighbours, their number or the number of threads
    (`torch.get_num_threads()`).
    """

    name: ClassVar[str] = "fused"
    any_rows: ClassVar[bool] = True

    def __init__(self, model: nn.Module) -> None:
        """`model`: an LSTMClassifier. Raises KernelUnavailableError; ask `why_not_fused` first."""
        if not isinstance(model, LSTMClassifier):
            raise TypeError(why_not_fused(model, torch.device("cpu")))
        self._kernel = _Kernel(_checked_kernel(), model)

    def __call__(self, inputs: Tensor, lengths: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Margins (rows,) and gradients (rows, hours, channels): see `GradientPath`."""
        return self._kernel.run(inputs, lengths, labels)


class _Kernel:
    """The weights of one model, packed, and a workspace a thread."""

    def __init__(self, library: ctypes.CDLL, model: LSTMClassifier) -> None:
        self._library = library
        self._sizes = (model.lstm.input_size, model.lstm.hidden_size, model.dense.out_features)
        self._model = torch.empty(library.ehr_lstm_model_floats(*self._sizes))
        lstm = RecurrentWeights.of(model.lstm)
        weights = (
            lstm.input, lstm.hidden, lstm.input_bias + lstm.hidden_bias,
            model.dense.weight, model.dense.bias, model.output.weight, model.output.bias,
        )  # fmt: skip
        held = [weight.detach().contiguous() for weight in weights]
        library.ehr_lstm_pack(*self._sizes, *(pointer(weight) for weight in held), pointer(self._model))
        self._workspaces: list[Tensor] = []
        self._hours = 0

    def run(self, inputs: Tensor, lengths: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        rows, hours, _ = self._checked_shape(inputs, lengths, labels)
        inputs, lengths, labels = inputs.detach().contiguous(), lengths.contiguous(), labels.contiguous()
        margins, gradient = torch.empty(rows), torch.empty_like(inputs)
        block = self._library.ehr_lstm_block_rows()
        threads = max(1, min(torch.get_num_threads(), -(-rows // block)))
        self._reserve(threads, hours)
        part = -(-rows // (threads * block)) * block

        def run_part(thread: int) -> None:
            at = slice(thread * part, min(rows, (thread + 1) * part))
            if at.start < rows:
                self._library.ehr_lstm_gradient(
                    *self._sizes, hours, pointer(self._model), at.stop - at.start,
                    *(pointer(tensor[at]) for tensor in (inputs, lengths, labels, margins, gradient)),
                    pointer(self._workspaces[thread]),
                )  # fmt: skip

        on_threads(run_part, threads)
        return margins, gradient

    def _checked_shape(self, inputs: Tensor, lengths: Tensor, labels: Tensor) -> torch.Size:
        if inputs.dtype != torch.float32 or inputs.dim() != 3 or inputs.shape[2] != self._sizes[0]:
            raise ValueError(
                f"inputs: {inputs.dtype} {tuple(inputs.shape)}; expected float32 (rows, hours, {self._sizes[0]})"
            )
        for name, values, low, high in (("lengths", lengths, 1, inputs.shape[1]), ("labels", labels, 0, 1)):
            if values.dtype != torch.int64 or values.shape != inputs.shape[:1]:
                raise ValueError(f"{name}: {values.dtype} {tuple(values.shape)}; expected int64 ({len(inputs)},)")
            if len(values) and not (low <= int(values.min()) and int(values.max()) <= high):
                raise ValueError(f"{name}: expected values from {low} to {high}")
        return inputs.shape

    def _reserve(self, threads: int, hours: int) -> None:
        if hours > self._hours:
            self._workspaces, self._hours = [], hours
        missing = threads - len(self._workspaces)
        floats = self._library.ehr_lstm_workspace_floats(*self._sizes, self._hours)
        self._workspaces += [torch.empty(floats) for _ in range(missing)]


@lru_cache(maxsize=1)
def _checked_kernel() -> ctypes.CDLL:
    """The library, after its gradients have been compared with autograd's on a made-up model.

    Flips rest on it, and what a compiler makes of it differs from machine to machine. Raises KernelUnavailableError.
    """
    library = load_library()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LSTMClassifier(3, hidden_size=7, dense_size=5).requires_grad_(False)
        inputs = torch.rand(5, 4, 3)
    lengths, labels = torch.tensor([4, 1, 2, 4, 3]), torch.tensor([0, 1, 0, 1, 1])
    found = _Kernel(library, model).run(inputs, lengths, labels)
    expected = AutogradPath(model)(inputs, lengths, labels)
    if not all(torch.allclose(*pair, rtol=1e-4, atol=1e-6) for pair in zip(found, expected, strict=True)):
        raise KernelUnavailableError("the compiled kernel does not reproduce autograd's gradients on this machine")
    return library
