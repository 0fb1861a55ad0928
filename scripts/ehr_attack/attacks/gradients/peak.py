"""The most that a processor can do in float32, measured, to judge the kernel by."""

import ctypes
import time

import torch

from ehr_attack.attacks.gradients.library import load_library, on_threads, pointer

_SECONDS, _ROUNDS = 0.02, 15


def measured_peak_gflops(threads: int = 1) -> float:
    """What `threads` cores of this processor do at most in float32, 10^9 operations a second, measured.

    A multiplication and an addition count as two; both at once, in registers, on the widest vectors that the compiler
    uses for this processor. Seconds are those that each thread had a core, so that other work on the machine does not
    lower the figure; the best of a few rounds. Raises KernelUnavailableError without a compiler.
    """
    library = load_library()
    repeats = _repeats_of(library, _SECONDS)
    best = 0.0
    for _ in range(_ROUNDS):
        rates = [0.0] * threads

        def multiply(thread: int, rates: list[float] = rates) -> None:
            rates[thread] = _rate(library, repeats)

        on_threads(multiply, threads)
        best = max(best, sum(rates))
    return best / 1e9


def _rate(library: ctypes.CDLL, repeats: int) -> float:
    """Operations a second of this thread's time."""
    values = torch.tensor([0.999, 0.001, 0.0])
    start = time.thread_time()
    operations: float = library.ehr_peak_operations(repeats, pointer(values))
    return operations / (time.thread_time() - start)


def _repeats_of(library: ctypes.CDLL, seconds: float) -> int:
    """About how many repeats take `seconds`."""
    few = 200_000
    operations_a_repeat: float = library.ehr_peak_operations(1, pointer(torch.tensor([0.999, 0.001, 0.0])))
    return max(few, int(seconds * _rate(library, few) / operations_a_repeat))
