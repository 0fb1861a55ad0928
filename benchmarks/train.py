"""How fast is training? The LSTM of Sun 2018 beside the usual DataLoader loop, and beside the machine's matrix product.

    make bench-train [ROUNDS=7]        or: python -m benchmarks.train --rounds 7

Every contender is measured once a round, rounds follow each other, and each contender's best counts: what else runs on
the machine then disturbs all alike. One thread each, as a training job has; seconds are of that thread's work, which on
an idle machine are those of the clock. Writes benchmarks/results/train.json and the table in benchmarks/README.md.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.publishing import (
    FOLDER,
    circumstances,
    judged,
    measured_on,
    parser_with_rounds,
    publish,
    target_lines,
    versions_text,
)
from benchmarks.usual_loop import Stays, train_padded, train_plain
from ehr_attack.devices import make_deterministic, reuse_freed_memory
from ehr_attack.fitting import Tensors, build_optimiser, class_weights, train_epoch
from ehr_attack.models import build_model
from ehr_attack.models.lstm import LSTMClassifier

STAYS, HOURS, VARIABLES, HIDDEN, DENSE, CLASSES = 1280, 48, 19, 128, 32, 2
BATCHES = (64, 128)
PRECISIONS = ("float32", "bfloat16")
LOOPS = {"plain": train_plain, "padded": train_padded}
_PRODUCT_SIZE = 2048

Rates = dict[str, float]


def main() -> None:
    """Run the benchmark and write its results; with --measure, the part of it that runs in a process of its own."""
    arguments = _arguments()
    if arguments.measure:
        print(json.dumps(MEASUREMENTS[arguments.measure]()))
        return
    result = benchmark(arguments.rounds)
    publish("train", result, report(result), arguments.out)


def benchmark(rounds: int) -> dict[str, Any]:
    """Measure all contenders in `rounds` rounds."""
    load = os.getloadavg()[0]
    measured: dict[str, list[float]] = {}
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", flush=True)
        for part in MEASUREMENTS:
            for name, rate in _in_a_process(part).items():
                measured.setdefault(name, []).append(rate)
    best = {name: max(rates) for name, rates in measured.items()}
    result = {
        "rounds": rounds,
        "stays_per_second": best["ours float32 64"],
        "speedup_vs_loop": best["ours float32 64"] / best["loop padded 64"],
        "speedup_vs_plain_loop": best["ours float32 64"] / best["loop plain 64"],
        "largest_possible_speedup": best["product float32"] * 1e9 / training_flop() / best["loop padded 64"],
        "bound_share_fp32": _bound_share(best, "float32"),
        "bound_share_bf16": _bound_share(best, "bfloat16"),
        "flop_per_stay": training_flop(),
        "best": best,
        "median": {name: statistics.median(rates) for name, rates in measured.items()},
        "threads": 1,
        **measured_on(load, ("torch",)),
    }
    return result | {"targets": targets(result)}


def training_flop() -> float:
    """Floating-point operations of a training step a stay; a multiply and an add are two, elementwise work is left out.

    Forward and the gradients of the weights need the same products; the gradient of what flows back through time and
    through the dense layers needs those of the hidden state once more. The inputs need no gradient.
    """
    gates, dense = 4 * HIDDEN * HOURS, DENSE * (HIDDEN + CLASSES)
    return 2.0 * (2 * gates * (VARIABLES + HIDDEN) + gates * HIDDEN + 3 * dense)


def _bound_share(best: Rates, precision: str) -> float | None:
    """The share of the matrix product's speed that batches of 64 reach; None where the processor has no bfloat16."""
    name = f"ours {precision} {BATCHES[0]}"
    return best[name] * training_flop() / 1e9 / best[f"product {precision}"] if name in best else None


def measure_products() -> Rates:
    """GFLOP a second of a large square matrix product, by precision.

    The better of torch's usual library and oneDNN: the first (MKL) is slow on processors that are not Intel's.
    """
    return {f"product {precision}": _product_rate(getattr(torch, precision)) for precision in precisions()}


def _product_rate(dtype: torch.dtype) -> float:
    a, b = (torch.rand(_PRODUCT_SIZE, _PRODUCT_SIZE).to(dtype) for _ in range(2))
    one_dnn = torch.ops.mkldnn._linear_pointwise
    ways: list[Callable[[], Tensor]] = [lambda: a @ b, lambda: one_dnn(a, b, None, "none", [], "")]
    return 2 * _PRODUCT_SIZE**3 / 1e9 / min(_best_seconds(way, repeats=5) for way in ways)


def measure_ours() -> Rates:
    """Stays a second of the workflow's own epoch, by precision and batch size."""
    reuse_freed_memory()
    inputs, labels = made_up_stays()
    tensors = Tensors(inputs, torch.full((STAYS,), HOURS), labels)
    weights = class_weights(labels)
    rates = {}
    for precision in precisions():
        for batch in BATCHES:
            settings = {"lr": 0.001, "weight_decay": 0.0, "class_balance": "weights"}
            settings |= {"batch_size": batch, "precision": precision}
            model = build_model("lstm", VARIABLES)
            optimiser = build_optimiser(model, settings)

            def epoch() -> None:
                train_epoch(model, tensors, torch.randperm(STAYS), optimiser, weights, settings)  # noqa: B023

            rates[f"ours {precision} {batch}"] = STAYS / _best_seconds(epoch)
    return rates


def measure_loops() -> Rates:
    """Stays a second of the usual loops, by batch size; float32, and the C library's memory as it is by default."""
    stays, rates = Stays(*made_up_stays()), {}
    for name, loop in LOOPS.items():
        for batch in BATCHES:
            model = LSTMClassifier(VARIABLES)
            rates[f"loop {name} {batch}"] = STAYS / _best_seconds(lambda: loop(model, stays, batch))  # noqa: B023
    return rates


MEASUREMENTS: dict[str, Callable[[], Rates]] = {
    "products": measure_products,
    "ours": measure_ours,
    "loops": measure_loops,
}
"""What is measured in a process of its own, each returning rates by contender."""


def made_up_stays() -> tuple[Tensor, Tensor]:
    """Inputs (stays, hours, variables) in [0, 1] and labels (stays,); one thread from here on."""
    make_deterministic(0)
    return torch.rand(STAYS, HOURS, VARIABLES), torch.arange(STAYS) % CLASSES


def precisions() -> tuple[str, ...]:
    """The precisions that the processor has instructions for."""
    has_bfloat16 = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return PRECISIONS if has_bfloat16 else PRECISIONS[:1]


def _best_seconds(work: Callable[[], object], repeats: int = 2) -> float:
    """The shortest CPU time of `work`, with one thread, after one call to warm up."""
    torch.set_num_threads(1)
    work()
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)


def _in_a_process(part: str) -> Rates:
    command = [sys.executable, "-m", "benchmarks.train", "--measure", part]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=FOLDER.parent)
    rates: Rates = json.loads(done.stdout.splitlines()[-1])
    return rates


def targets(result: dict[str, Any]) -> list[dict[str, Any]]:
    """The targets of the tracker's issue on training: what was asked, what was measured, and whether it is met."""
    loop, fp32, bf16 = result["speedup_vs_loop"], result["bound_share_fp32"], result["bound_share_bf16"]
    asked = [
        ("at least 3 times the usual loop, batch 64", f"{loop:.1f} times", loop >= 3),
        ("batch 64 in float32 at least 35 % of the matrix product's speed", f"{100 * fp32:.0f} %", fp32 >= 0.35),
    ]
    if bf16 is not None:
        asked.append(("batch 64 in bfloat16 at least 55 % of it", f"{100 * bf16:.0f} %", bf16 >= 0.55))
    return judged(asked)


def report(result: dict[str, Any]) -> list[str]:
    """The results as lines of Markdown."""
    best, median, ours = result["best"], result["median"], result["stays_per_second"]
    labels = {
        "loop plain": "usual loop: Dataset, DataLoader, default collate; float32",
        "loop padded": "usual loop of the reproduction of 2023: padded and packed; float32",
        **{f"ours {precision}": f"**whole-tensor batches; {precision}**" for precision in PRECISIONS},
    }
    lines = [
        f"{circumstances(result)}; one thread, {result['rounds']} rounds; {versions_text(result)}.",
        "",
        "| training loop, stays/s: best round (median) | batch 64 | batch 128 |",
        "| --- | --- | --- |",
    ]
    for name, label in labels.items():
        if f"{name} {BATCHES[0]}" in best:
            cells = (f"{best[f'{name} {batch}']:,.0f} ({median[f'{name} {batch}']:,.0f})" for batch in BATCHES)
            lines.append(f"| {label} | {' | '.join(cells)} |")
    products = ", ".join(f"{best[f'product {p}']:,.0f} GFLOP/s in {p}" for p in PRECISIONS if f"product {p}" in best)
    lines += [
        "",
        f"A matrix product of {_PRODUCT_SIZE} x {_PRODUCT_SIZE} in the same rounds: {products}. A training step is "
        f"{result['flop_per_stay'] / 1e6:.1f} MFLOP a stay, so that {ours:,.0f} stays/s are "
        f"{ours * result['flop_per_stay'] / 1e9:,.0f} GFLOP/s. Beside the loop without packing they are "
        f"{result['speedup_vs_plain_loop']:.1f} times as many. At the product's own speed a step would be "
        f"{result['largest_possible_speedup']:.1f} times as fast as in the padded loop.",
        "",
        *target_lines(result),
    ]
    return lines


def _arguments() -> argparse.Namespace:
    parser = parser_with_rounds(__doc__, 7, "each contender")
    parser.add_argument("--measure", choices=list(MEASUREMENTS), help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
