"""One recorded value at a time: every value of a record, set to every level of a grid, and what the model says then.

Exhaustive, so complete on its grid: a stay without a flip here has no single value of the grid that flips it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ehr_attack.attacks.charted import DECIMALS, ChangedValues, ChartedRecord
from ehr_attack.attacks.queue import padded
from ehr_attack.attacks.rows import FinishedRows, Victims
from ehr_attack.attacks.space import Space
from ehr_attack.progress import Progress

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]

_ROWS_A_BATCH = 64
"""Where `chunk_rows` is larger, for a GPU, a stay's batches are padded to a multiple of this."""

Margins = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Inputs (rows, hours, channels), lengths (rows,), labels (rows,) -> margins logit_t - logit_y (rows,)."""


@dataclass(frozen=True)
class SingleResult:
    """What the scan of one stay found.

    stay: its position among the victims; size: of its point; tried: changes that were tried, each of one value to one
    level; place: int64 (k,), the values of which some level flips the prediction; value_after, change, margin: float64
    (k,), for each of them the flipping level that is nearest to what was recorded (clinical units), the change to it in
    scaled units, and the margin there. best_margin: the largest margin of all changes, -inf where there was none.
    """

    stay: int
    size: int
    tried: int
    place: _Ints
    value_after: _Floats
    change: _Floats
    margin: _Floats
    best_margin: float

    @property
    def best(self) -> int | None:
        """Index into `place` of the smallest flipping change in scaled units, the first of equal ones; None: none."""
        return int(np.abs(self.change).argmin()) if len(self.change) else None

    @property
    def _told_margin(self) -> float:
        if self.best is not None:
            return float(self.margin[self.best])
        return self.best_margin if self.tried else float("nan")

    def finished(self, device: torch.device | str = "cpu") -> FinishedRows:
        """The smallest flip as a row of a search, of one lambda and one step.

        Without a flip it is the unchanged record, but for its margin: that of the try that came nearest, NaN with none.
        """
        point = torch.zeros(1, self.size, device=device)
        if self.best is not None:
            point[0, int(self.place[self.best])] = float(self.change[self.best])
        flipped = torch.tensor([self.best is not None], device=device)
        no = torch.zeros_like(flipped)
        return FinishedRows(
            stay=torch.tensor([self.stay], device=device),
            position=torch.tensor([0], device=device),
            point=point,
            steps=torch.tensor([1], device=device),
            flipped=flipped,
            margin=torch.tensor([self._told_margin], dtype=torch.float32, device=device),
            falling=no,
            vanished=torch.tensor([self.tried == 0], device=device),
            stuck=no,
            pruned=no,
            audited=no,
            rested=no,
        )


def scan(
    margins: Margins,
    space: Space,
    record: ChartedRecord,
    victims: Victims,
    *,
    levels: int,
    chunk_rows: int,
    kappa: float,
    progress: Progress,
) -> Iterator[SingleResult]:
    """Try every mutable recorded value of every victim at every level; one result a stay, in order.

    space, record: of the same stays as `victims`; levels: how many a variable has, see `level_values`. A flip needs a
    margin above kappa. Levels at which a relation would not hold are left out. Batches are of one stay, of at most
    `chunk_rows` and padded, so that a stay's result depends on nothing but the stay; memory is that of its candidates.
    """
    values, flipped = level_values(record, levels), 0
    for stay in range(len(victims.inputs)):
        place, level = _candidates(record, values, stay)
        change = (level - record.events.value[stay, place]) / record.rules.scale[record.events.feature[stay, place]]
        margin = _margins(margins, space, victims, stay, place, change, chunk_rows)
        result = _result(space.size, stay, place, level, change, margin, kappa)
        flipped += result.best is not None
        progress.advance(1, f"{flipped / (stay + 1):.0%} of the stays flipped by one value")
        yield result


def level_values(record: ChartedRecord, levels: int) -> list[_Floats]:
    """For each feature the charted values to try, ascending: `levels` of them, evenly over the winsorised range.

    From the 1st to the 99th training percentile, each rounded to a charted step inside the plausible range; fewer where
    two fall on the same step. Beyond these percentiles the model sees no difference.
    """
    rules = record.rules
    lowest, highest = record.limits
    return [
        np.unique(
            np.clip(
                np.round(np.rint(np.linspace(low, low + scale, levels) / step) * step, DECIMALS),
                lowest[feature],
                highest[feature],
            )
        )
        for feature, (low, scale, step) in enumerate(zip(rules.low, rules.scale, rules.precision, strict=True))
    ]


def _candidates(record: ChartedRecord, values: list[_Floats], stay: int) -> tuple[_Ints, _Floats]:
    """The changes to try: places (n,) of recorded values and the levels (n,) to set them to, in that order."""
    events = record.events
    free = np.flatnonzero(record.mutable[stay])
    counts = np.array([len(values[feature]) for feature in events.feature[stay, free]], dtype=np.int64)
    place = np.repeat(free, counts)
    level = np.concatenate([np.empty(0), *(values[feature] for feature in events.feature[stay, free])])
    step = record.rules.precision[events.feature[stay, place]]
    moved = np.abs(level - events.value[stay, place]) > 1e-6 * step
    place, level = place[moved], level[moved]
    allowed = record.keeps_relations(stay, place, level)
    return place[allowed], level[allowed]


def _margins(
    margins: Margins,
    space: Space,
    victims: Victims,
    stay: int,
    place: _Ints,
    change: _Floats,
    chunk_rows: int,
) -> _Floats:
    """Margins (n,) of the stay with one value changed, float64 of the model's float32."""
    device = victims.inputs.device
    chunk_rows = min(chunk_rows, -(-len(place) // _ROWS_A_BATCH) * _ROWS_A_BATCH) or 1
    found = [np.empty(0)]
    with torch.no_grad():
        for start in range(0, len(place), chunk_rows):
            part = torch.from_numpy(place[start : start + chunk_rows]).to(device)
            sizes = torch.from_numpy(change[start : start + chunk_rows]).to(device, torch.float32)
            point = torch.zeros(len(part), space.size, device=device)
            point[torch.arange(len(part), device=device), part] = sizes
            stays = torch.full((chunk_rows,), stay, device=device)
            seen = victims.seen(stays, space.features(stays, padded(point, chunk_rows)))
            margin = margins(seen, victims.lengths[stays], victims.labels[stays])
            found.append(margin[: len(part)].double().cpu().numpy())
    return np.concatenate(found)


def _result(
    size: int, stay: int, place: _Ints, level: _Floats, change: _Floats, margin: _Floats, kappa: float
) -> SingleResult:
    flips = np.flatnonzero(margin > kappa)
    order = flips[np.lexsort([np.abs(change[flips]), place[flips]])]
    _, first = np.unique(place[order], return_index=True)
    nearest = order[first]
    return SingleResult(
        stay=stay,
        size=size,
        tried=len(place),
        place=place[nearest],
        value_after=level[nearest],
        change=change[nearest],
        margin=margin[nearest],
        best_margin=float(margin.max(initial=-np.inf)),
    )


def flipping_values(results: Sequence[SingleResult], record: ChartedRecord) -> ChangedValues:
    """Every value that flips the prediction by itself, with its smallest such change; row: place among `results`."""
    row = np.repeat(np.arange(len(results)), [len(result.place) for result in results])
    stay = np.array([result.stay for result in results], dtype=np.int64)[row]
    place = np.concatenate([np.empty(0, dtype=np.int64), *(result.place for result in results)])
    events = record.events
    return ChangedValues(
        row=row,
        feature=events.feature[stay, place],
        hours=events.hours[stay, place],
        value_before=events.value[stay, place],
        value_after=np.concatenate([np.empty(0), *(result.value_after for result in results)]),
    )
