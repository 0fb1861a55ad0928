"""The attack engine: all rows (stay x lambda) of many stays through one fixed-size batch.

Model weights are frozen and gradients go to the input only. Exact savings: the clean gradient of a stay is shared by
all its lambdas; a row whose first update leaves it at zero stays there for ever and costs nothing; one forward pass
serves the flip check and the next gradient. Finished rows leave the batch and waiting rows take their place. Where the
arithmetic of a row depends on the number of rows beside it, the batch always has the same number, so that a row's
result does not depend on its neighbours.
"""

import functools
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ehr_attack.attacks.batch import Batch
from ehr_attack.attacks.gradients import GradientPath, freeze, gradient_path
from ehr_attack.attacks.gradients.autograd import margins
from ehr_attack.attacks.memory import RowsAtOnce
from ehr_attack.attacks.mode import Mode, SearchSettings
from ehr_attack.attacks.problem import ROWS_A_BLOCK, VANISHED, Problem
from ehr_attack.attacks.queue import RowQueue, padded, rows_of
from ehr_attack.attacks.rows import FinishedRows, Victims, joined
from ehr_attack.attacks.space import CellSpace, Space
from ehr_attack.progress import Progress


def search(
    model: nn.Module,
    victims: Victims,
    mode: Mode,
    settings: SearchSettings,
    progress: Progress,
    *,
    space: Space | None = None,
    path: GradientPath | None = None,
) -> Iterator[FinishedRows]:
    """Attack every victim at every lambda; yield blocks of finished rows, in no particular order.

    The model maps (batch, time, feature) and lengths (batch,) to two logits; its weights are frozen here. space: what
    is varied, by default the cells; path: how gradients are computed, by default the fastest that the model has here.
    """
    freeze(model)
    space = space or CellSpace(victims.inputs, victims.mutable)
    path = path or gradient_path(model, device=victims.inputs.device)
    if len(victims.inputs):
        yield from _rows(Problem(victims, space, path, mode, settings), progress)


def in_chunks(model: nn.Module, inputs: Tensor, lengths: Tensor, labels: Tensor, chunk_rows: int) -> Tensor:
    """`margins` (rows,) without gradients, in batches padded to `chunk_rows`, so that neighbours do not matter."""
    at_once, margins_of_rows = RowsAtOnce(), functools.partial(margins, model)
    with torch.no_grad():
        parts = [
            at_once(
                margins_of_rows,
                *(padded(part[start : start + chunk_rows], chunk_rows) for part in (inputs, lengths, labels)),
            )
            for start in range(0, len(inputs), chunk_rows)
        ]
    return torch.cat(parts)[: len(inputs)] if parts else inputs.new_zeros(0)


def _rows(problem: Problem, progress: Progress) -> Iterator[FinishedRows]:
    """All rows of a search, in blocks."""
    resting = problem.resting()
    queue = RowQueue(problem.victims, problem.settings, resting)
    yield from _unmoved(problem, resting.nonzero().flatten(), progress, pruned=False)
    held: list[FinishedRows] = []
    count = 0
    for block in _moving(problem, queue, progress):
        held.append(block)
        count += len(block.stay)
        if count >= max(ROWS_A_BLOCK, problem.settings.chunk_rows):
            yield joined(held)
            held, count = [], 0
    if held:
        yield joined(held)


def _moving(problem: Problem, queue: RowQueue, progress: Progress) -> Iterator[FinishedRows]:
    """Rows that are searched, and those that turn out to need no search."""
    batch = Batch(problem, queue.take(problem.settings.chunk_rows))
    searched = successes = 0
    while batch.occupied:
        margin, gradient = batch.evaluate()
        leaving, finished = batch.finish(margin, gradient, queue)
        batch.advance(margin, gradient)
        if finished is None:
            continue
        searched += len(finished.stay)
        successes += int(finished.flipped.sum())
        progress.advance(len(finished.stay), f"{successes / searched:.0%} of the searched rows flipped")
        yield finished
        batch.fill(leaving, queue.take(len(leaving)))
        yield from _passed_over(problem, queue, progress)
    yield from _passed_over(problem, queue, progress)


def _passed_over(problem: Problem, queue: RowQueue, progress: Progress) -> Iterator[FinishedRows]:
    for rows in queue.passed_over():
        yield from _unmoved(problem, rows, progress, pruned=True)


def _unmoved(problem: Problem, rows: Tensor, progress: Progress, *, pruned: bool) -> Iterator[FinishedRows]:
    """Rows that stay at zero: as if all steps had been made, without a flip; or not searched at all."""
    for block in torch.split(rows, ROWS_A_BLOCK):
        if not len(block):
            continue
        stays, positions = rows_of(block, problem.settings)
        no = torch.zeros_like(block, dtype=torch.bool)
        progress.advance(len(block))
        yield FinishedRows(
            stay=stays,
            position=positions,
            point=problem.zero(len(block)),
            steps=torch.full_like(block, 0 if pruned else problem.settings.steps),
            flipped=no,
            margin=problem.clean_margin[stays],
            falling=no,
            vanished=no if pruned else problem.clean_gradient[stays].abs().amax(dim=1) <= VANISHED,
            stuck=no if pruned or not problem.mode.constrained else problem.closed(stays),
            pruned=torch.full_like(no, pruned),
            audited=no,
            rested=torch.full_like(no, not pruned),
        )
