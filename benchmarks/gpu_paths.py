"""Gradient paths on a GPU: agreement with float64 autograd, and microseconds a row and step.

Run on a machine with CUDA, from the project's root: `PYTHONPATH=scripts python -m benchmarks.gpu_paths`. It needs torch
and nothing else, takes about a minute and prints JSON (also to `--out`). The model is the LSTM of Sun 2018 with made-up
weights; a path that fails is listed with its error and the others go on.
"""

import argparse
import copy
import functools
import json
import logging
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ehr_attack.attacks.gradients import AutogradPath, GradientPath, ManualPath, freeze
from ehr_attack.models.gru import GRUClassifier
from ehr_attack.models.lstm import LSTMClassifier

_CHANNELS, _HOURS, _UNITS, _CHECKED_ROWS = 19, 48, 128, 512
_MFLOP_A_ROW_STEP = 2 * 2 * _HOURS * 4 * _UNITS * (_CHANNELS + _UNITS) / 1e6
"""Forward and backward to the input: two products with every weight of the LSTM, two operations each."""


@dataclass(frozen=True)
class Contender:
    """A way to gradients on the GPU; `precision` names the peak to compare with."""

    name: str
    precision: str
    make: Callable[[nn.Module], GradientPath]
    tf32: bool = False


CONTENDERS = (
    Contender("autograd (cuDNN), float32", "float32", AutogradPath),
    Contender("autograd (cuDNN), TF32", "tf32", AutogradPath, tf32=True),
    Contender("manual, plain", "float32", lambda model: ManualPath(model, compiled=False, recorded=False)),
    Contender("manual, recorded", "float32", lambda model: ManualPath(model, compiled=False)),
    Contender("manual, compiled and recorded", "float32", ManualPath),
    Contender("the same, TF32", "tf32", ManualPath, tf32=True),
    Contender("the same, bfloat16", "bfloat16", lambda model: ManualPath(model, matmul_dtype=torch.bfloat16)),
)


def allow_tf32(allowed: bool) -> None:
    """Whether float32 matrices may be multiplied with a mantissa of 10 bits; torch allows it to cuDNN by default."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def seconds_of(work: Callable[[], Any], budget: float) -> float:
    """Median seconds of `work`, after two calls to warm up, for about `budget` seconds and at least three calls."""
    for _ in range(2):
        work()
    torch.cuda.synchronize()
    times: list[float] = []
    while len(times) < 3 or sum(times) < budget:
        start = time.perf_counter()
        work()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def matmul_tflops(precision: str, size: int = 8192) -> float:
    """10^12 operations a second of a product of two large square matrices."""
    allow_tf32(precision == "tf32")
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    a, b = (torch.randn(size, size, device="cuda", dtype=dtype) for _ in range(2))
    return 2 * size**3 / seconds_of(lambda: a @ b, budget=0.3) / 1e12


def made_up(rows: int, *, whole: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs (rows, hours, channels), lengths and labels; `whole`: every row has all hours."""
    random = torch.Generator().manual_seed(rows)
    lengths = torch.randint(_HOURS if whole else 1, _HOURS + 1, (rows,), generator=random)
    inputs = torch.rand(rows, _HOURS, _CHANNELS, generator=random)
    labels = torch.randint(0, 2, (rows,), generator=random)
    return inputs.cuda(), lengths.cuda(), labels.cuda()


def largest_errors(path: GradientPath, exact: GradientPath) -> dict[str, float]:
    """Against float64: of the margins, absolute; of the gradients, by the largest entry of the same row.

    The largest of all rows may be that of one in which a unit of the dense layer is near the kink of its ReLU.
    """
    inputs, lengths, labels = made_up(_CHECKED_ROWS, whole=False)
    margins, gradients = path(inputs, lengths, labels)
    true_margins, true_gradients = exact(inputs.double(), lengths, labels)
    scale = true_gradients.abs().amax(dim=(1, 2)).clamp(min=1e-30)
    worst = (gradients.double() - true_gradients).abs().amax(dim=(1, 2)) / scale
    margin = float((margins.double() - true_margins).abs().max())
    return {"margin": margin, "gradient": float(worst.max()), "gradient, median row": float(worst.median())}


def measure(contender: Contender, model: nn.Module, rows: Sequence[int], peaks: dict[str, float]) -> dict[str, Any]:
    """Errors and speed of one contender. Shares of the peak are those of the LSTM's operations."""
    allow_tf32(contender.tf32)
    torch.compiler.reset()
    torch.cuda.reset_peak_memory_stats()
    path = contender.make(model)
    start = time.perf_counter()
    found: dict[str, Any] = {
        "errors": largest_errors(path, AutogradPath(copy.deepcopy(model).double())),
        "first_call_s": time.perf_counter() - start,
    }
    for count in rows:
        arguments = made_up(count, whole=True)
        microseconds = seconds_of(functools.partial(path, *arguments), budget=0.5) / count * 1e6
        tflops = _MFLOP_A_ROW_STEP / microseconds
        found[f"rows {count}"] = {"us_per_row_step": microseconds}
        if isinstance(model, LSTMClassifier):
            found[f"rows {count}"] |= {"tflops": tflops, "share_of_peak": tflops / peaks[contender.precision]}
    return found | {"memory_gb": torch.cuda.max_memory_allocated() / 1e9}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every contender with the LSTM, and three of them with the GRU at one number of rows; print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1024, 4096, 16384])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        parser.error(f"torch {torch.__version__} finds no CUDA device here")
    logging.basicConfig(level=logging.INFO, format="%(message)s")  # a cell that stays uncompiled is said there
    start = time.perf_counter()
    peaks = {precision: matmul_tflops(precision) for precision in ("float32", "tf32", "bfloat16")}
    results: dict[str, Any] = {
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "mflop_a_row_step": _MFLOP_A_ROW_STEP,
        "peak_tflops": peaks,
    }
    torch.manual_seed(0)
    for made, contenders, counts in (
        (LSTMClassifier, CONTENDERS, options.rows),
        (GRUClassifier, [CONTENDERS[place] for place in (0, 4, 6)], options.rows[-1:]),
    ):
        model = made(_CHANNELS).cuda()
        freeze(model)
        for contender in contenders:
            name = f"{made.__name__}: {contender.name}"
            try:
                results[name] = measure(contender, model, counts, peaks)
            except Exception as error:
                results[name] = {"error": f"{type(error).__name__}: {error}"[:2000]}
            results["seconds"] = time.perf_counter() - start
            print(json.dumps({name: results[name]}), flush=True)
            torch.cuda.empty_cache()
            if options.out:
                options.out.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
