"""What the attack's benchmark computes from the outcomes: operations, flips proved in float64, flags compared."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch

from benchmarks.attack_files import Array, Outcome, Problem
from benchmarks.published_attack import attack
from ehr_attack.attacks.gradients import measured_peak_gflops

CLASSES = 2
NOT_A_CHANGE = 1e-6
"""Entries of x' - x below this are the rounding of the difference."""
_TRIES = 5
_ROUNDING = 1e-5
"""A margin this close to zero in float64 may have either sign in float32."""


def row_step_flop(problem: Problem) -> float:
    """Floating-point operations of a step of one row: forward, and backward to the input only.

    A multiply and an add are two; elementwise work is left out. The way back needs the same products as the forward
    pass: each gate's gradient times the weights of the inputs and of the hidden state.
    """
    lstm, dense = problem.model.lstm, problem.model.dense
    hours = problem.inputs.shape[1]
    gates = hours * 4 * lstm.hidden_size * (lstm.input_size + lstm.hidden_size)
    head = dense.out_features * (dense.in_features + CLASSES)
    return 2.0 * 2.0 * (gates + head)


def peaks() -> dict[int, float]:
    """GFLOP a second in float32 of multiply-adds out of the registers, by threads: the best of a few tries."""
    return {threads: max(measured_peak_gflops(threads) for _ in range(_TRIES)) for threads in (1, 2)}


def best_flips(problem: Problem, outcome: Outcome) -> dict[str, Any]:
    """Success, median L1 and median number of changed cells of each stay's smallest flip.

    Each flip is recomputed in float64; one that does not flip there is no success.
    """
    proved = proved_flips(problem, outcome)
    found = outcome.best[proved]
    attacked = len(np.unique(outcome.stay)) if len(outcome.stay) else outcome.notes.get("stays", len(proved))
    size = np.abs(found).sum(axis=(1, 2), dtype=np.float64)
    changed = (np.abs(found) > NOT_A_CHANGE).sum(axis=(1, 2))
    some = bool(proved.any())
    return {
        "success": float(proved.sum() / attacked),
        "claimed": float(np.isfinite(outcome.best).all(axis=(1, 2)).sum() / attacked),
        "median_l1": float(np.median(size)) if some else None,
        "median_changed": float(np.median(changed)) if some else None,
    }


def proved_flips(problem: Problem, outcome: Outcome) -> Array:
    """Bool (stays,): the stay's smallest flip has a positive margin in float64, too."""
    claimed = np.isfinite(outcome.best).all(axis=(1, 2))
    proved = np.zeros(len(problem.inputs), dtype=bool)
    where = np.flatnonzero(claimed)
    inputs = problem.inputs[where].double() + torch.from_numpy(outcome.best[claimed]).double()
    with torch.no_grad():
        logits = copy.deepcopy(problem.model).double()(inputs) if len(where) else torch.zeros(0, CLASSES)
    labels = problem.labels[where]
    proved[where] = ((logits[:, 1] - logits[:, 0]) * (1 - 2 * labels) > 0).numpy()
    return proved


def ratio_of_smallest(problem: Problem, outcomes: Mapping[str, Outcome], other: str, ours: str) -> float | None:
    """Median over the stays that both flip of the other's L1 over ours; None where one of them is missing."""
    if other not in outcomes or ours not in outcomes:
        return None
    both = proved_flips(problem, outcomes[other]) & proved_flips(problem, outcomes[ours])
    size = {name: np.abs(outcomes[name].best[both]).sum(axis=(1, 2), dtype=np.float64) for name in (other, ours)}
    return float(np.median(size[other] / size[ours])) if both.any() else None


@dataclass(frozen=True)
class RowTable:
    """A contender's rows, sorted by stay and lambda; row: stay x number of lambdas + position."""

    row: Array
    steps: Array
    flipped: Array
    margin: Array

    @classmethod
    def of(cls, outcome: Outcome, n_lambdas: int) -> Self:
        """The rows of `outcome`."""
        row = outcome.stay * n_lambdas + outcome.position
        order = np.argsort(row)
        return cls(row[order], outcome.steps[order], outcome.flipped[order], outcome.margin[order])

    def at(self, rows: Array) -> Self:
        """The table of some of its rows."""
        where = np.searchsorted(self.row, rows)
        return type(self)(self.row[where], self.steps[where], self.flipped[where], self.margin[where])


def compared_flags(reference: RowTable, table: RowTable) -> dict[str, Any]:
    """On the rows of both: the share with the reference's flag, and with its number of steps as well."""
    rows = np.intersect1d(reference.row, table.row)
    one, other = reference.at(rows), table.at(rows)
    same = one.flipped == other.flipped
    return {
        "compared_rows": len(rows),
        "flags_equal_share": float(same.mean()),
        "flags_and_steps_equal_share": float((same & (one.steps == other.steps)).mean()),
        "flips_lost": int((one.flipped & ~other.flipped).sum()),
        "flips_gained": int((~one.flipped & other.flipped).sum()),
    }


def explained(problem: Problem, reference: RowTable, table: RowTable) -> list[dict[str, Any]]:
    """Every row whose flag or number of steps is not the reference's, with the same search in float64 beside it."""
    rows = np.intersect1d(reference.row, table.row)
    one, other = reference.at(rows), table.at(rows)
    exact = copy.deepcopy(problem.model).double()
    told = []
    for index in np.flatnonzero((one.flipped != other.flipped) | (one.steps != other.steps)):
        stay, position = divmod(int(rows[index]), len(problem.lambdas))
        found = attack(
            exact, problem.inputs[stay].double(), int(problem.labels[stay]), problem.lambdas[position], problem.steps,
            problem.rate,
        )  # fmt: skip
        first = int(min(one.steps[index], other.steps[index], found.steps))
        nearest = min(abs(margin) for margin in found.margins[first:])
        told.append(
            {
                "stay": stay,
                "lambda": problem.lambdas[position],
                "reference": _row(one, int(index)),
                "ours": _row(other, int(index)),
                "float64": {"flipped": found.flipped, "steps": found.steps, "margin": found.margins[-1]},
                "float64_margin_where_they_part": found.margins[first],
                "reason": "rounding: the margin is zero to float32 where they part"
                if nearest < _ROUNDING
                else "not explained by rounding",
            }
        )
    return told


def _row(table: RowTable, index: int) -> dict[str, Any]:
    return {
        "flipped": bool(table.flipped[index]),
        "steps": int(table.steps[index]),
        "margin": float(table.margin[index]),
    }
