"""The most that a processor can do in float32, measured, to judge the kernel by."""

import time

import torch

from ehr_attack.attacks.gradients.library import load_library, on_threads, pointer

_PEAK_SECONDS, _PEAK_ROUNDS = 0.05, 7


def measured_peak_gflops(threads: int = 1) -> float:
    """What `threads` cores of this processor do at most in float32, 10^9 operations a second, measured.

    A multiplication and an addition count as two; both at once, in registers, on the widest vectors that the compiler
    uses for this processor; the best of a few rounds. Raises KernelUnavailableError without a compiler.
    """
    library = load_library()
    repeats = 100_000
    best = 0.0
    for _ in range(_PEAK_ROUNDS):
        operations = [0.0] * threads

        def multiply(thread: int, operations: list[float] = operations, repeats: int = repeats) -> None:
            values = torch.tensor([0.999, 0.001, 0.0])
            operations[thread] = library.ehr_peak_operations(repeats, pointer(values))

        start = time.perf_counter()
        on_threads(multiply, threads)
        seconds = time.perf_counter() - start
        best = max(best, sum(operations) / seconds / 1e9)
        repeats = max(repeats, int(repeats * _PEAK_SECONDS / seconds))
    return best
