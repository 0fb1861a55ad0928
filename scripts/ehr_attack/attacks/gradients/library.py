"""The compiled kernel as Python sees it: its functions and their types, and calls on several threads."""

import ctypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

from torch import Tensor

from ehr_attack.attacks.gradients.compiler import KernelUnavailableError, kernel_file

_SIZE, _COUNT, _POINTER = ctypes.c_int, ctypes.c_int64, ctypes.c_void_p
_SIGNATURES = {
    "ehr_lstm_block_rows": (_SIZE, []),
    "ehr_lstm_model_floats": (_COUNT, [_SIZE] * 3),
    "ehr_lstm_workspace_floats": (_COUNT, [_SIZE] * 4),
    "ehr_lstm_pack": (None, [_SIZE] * 3 + [_POINTER] * 8),
    "ehr_lstm_gradient": (None, [_SIZE] * 4 + [_POINTER, _COUNT] + [_POINTER] * 6),
    "ehr_lstm_activations": (None, [_COUNT] + [_POINTER] * 3),
    "ehr_peak_operations": (ctypes.c_double, [_COUNT, _POINTER]),
}
"""Result and arguments of the C functions, as in `data/fused_lstm.cpp`."""


@lru_cache(maxsize=1)
def load_library() -> ctypes.CDLL:
    """The kernel's library, compiled when no earlier job has done so. Raises KernelUnavailableError."""
    file = kernel_file()
    try:
        library = ctypes.CDLL(str(file))
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise KernelUnavailableError(f"the compiled library cannot be loaded: {error}") from error
    return library


def on_threads(work: Callable[[int], None], threads: int) -> None:
    """work(0), work(1), ... side by side; the library lets go of Python's lock."""
    if threads == 1:
        work(0)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))


def pointer(tensor: Tensor) -> ctypes.c_void_p:
    """The address of a contiguous tensor's values."""
    return ctypes.c_void_p(tensor.data_ptr())
