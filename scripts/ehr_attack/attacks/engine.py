"""The attack engine: all rows (stay x lambda) of many stays through one fixed-size batch.

Model weights are frozen and gradients go to the input only. Exact savings: the clean gradient of a stay is shared by
all its lambdas; a row whose first update leaves it at zero stays there for ever and costs nothing; one forward pass
serves the flip check and the next gradient. Finished rows leave the batch and waiting rows take their place. Where the
arithmetic of a row depends on the number of rows beside it, the batch always has the same number, so that a row's
result does not depend on its neighbours.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor, nn

from ehr_attack.attacks.gradients import GradientPath, freeze, gradient_path
from ehr_attack.attacks.gradients.autograd import margins
from ehr_attack.attacks.mode import Mode, SearchSettings, Seen, State
from ehr_attack.attacks.queue import RowQueue, padded, rows_of
from ehr_attack.attacks.space import CellSpace, Space
from ehr_attack.progress import Progress

_ROWS_A_BLOCK = 1024
_STILL_FALLING = 1e-5
"""A margin that grew by more than this in the last step says that more steps might have flipped the row."""
_SLACK = 1e-4
_VANISHED = 1e-9
"""A gradient with no larger entry moves no cell by a charted unit in any number of steps."""


@dataclass(frozen=True)
class Victims:
    """Correctly classified stays to attack.

    inputs: float32 (stays, hours, features), scaled; lengths: int64 (stays,), valid hours; labels: int64 (stays,), the
    true and predicted class; mutable: bool (stays, hours, features), cells that a constrained attack may change;
    constants: float32 (stays, hours, channels), what the model sees after the features and no attack changes, or None;
    keys: int64 (stays,), what tells the stays apart whatever the sharding (their ids), or None: their position.
    """

    inputs: Tensor
    lengths: Tensor
    labels: Tensor
    mutable: Tensor
    constants: Tensor | None = None
    keys: Tensor | None = None

    def seen(self, stays: Tensor, features: Tensor) -> Tensor:
        """What the model sees of `stays` (rows,) with `features` (rows, hours, features) in place of their inputs."""
        if self.constants is None or not self.constants.shape[-1]:
            return features
        return torch.cat([features, self.constants[stays].to(features)], dim=-1)

    def subset(self, stays: Tensor) -> "Victims":
        """Some of the stays, in the order of their positions `stays` (rows,)."""
        return self._each(lambda part: part[stays])

    def to(self, device: torch.device) -> "Victims":
        """The same on another device."""
        return self._each(lambda part: part.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Victims":
        return Victims(
            change(self.inputs),
            change(self.lengths),
            change(self.labels),
            change(self.mutable),
            None if self.constants is None else change(self.constants),
            None if self.keys is None else change(self.keys),
        )


@dataclass(frozen=True)
class FinishedRows:
    """Rows whose search has ended; every tensor's first axis is the row.

    stay, position: int64, index into the victims and into the grid of lambdas; point: float32 (rows, size), the
    perturbation in the units of the space: the flip found (the smallest, in modes that go on), else the last point;
    steps: int64, updates made; flipped: bool, by the mode's float32 rule; margin: float32, logit_t - logit_y at
    `point`; falling, vanished, stuck: bool, of a row without a flip: its margin still grew at the last step; its
    gradient is zero; its last step changed nothing but was held by a bound. pruned: bool, not searched, because a
    smaller lambda of the stay failed; audited: bool, searched all the same; rested: bool, not searched, because its
    first update leaves it at zero.
    """

    stay: Tensor
    position: Tensor
    point: Tensor
    steps: Tensor
    flipped: Tensor
    margin: Tensor
    falling: Tensor
    vanished: Tensor
    stuck: Tensor
    pruned: Tensor
    audited: Tensor
    rested: Tensor


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
        yield from _Search(victims, space, path, mode, settings, progress).rows()


def in_chunks(model: nn.Module, inputs: Tensor, lengths: Tensor, labels: Tensor, chunk_rows: int) -> Tensor:
    """`margins` (rows,) without gradients, in batches padded to `chunk_rows`, so that neighbours do not matter."""
    with torch.no_grad():
        parts = [
            margins(
                model, *(padded(part[start : start + chunk_rows], chunk_rows) for part in (inputs, lengths, labels))
            )
            for start in range(0, len(inputs), chunk_rows)
        ]
    return torch.cat(parts)[: len(inputs)] if parts else inputs.new_zeros(0)


class _Search:
    """One search: the victims, the batch of rows in work, and the queue of those that wait."""

    def __init__(
        self,
        victims: Victims,
        space: Space,
        path: GradientPath,
        mode: Mode,
        settings: SearchSettings,
        progress: Progress,
    ) -> None:
        self._victims, self._space, self._path = victims, space, path
        # The smallest flip lies where the margin just passes kappa in float32; a little more holds in float64 too.
        slack = 0.0 if mode.stops_at_flip else _SLACK
        self._mode, self._settings, self._progress = mode, replace(settings, kappa=settings.kappa + slack), progress
        self._device = victims.inputs.device
        self._lambdas = torch.tensor(settings.lambdas, dtype=torch.float32, device=self._device)
        self._clean_margin, self._clean_gradient = self._at_zero()
        self._searched = self._successes = 0

    def rows(self) -> Iterator[FinishedRows]:
        """All rows, in blocks."""
        resting = self._resting()
        queue = RowQueue(self._victims, self._settings, resting)
        yield from self._unmoved(resting.nonzero().flatten(), pruned=False)
        held: list[FinishedRows] = []
        count = 0
        for block in self._moving(queue):
            held.append(block)
            count += len(block.stay)
            if count >= max(_ROWS_A_BLOCK, self._settings.chunk_rows):
                yield joined(held)
                held, count = [], 0
        if held:
            yield joined(held)

    def _moving(self, queue: RowQueue) -> Iterator[FinishedRows]:
        batch = _Batch(self, queue.take(self._settings.chunk_rows))
        while batch.occupied:
            margin, gradient = batch.evaluate()
            leaving, finished = batch.finish(margin, gradient, queue)
            batch.advance(margin, gradient)
            if finished is None:
                continue
            self._report(finished)
            yield finished
            batch.fill(leaving, queue.take(len(leaving)))
            for rows in queue.passed_over():
                yield from self._unmoved(rows, pruned=True)

    def _report(self, finished: FinishedRows) -> None:
        self._searched += len(finished.stay)
        self._successes += int(finished.flipped.sum())
        self._progress.advance(
            len(finished.stay), f"{self._successes / self._searched:.0%} of the searched rows flipped"
        )

    def _at_zero(self) -> tuple[Tensor, Tensor]:
        """Margins (stays,) and gradients (stays, size) of the unchanged records."""
        count = len(self._victims.inputs)
        chunks = torch.split(torch.arange(count, device=self._device), self._settings.chunk_rows)
        parts = [
            self.evaluate(stays, torch.zeros(len(stays), self._space.size, device=self._device))
            for stays in (padded(chunk, self._settings.chunk_rows) for chunk in chunks)
        ]
        return torch.cat([part[0] for part in parts])[:count], torch.cat([part[1] for part in parts])[:count]

    def evaluate(self, stays: Tensor, point: Tensor) -> tuple[Tensor, Tensor]:
        """Margins (rows,) of `stays` (rows,) at `point` (rows, size), and the gradient of logit_y - logit_t there."""
        seen = self._victims.seen(stays, self._space.features(stays, point))
        margin, gradient = self._path(seen, self._victims.lengths[stays], self._victims.labels[stays])
        return margin, self._space.pull(stays, point, gradient[..., : self._victims.inputs.shape[-1]])

    def first_step(self, rows: Tensor) -> State:
        """The states of `rows` after one update from zero, from the shared clean gradient."""
        stays, positions = rows_of(rows, self._settings)
        point = torch.zeros(len(rows), self._space.size, device=self._device)
        low, high = self._space.bounds(stays)
        seen = Seen(
            gradient=self._clean_gradient[stays],
            margin=self._clean_margin[stays],
            lambdas=self._lambdas[positions][:, None],
            made=torch.zeros(len(rows), 1, device=self._device),
            low=low,
            high=high,
            settings=self._settings,
        )
        return self.updated(self._mode.start(point), seen)

    def updated(self, state: State, seen: Seen) -> State:
        """One update of the mode, kept feasible when the mode is constrained."""
        state = self._mode.update(state, seen)
        return state | {"point": seen.project(state["point"])} if self._mode.constrained else state

    def _resting(self) -> Tensor:
        """Bool (rows,): the first update leaves the row at zero, where it then stays for ever."""
        rows = torch.arange(len(self._victims.inputs) * len(self._settings.lambdas), device=self._device)
        if not self._mode.rests_at_zero:
            return torch.zeros_like(rows, dtype=torch.bool)
        blocks = torch.split(rows, _ROWS_A_BLOCK)
        return torch.cat([~self.first_step(block)["point"].any(dim=1) for block in blocks])

    def _unmoved(self, rows: Tensor, *, pruned: bool) -> Iterator[FinishedRows]:
        """Rows that stay at zero: as if all steps had been made, without a flip; or not searched at all."""
        for block in torch.split(rows, _ROWS_A_BLOCK):
            if not len(block):
                continue
            stays, positions = rows_of(block, self._settings)
            no = torch.zeros_like(block, dtype=torch.bool)
            self._progress.advance(len(block))
            yield FinishedRows(
                stay=stays,
                position=positions,
                point=torch.zeros(len(block), self._space.size, device=self._device),
                steps=torch.full_like(block, 0 if pruned else self._settings.steps),
                flipped=no,
                margin=self._clean_margin[stays],
                falling=no,
                vanished=no if pruned else self._clean_gradient[stays].abs().amax(dim=1) <= _VANISHED,
                stuck=no if pruned or not self._mode.constrained else self._space_is_closed(stays),
                pruned=torch.full_like(no, pruned),
                audited=no,
                rested=torch.full_like(no, not pruned),
            )

    def _space_is_closed(self, stays: Tensor) -> Tensor:
        """Bool (rows,): no number of the stay may change."""
        low, high = self._space.bounds(stays)
        return ~((low != 0) | (high != 0)).any(dim=1)

    @property
    def mode(self) -> Mode:
        """The mode of the search."""
        return self._mode

    @property
    def settings(self) -> SearchSettings:
        """The settings of the search."""
        return self._settings

    @property
    def any_rows(self) -> bool:
        """Whether rows may be computed in any number without a change of their results."""
        return self._path.any_rows

    def lambdas_of(self, positions: Tensor) -> Tensor:
        """Lambdas (rows, 1) of positions (rows,)."""
        return self._lambdas[positions][:, None]

    def bounds(self, stays: Tensor) -> tuple[Tensor, Tensor]:
        """Limits of feasible points, each (rows, size)."""
        return self._space.bounds(stays)


class _Batch:
    """The rows in work, one a place. A place that no waiting row takes goes on with its last row, to no effect."""

    def __init__(self, search_: _Search, rows: Tensor) -> None:
        self._search = search_
        places = search_.settings.chunk_rows
        self._busy = torch.arange(places, device=rows.device) < len(rows)
        self._row = padded(rows, places) if len(rows) else rows.new_zeros(places)
        self._state = search_.first_step(self._row)
        self._made = torch.ones(places, 1, device=rows.device)
        self._last_margin = torch.full((places,), -torch.inf, device=rows.device)
        self._stays, self._positions = rows_of(self._row, search_.settings)
        self._lambdas = search_.lambdas_of(self._positions)
        self._low, self._high = (limit.clone() for limit in search_.bounds(self._stays))
        self._best = torch.zeros_like(self._state["point"])
        self._best_size = torch.full((places,), torch.inf, device=rows.device)
        self._best_margin = torch.zeros(places, device=rows.device)

    @property
    def occupied(self) -> bool:
        """Whether any row is in work."""
        return bool(self._busy.any())

    def evaluate(self) -> tuple[Tensor, Tensor]:
        """Margins (places,) and gradients (places, size) at the current points."""
        if not self._search.any_rows or self._busy.all():
            return self._search.evaluate(self._stays, self._state["point"])
        places = self._busy.nonzero().flatten()
        margin, gradient = self._search.evaluate(self._stays[places], self._state["point"][places])
        everywhere = torch.zeros_like(self._last_margin), torch.zeros_like(self._state["point"])
        return everywhere[0].index_copy(0, places, margin), everywhere[1].index_copy(0, places, gradient)

    def finish(self, margin: Tensor, gradient: Tensor, queue: RowQueue) -> tuple[Tensor, FinishedRows | None]:
        """Places (n,) of the rows that end here, and these rows."""
        settings, mode = self._search.settings, self._search.mode
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
        size = self._search.mode.size(point)
        better = flipped & (size < self._best_size)
        self._best_size = torch.where(better, size, self._best_size)
        self._best_margin = torch.where(better, margin, self._best_margin)
        self._best = torch.where(better[:, None], point, self._best)

    def _finished(
        self, leaving: Tensor, margin: Tensor, gradient: Tensor, broken: Tensor, queue: RowQueue
    ) -> FinishedRows:
        point, at, slope = self._state["point"][leaving], margin[leaving], gradient[leaving]
        flipped = (at > self._search.settings.kappa) & ~broken[leaving]
        if not self._search.mode.stops_at_flip:
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
            vanished=failed & (~sound | (slope.abs().amax(dim=1) <= _VANISHED)),
            stuck=failed & sound & held.all(dim=1) & self._search.mode.constrained,
            pruned=torch.zeros_like(flipped),
            audited=queue.audited(self._row[leaving]),
            rested=torch.zeros_like(flipped),
        )

    def advance(self, margin: Tensor, gradient: Tensor) -> None:
        """One update of every row."""
        seen = Seen(gradient, margin, self._lambdas, self._made, self._low, self._high, self._search.settings)
        self._state = self._search.updated(self._state, seen)
        self._made = self._made + 1

    def fill(self, places: Tensor, rows: Tensor) -> None:
        """Seat `rows` in the first of the empty `places`, one update done already."""
        if not len(rows):
            return
        places = places[: len(rows)]
        self._busy[places] = True
        self._row[places] = rows
        self._stays[places], self._positions[places] = rows_of(rows, self._search.settings)
        self._lambdas[places] = self._search.lambdas_of(self._positions[places])
        self._low[places], self._high[places] = self._search.bounds(self._stays[places])
        self._made[places] = 1.0
        self._last_margin[places] = -torch.inf
        self._best_size[places] = torch.inf
        for name, value in self._search.first_step(rows).items():
            self._state[name][places] = value


def joined(blocks: Sequence[FinishedRows]) -> FinishedRows:
    """Blocks of rows end to end."""
    if len(blocks) == 1:
        return blocks[0]
    return FinishedRows(
        **{field.name: torch.cat([getattr(block, field.name) for block in blocks]) for field in fields(FinishedRows)}
    )
