"""What public attack libraries make of the same stays: the elastic net of ART, the elastic net and FMN of foolbox.

Runs in an environment of its own (requirements-attack.txt), with this repository and its scripts folder on the path.
Each tool keeps its own search over the weight of the loss in place of the grid of lambdas; it stays in [0, 1].

    python -m benchmarks.other_tools <tool> <folder of the problem> <results.npz> [--threads 1] [--searches 9]
"""

import argparse
import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.attack_files import Array, Outcome, Problem, load_problem, save_outcome, timed, wait_for_start


class Counted(nn.Module):
    """The model without lengths, which counts the rows that it is asked for with a gradient, and without."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.with_gradient = self.without = 0

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (rows, 2) of inputs (rows, hours, features)."""
        if inputs.requires_grad:
            self.with_gradient += len(inputs)
        else:
            self.without += len(inputs)
        logits: Tensor = self.model(inputs)
        return logits


def art_elastic_net(problem: Problem, model: Counted, searches: int, batch: int = 256) -> Array:
    """ART's ElasticNet with its defaults, but for the decision by L1; adversarial inputs of all stays."""
    from art.attacks.evasion import ElasticNet
    from art.estimators.classification import PyTorchClassifier

    classifier = PyTorchClassifier(
        model=model,
        loss=nn.CrossEntropyLoss(),
        input_shape=tuple(problem.inputs.shape[1:]),
        nb_classes=2,
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )
    attack = ElasticNet(
        classifier,
        binary_search_steps=searches,
        max_iter=problem.steps,
        batch_size=batch,
        decision_rule="L1",
        verbose=False,
    )
    found: Array = attack.generate(problem.inputs.numpy(), problem.labels.numpy())
    return found


def art_one_by_one(problem: Problem, model: Counted, searches: int) -> Array:
    """The same with batches of one stay, ART's default."""
    return art_elastic_net(problem, model, searches, batch=1)


def foolbox_ead(problem: Problem, model: Counted, searches: int) -> Array:
    """foolbox's EADAttack with as many steps as the others, the decision by L1, all stays in one batch."""
    from foolbox.attacks import EADAttack

    return _foolbox(EADAttack(binary_search_steps=searches, steps=problem.steps, decision_rule="L1"), problem, model)


def foolbox_fmn_l1(problem: Problem, model: Counted, searches: int) -> Array:
    """foolbox's L1FMNAttack; it has no search over a weight."""
    from foolbox.attacks import L1FMNAttack

    return _foolbox(L1FMNAttack(steps=problem.steps), problem, model)


def foolbox_fmn_l0(problem: Problem, model: Counted, searches: int) -> Array:
    """foolbox's L0FMNAttack."""
    from foolbox.attacks import L0FMNAttack

    return _foolbox(L0FMNAttack(steps=problem.steps), problem, model)


def _foolbox(attack: Callable[..., object], problem: Problem, model: Counted) -> Array:
    from foolbox import PyTorchModel

    target = PyTorchModel(model, bounds=(0.0, 1.0), device="cpu")
    # Without a limit on the size: the attack's own best.
    _, clipped, _ = attack(target, problem.inputs, problem.labels, epsilons=[None])  # type: ignore[misc]
    found: Array = clipped[0].detach().numpy()
    return found


TOOLS: dict[str, Callable[[Problem, Counted, int], Array]] = {
    "art_elastic_net": art_elastic_net,
    "art_one_by_one": art_one_by_one,
    "foolbox_ead": foolbox_ead,
    "foolbox_fmn_l1": foolbox_fmn_l1,
    "foolbox_fmn_l0": foolbox_fmn_l0,
}
SEARCHING = ("art_elastic_net", "art_one_by_one", "foolbox_ead")
"""The tools that repeat their steps for several weights of the loss."""


def run(name: str, whole: Problem, searches: int, stays: int | None) -> Outcome:
    """Attack the first `stays` stays with a tool, all by default."""
    problem = replace(whole, inputs=whole.inputs[:stays], labels=whole.labels[:stays])
    tool, model = TOOLS[name], Counted(problem.model).eval()
    warm = replace(problem, inputs=problem.inputs[:1], labels=problem.labels[:1], steps=2)
    tool(warm, model, 1)
    model.with_gradient = model.without = 0
    wait_for_start()
    with timed() as clock:
        found = tool(problem, model, searches)
    perturbation = found - problem.inputs.numpy()
    with torch.no_grad():
        flipped = problem.model(torch.from_numpy(found)).argmax(dim=1) != problem.labels
    perturbation[~flipped.numpy()] = np.nan
    steps = len(problem.inputs) * problem.steps * (searches if name in SEARCHING else 1)
    notes = {
        "rows_with_gradient": model.with_gradient,
        "rows_without_gradient": model.without,
        "searches": searches if name in SEARCHING else None,
        "stays": len(problem.inputs),
        "versions": {package: version(package) for package in _packages(name)},
    }
    # foolbox's EAD may end a search early: count what it did; ART takes several gradients of a row in a step.
    taken = model.with_gradient if name.startswith("foolbox") else steps
    best = np.full(whole.inputs.shape, np.nan, dtype=np.float32)
    best[: len(perturbation)] = perturbation
    return Outcome(clock=clock, row_steps=taken, best=best, notes=notes)


def _packages(name: str) -> Sequence[str]:
    return ("adversarial-robustness-toolbox" if name.startswith("art") else "foolbox", "torch")


def main() -> None:
    """Attack the stays and write what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("tool", choices=list(TOOLS))
    parser.add_argument("problem", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--searches", type=int, default=9, help="weights of the loss that are tried")
    parser.add_argument("--stays", type=int, help="only so many of the stays")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    warnings.filterwarnings("ignore")
    torch.set_num_threads(arguments.threads)
    outcome = run(arguments.tool, load_problem(arguments.problem), arguments.searches, arguments.stays)
    save_outcome(outcome, arguments.results)


if __name__ == "__main__":
    main()
