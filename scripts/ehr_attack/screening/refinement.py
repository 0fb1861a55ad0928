"""Making flipping changes as small as they can be: what is not needed is dropped, the rest moved back step by step."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from ehr_attack.attacks.charted import ChartedRecord
from ehr_attack.screening.changes import RecordChange
from ehr_attack.screening.evaluation import Evaluator

SLACK = 1e-4
"""A margin in float32 that is so much above kappa is above it in float64 too."""
_Excess = Callable[[list[RecordChange]], npt.NDArray[np.float64]]
"""By how much each change passes what a flip must; above 0: it flips."""


def flipping(changes: Sequence[RecordChange], evaluator: Evaluator, kappa: float) -> list[RecordChange]:
    """Those of the changes that are feasible and flip the prediction, by more than kappa, in float64."""
    margins = evaluator.margins(list(changes))
    return [change for change, margin in zip(changes, margins, strict=True) if margin > kappa]


def refined(changes: Sequence[RecordChange], evaluator: Evaluator, kappa: float) -> list[RecordChange]:
    """The flipping changes, each made smaller while it still flips: no value of it can be left out.

    Tries are judged in float32, with some slack; what comes of them in float64, or else the change stays as it was.
    """

    def excess(tries: list[RecordChange]) -> npt.NDArray[np.float64]:
        return evaluator.margins(tries, torch.float32) - (kappa + SLACK)

    smaller = _dropped(list(changes), excess)
    while True:  # Every round but the last leaves fewer values, so this ends.
        moved = _all_moved_back(smaller, evaluator.record, excess)
        smaller = _dropped(list(moved), excess)
        if _count(smaller) == _count(moved):
            break
    sound = evaluator.margins(smaller) > kappa
    return [new if holds else old for new, old, holds in zip(smaller, changes, sound, strict=True)]


def _dropped(changes: list[RecordChange], excess: _Excess) -> list[RecordChange]:
    """Without the values that the flip does not need: one at a time, the one whose loss costs the margin least.

    In place.
    """
    open_ones = [number for number, change in enumerate(changes) if len(change.place) > 1]
    while open_ones:
        tries = [(number, index) for number in open_ones for index in range(len(changes[number].place))]
        shorter = [changes[number].without(index) for number, index in tries]
        margins = excess(shorter)
        best: dict[int, int] = {}
        for position, (number, _) in enumerate(tries):
            if margins[position] > 0 and (number not in best or margins[position] > margins[best[number]]):
                best[number] = position
        for number, position in best.items():
            changes[number] = shorter[position]
        open_ones = [number for number in best if len(changes[number].place) > 1]
    return changes


def _count(changes: list[RecordChange]) -> int:
    return sum(len(change.place) for change in changes)


def _all_moved_back(changes: list[RecordChange], record: ChartedRecord, excess: _Excess) -> list[RecordChange]:
    """With each value as near to what was recorded as still flips, the largest move first."""
    largest_first = [np.argsort(-change.sizes(record), kind="stable") for change in changes]
    for turn in range(max((len(order) for order in largest_first), default=0)):
        index = [int(order[turn]) if turn < len(order) else None for order in largest_first]
        changes = _moved_back(changes, index, record, excess)
    return changes


def _moved_back(
    changes: list[RecordChange], index: list[int | None], record: ChartedRecord, excess: _Excess
) -> list[RecordChange]:
    """With value number `index` of each (None: none) as near to what was recorded as still flips, found by bisection.

    Between the value found and what was recorded there may be others that flip, where the model is not monotone; one
    charted step nearer there is none.
    """
    known, beyond = np.zeros(len(changes), dtype=np.int64), np.ones(len(changes), dtype=np.int64)
    for number, (change, at) in enumerate(zip(changes, index, strict=True)):
        if at is not None:
            beyond[number] += change.steps_between(at, record)

    def nearer(number: int, steps: int) -> RecordChange:
        at = index[number]
        return changes[number] if at is None or steps == 0 else changes[number].nearer_by(steps, at, record)

    _bisect(known, beyond, nearer, lambda tries: excess(tries) > 0)
    return [nearer(number, int(steps)) for number, steps in enumerate(known)]


def _bisect(
    known: npt.NDArray[np.int64],
    beyond: npt.NDArray[np.int64],
    nearer: Callable[[int, int], RecordChange],
    flips: Callable[[list[RecordChange]], npt.NDArray[np.bool_]],
) -> None:
    """Narrow, in place, steps that are known to flip and steps that do not, until they are neighbours."""
    while len(between := np.flatnonzero(beyond - known > 1)):
        middle = (known[between] + beyond[between]) // 2
        flip = flips([nearer(int(number), int(steps)) for number, steps in zip(between, middle, strict=True)])
        known[between[flip]] = middle[flip]
        beyond[between[~flip]] = middle[~flip]
