"""The rows of a search that are in work: a batch of one size, whose places are taken by one row after the other."""

from dataclasses import replace

import torch
from torch import Tensor

from ehr_attack.attacks.mode import Seen
from ehr_attack.attacks.problem import VANISHED, Problem
from ehr_attack.attacks.queue import RowQueue, padded, rows_of
from ehr_attack.attacks.rows import FinishedRows

_STILL_FALLING = 1e-5
"""A margin that grew by more than this in the last step says that more steps might have flipped the row."""


class Batch:
    """The rows in work, one a place. A place that no waiting row takes goes on with its last row, to no effect."""

    def __init__(self, problem: Problem, rows: Tensor) -> None:
        self._problem = problem
        places = problem.settings.chunk_rows
        self._busy = torch.arange(places, device=rows.device) < len(rows)
        self._row = padded(rows, places) if len(rows) else rows.new_zeros(places)
        self._state = problem.first_step(self._row)
        self._made = torch.ones(places, 1, device=rows.device)
        self._last_margin = torch.full((places,), -torch.inf, device=rows.device)
        self._stays, self._positions = rows_of(self._row, problem.settings)
        self._lambdas = problem.lambdas_of(self._positions)
        self._low, self._high = (limit.clone() for limit in problem.space.bounds(self._stays))
        self._best = torch.zeros_like(self._state["point"])
        self._best_size = torch.full((places,), torch.inf, device=rows.device)
        self._best_margin = torch.zeros(places, device=rows.device)

    @property
    def occupied(self) -> bool:
        """Whether any row is in work."""
        return bool(self._busy.any())

    def evaluate(self) -> tuple[Tensor, Tensor]:
        """Margins (places,) and gradients (places, size) at the current points."""
        if not self._problem.any_rows or self._busy.all():
            return self._problem.evaluate(self._stays, self._state["point"])
        places = self._busy.nonzero().flatten()
        margin, gradient = self._problem.evaluate(self._stays[places], self._state["point"][places])
        everywhere = torch.zeros_like(self._last_margin), torch.zeros_like(self._state["point"])
        return everywhere[0].index_copy(0, places, margin), everywhere[1].index_copy(0, places, gradient)

    def finish(self, margin: Tensor, gradient: Tensor, queue: RowQueue) -> tuple[Tensor, FinishedRows | None]:
        """Places (n,) of the rows that end here, and these rows."""
        settings, mode = self._problem.settings, self._problem.mode
        flipped = margin > settings.kappa
        if not mode.stops_at_flip:
            self._keep_smallest(margin, flipped)
        broken = ~torch.isfinite(margin + gradient.sum(dim=1))
        at_end = (self._made[:, 0] >= settings.steps) | broken
        if mode.stops_at_flip:
            at_end |= flipped
        obsolete = queue.obsolete(self._row) if settings.prune else None
        if obsolete is not None:
            at_end |= obsolete
        leaving = (self._busy & at_end).nonzero().flatten()
        if not len(leaving):
            self._last_margin = margin
            return leaving, None
        finished = self._finished(leaving, margin, gradient, broken, queue)
        if settings.prune:
            finished = self._pruned(finished, leaving, obsolete, queue)
        self._last_margin = margin
        self._busy[leaving] = False
        return leaving, finished

    def _pruned(
        self, finished: FinishedRows, leaving: Tensor, obsolete: Tensor | None, queue: RowQueue
    ) -> FinishedRows:
        """The same rows, those that became needless marked as never searched; the queue learns of the failures."""
        gone = torch.zeros_like(finished.flipped) if obsolete is None else obsolete[leaving]
        queue.note(self._row[leaving], ~finished.flipped & ~gone)
        return replace(finished, pruned=gone)

    def _keep_smallest(self, margin: Tensor, flipped: Tensor) -> None:
        point = self._state["point"]
        size = self._problem.mode.size(point)
        better = flipped & (size < self._best_size)
        self._best_size = torch.where(better, size, self._best_size)
        self._best_margin = torch.where(better, margin, self._best_margin)
        self._best = torch.where(better[:, None], point, self._best)

    def _finished(
        self, leaving: Tensor, margin: Tensor, gradient: Tensor, broken: Tensor, queue: RowQueue
    ) -> FinishedRows:
        point, at, slope = self._state["point"][leaving], margin[leaving], gradient[leaving]
        flipped = (at > self._problem.settings.kappa) & ~broken[leaving]
        if not self._problem.mode.stops_at_flip:
            found = torch.isfinite(self._best_size[leaving])
            point = torch.where(found[:, None], self._best[leaving], point)
            at, flipped = torch.where(found, self._best_margin[leaving], at), found
        failed, sound = ~flipped, ~broken[leaving]
        wanted = -slope.sign()
        low, high = self._low[leaving], self._high[leaving]
        held = ((wanted > 0) & (point >= high)) | ((wanted < 0) & (point <= low)) | (wanted == 0)
        return FinishedRows(
            stay=self._stays[leaving],
            position=self._positions[leaving],
            point=torch.where(sound[:, None] | flipped[:, None], point, 0.0),
            steps=self._made[leaving, 0].to(torch.int64),
            flipped=flipped,
            margin=at,
            falling=failed & sound & (margin[leaving] > self._last_margin[leaving] + _STILL_FALLING),
            vanished=failed & (~sound | (slope.abs().amax(dim=1) <= VANISHED)),
            stuck=failed & sound & held.all(dim=1) & self._problem.mode.constrained,
            pruned=torch.zeros_like(flipped),
            audited=queue.audited(self._row[leaving]),
            rested=torch.zeros_like(flipped),
        )

    def advance(self, margin: Tensor, gradient: Tensor) -> None:
        """One update of every row."""
        seen = Seen(gradient, margin, self._lambdas, self._made, self._low, self._high, self._problem.settings)
        self._state = self._problem.updated(self._state, seen)
        self._made = self._made + 1

    def fill(self, places: Tensor, rows: Tensor) -> None:
        """Seat `rows` in the first of the empty `places`, one update done already."""
        if not len(rows):
            return
        places = places[: len(rows)]
        self._busy[places] = True
        self._row[places] = rows
        self._stays[places], self._positions[places] = rows_of(rows, self._problem.settings)
        self._lambdas[places] = self._problem.lambdas_of(self._positions[places])
        self._low[places], self._high[places] = self._problem.space.bounds(self._stays[places])
        self._made[places] = 1.0
        self._last_margin[places] = -torch.inf
        self._best_size[places] = torch.inf
        for name, value in self._problem.first_step(rows).items():
            self._state[name][places] = value
