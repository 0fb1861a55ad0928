"""One shard of this project's own attack on the benchmark's stays, in a process of one thread as the workflow has it.

python -m benchmarks.engine_runs <mode> <folder of the problem> <results.npz> [--path auto] [--prune] [--shard 0/2]
"""

import argparse
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.attack_files import Clock, Outcome, Problem, Smallest, load_problem, save_outcome, timed, wait_for_start
from ehr_attack.attacks import CHUNK_ROWS, entry_of, load_mode
from ehr_attack.attacks.engine import search
from ehr_attack.attacks.gradients import GradientPath, gradient_path
from ehr_attack.attacks.mode import SearchSettings
from ehr_attack.attacks.rows import FinishedRows, Victims
from ehr_attack.devices import make_deterministic, reuse_freed_memory
from ehr_attack.progress import Progress

KAPPA = 0.01
"""The margin that constrained modes ask for (the config's default)."""


def settings_of(mode_name: str, problem: Problem, prune: bool) -> SearchSettings:
    """The settings of a search with the mode's own grid; a mode without lambdas has one row a stay."""
    factor = load_mode(mode_name).lambda_factor(problem.rate)
    return SearchSettings(
        lambdas=(float("nan"),) if factor is None else tuple(factor * weight for weight in problem.lambdas),
        steps=problem.steps,
        rate=problem.rate,
        kappa=KAPPA if entry_of(mode_name).constrained else 0.0,
        chunk_rows=CHUNK_ROWS["cpu"],
        prune=prune and factor is not None,
    )


def run(mode_name: str, problem: Problem, path_name: str, *, prune: bool, shard: int, shards: int) -> Outcome:
    """Attack every `shards`-th stay from `shard` on; in the outcome, those of other shards are not flipped."""
    settings = settings_of(mode_name, problem, prune)
    path = gradient_path(problem.model, path_name, torch.device("cpu"))
    part = torch.arange(len(problem.inputs))[shard::shards]
    victims = Victims(
        inputs=problem.inputs[part],
        lengths=problem.lengths[part],
        labels=problem.labels[part],
        mutable=torch.ones_like(problem.inputs[part], dtype=torch.bool),
        keys=part,
    )
    logging.disable(logging.INFO)
    _search(mode_name, problem, victims.subset(torch.arange(1)), replace(settings, steps=2), path)
    logging.disable(logging.NOTSET)
    wait_for_start()
    with timed() as clock:
        blocks = _search(mode_name, problem, victims, settings, path)
    return _outcome(problem, part, blocks, clock, settings, path)


def _search(
    mode_name: str, problem: Problem, victims: Victims, settings: SearchSettings, path: GradientPath
) -> list[FinishedRows]:
    total = len(victims.inputs) * len(settings.lambdas)
    with Progress(f"{mode_name}, {path.name}", total, "rows") as progress:
        return list(search(problem.model, victims, load_mode(mode_name), settings, progress, path=path))


def _outcome(
    problem: Problem,
    part: torch.Tensor,
    blocks: list[FinishedRows],
    clock: Clock,
    settings: SearchSettings,
    path: GradientPath,
) -> Outcome:
    smallest = Smallest(problem.inputs)
    row_steps, pruned, audited = len(part), 0, 0
    for block in blocks:
        for row in block.flipped.nonzero().flatten().tolist():
            smallest.offer(int(part[block.stay[row]]), block.point[row].view(problem.inputs.shape[1:]))
        # A row that stayed at zero took no gradient but the clean one that its stay's rows share.
        resting = ~block.point.any(dim=1) & (block.steps == settings.steps)
        row_steps += int(block.steps[~resting].sum())
        pruned, audited = pruned + int(block.pruned.sum()), audited + int(block.audited.sum())
    return Outcome(
        clock=clock,
        row_steps=row_steps,
        best=smallest.found.numpy(),
        stay=np.concatenate([part[block.stay].numpy() for block in blocks]),
        position=np.concatenate([block.position.numpy() for block in blocks]),
        steps=np.concatenate([block.steps.numpy() for block in blocks]),
        flipped=np.concatenate([block.flipped.numpy() for block in blocks]),
        margin=np.concatenate([block.margin.numpy() for block in blocks]),
        notes={"path": path.name, "pruned": pruned, "audited": audited},
    )


def main() -> None:
    """Attack the shard and write what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("mode")
    parser.add_argument("problem", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--path", default="auto")
    parser.add_argument("--prune", action="store_true")
    parser.add_argument("--shard", default="0/1")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    shard, shards = map(int, arguments.shard.split("/"))
    make_deterministic(0)
    reuse_freed_memory()
    problem = load_problem(arguments.problem)
    save_outcome(
        run(arguments.mode, problem, arguments.path, prune=arguments.prune, shard=shard, shards=shards),
        arguments.results,
    )


if __name__ == "__main__":
    main()
