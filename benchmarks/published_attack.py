"""The published algorithm as it is published: one stay and one lambda at a time, in eager torch.

Sun et al. (KDD 2018): step against the gradient of margin and penalty, shrink by lambda, stop at the first flip or
after the last step; no box. Nothing is saved on purpose, but nothing is wasted either: the weights are frozen, and one
forward pass serves the check for a flip and the next gradient.

    python -m benchmarks.published_attack <folder of the problem> <results.npz> [--threads 1] [--rows 6400] [--seed 0]
"""

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.attack_files import Outcome, Problem, Smallest, load_problem, save_outcome, timed, wait_for_start
from ehr_attack.progress import Progress


@dataclass(frozen=True)
class Found:
    """How the search of one row ended.

    margins: logit_t - logit_y before the first update and after each one, steps + 1 of them; the row is flipped when
    the last is positive. perturbation: (hours, features).
    """

    perturbation: Tensor
    margins: list[float]
    flipped: bool

    @property
    def steps(self) -> int:
        """Updates made."""
        return len(self.margins) - 1


def attack(model: nn.Module, inputs: Tensor, label: int, weight: float, steps: int, rate: float) -> Found:
    """Attack one stay at one lambda, `weight`.

    inputs: (hours, features), scaled, in the dtype of the weights; label: the true and predicted class.
    """
    perturbation = torch.zeros_like(inputs, requires_grad=True)
    margins: list[float] = []
    while True:
        logits = model((inputs + perturbation)[None])[0]
        loss = logits[label] - logits[1 - label]
        margins.append(-loss.item())
        if margins[-1] > 0 or len(margins) > steps:
            return Found(perturbation.detach(), margins, flipped=margins[-1] > 0)
        (gradient,) = torch.autograd.grad(loss, perturbation)
        with torch.no_grad():
            moved = perturbation - rate * (gradient + weight * perturbation.sign())
            moved = moved.sign() * (moved.abs() - weight).clamp(min=0.0)
        perturbation = moved.requires_grad_(True)


def attack_rows(problem: Problem, rows: Sequence[int]) -> Outcome:
    """Attack the given rows one after the other; row = stay x number of lambdas + position in the grid."""
    smallest = Smallest(problem.inputs)
    count = len(problem.lambdas)
    found, gradients = [], 0
    attack(problem.model, problem.inputs[0], int(problem.labels[0]), problem.lambdas[0], 2, problem.rate)
    wait_for_start()
    with Progress("published algorithm", len(rows), "rows") as progress, timed() as clock:
        for row in rows:
            stay, position = divmod(row, count)
            label, weight = int(problem.labels[stay]), problem.lambdas[position]
            end = attack(problem.model, problem.inputs[stay], label, weight, problem.steps, problem.rate)
            if end.flipped:
                smallest.offer(stay, end.perturbation)
            # A flip's last margin is looked at without a gradient.
            gradients += end.steps
            found.append((stay, position, end.steps, end.flipped, end.margins[-1]))
            progress.advance()
    stays, positions, steps, flipped, margins = (np.array(column) for column in zip(*found, strict=True))
    return Outcome(
        clock=clock,
        row_steps=gradients,
        best=smallest.found.numpy(),
        stay=stays,
        position=positions,
        steps=steps,
        flipped=flipped,
        margin=margins.astype(np.float32),
    )


def sampled_rows(total: int, wanted: int, seed: int) -> list[int]:
    """`wanted` of `total` rows at random, in order; all of them where there are no more."""
    return sorted(np.random.default_rng(seed).permutation(total)[:wanted].tolist())


def main() -> None:
    """Attack the rows and write what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("problem", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rows", type=int, default=1 << 62, help="how many rows to draw at random; all by default")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(arguments.threads)
    problem = load_problem(arguments.problem)
    total = len(problem.inputs) * len(problem.lambdas)
    save_outcome(attack_rows(problem, sampled_rows(total, arguments.rows, arguments.seed)), arguments.results)


if __name__ == "__main__":
    main()
