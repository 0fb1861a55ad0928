"""Which rows wait for a place in the batch, in what order, and which need not be searched (pruning)."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ehr_attack.attacks.mode import SearchSettings
from ehr_attack.attacks.rows import Victims

_AUDITED_SHARE = 0.05
_PLACES_A_WINDOW = 4
_NEVER = 1 << 30


def rows_of(rows: Tensor, settings: SearchSettings) -> tuple[Tensor, Tensor]:
    """Stays and positions in the grid of lambdas, each (rows,): row = stay x number of lambdas + position."""
    count = len(settings.lambdas)
    return rows.div(count, rounding_mode="floor"), rows.remainder(count)


def padded(values: Tensor, rows: int) -> Tensor:
    """Repeat the first row at the end until there are `rows` of them."""
    if len(values) == rows:
        return values
    return torch.cat([values, values[:1].expand(rows - len(values), *values.shape[1:])])


class RowQueue:
    """The waiting rows.

    Without pruning, stay by stay. With it, window of stays by window, and in a window from the smallest lambda up: a
    stay that fails at one lambda is not attacked at larger ones, but for an audited sample of these rows (5 %, chosen
    by the stay's key). A heuristic. The grid of lambdas must rise. Whatever the order in which rows end, the same rows
    count in the end, because those above a stay's first failure count as pruned even where they were searched; see
    `left_out`.
    """

    def __init__(self, victims: Victims, settings: SearchSettings, resting: Tensor) -> None:
        """resting: bool (rows,), rows that end at zero without a search."""
        self._settings = settings
        rows = torch.arange(len(resting), device=resting.device)
        stays, positions = rows_of(rows, settings)
        n_stays = len(victims.inputs)
        self._fails_at = torch.full((n_stays,), _NEVER, dtype=torch.int64, device=resting.device)
        keys = torch.arange(n_stays, device=resting.device) if victims.keys is None else victims.keys
        self._audit = (is_audited(keys[stays], positions) & ~resting) if settings.prune else torch.zeros_like(resting)
        if settings.prune:
            self.note(rows[resting], torch.ones_like(rows[resting], dtype=torch.bool))
            window = max(1, _PLACES_A_WINDOW * settings.chunk_rows)
            order = ((stays // window) * len(settings.lambdas) + positions) * n_stays + stays
            rows = rows[order.argsort()]
        self._waiting = rows[~resting[rows]]
        self._skipped: list[Tensor] = []

    def take(self, count: int) -> Tensor:
        """The next rows to search, at most `count`; what needs no search any more is passed over."""
        taken: list[Tensor] = []
        while count and len(self._waiting):
            candidates, self._waiting = self._waiting[:count], self._waiting[count:]
            if self._settings.prune and (needless := self.obsolete(candidates)).any():
                self._skipped.append(candidates[needless])
                candidates = candidates[~needless]
            taken.append(candidates)
            count -= len(candidates)
        return torch.cat(taken) if taken else self._waiting[:0]

    def obsolete(self, rows: Tensor) -> Tensor:
        """Bool (rows,): a smaller lambda of the same stay has failed, and the row is not audited."""
        stays, positions = rows_of(rows, self._settings)
        return (positions > self._fails_at[stays]) & ~self._audit[rows]

    def note(self, rows: Tensor, failed: Tensor) -> None:
        """Learn which of `rows` have failed."""
        stays, positions = rows_of(rows[failed], self._settings)
        self._fails_at = self._fails_at.scatter_reduce(0, stays, positions, reduce="amin")

    def audited(self, rows: Tensor) -> Tensor:
        """Bool (rows,): searched even where a smaller lambda failed."""
        return self._audit[rows]

    def passed_over(self) -> Iterator[Tensor]:
        """Blocks of the rows that were passed over since the last call."""
        while self._skipped:
            yield self._skipped.pop(0)


def left_out(
    flipped: npt.NDArray[np.bool_],
    pruned: npt.NDArray[np.bool_],
    audited: npt.NDArray[np.bool_],
    rested: npt.NDArray[np.bool_],
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which rows of a pruned search count as not searched, and which would have but for the audit.

    Both lie above their stay's first failure; rows known to rest at zero are neither. All bool (stays, lambdas),
    lambdas rising; `pruned`: what the search passed over, which depends on what was in work at the time; the result
    does not.
    """
    failed = ~flipped & ~pruned
    first = np.where(failed.any(axis=1), failed.argmax(axis=1), flipped.shape[1])
    above = np.arange(flipped.shape[1])[None, :] > first[:, None]
    needless = above & ~rested
    return np.asarray(needless & ~audited), np.asarray(needless & audited)


def is_audited(keys: Tensor, positions: Tensor) -> Tensor:
    """Bool (rows,): one row in twenty, by a mixed hash of the stay's key and the position, whatever the sharding."""
    mixed = (keys.to(torch.int64) * 1_000_003 + positions) & 0x7FFFFFFF
    for factor in (0x45D9F3B, 0x119DE1F3):
        mixed = ((mixed ^ (mixed >> 16)) * factor) & 0x7FFFFFFF
    mixed = mixed ^ (mixed >> 15)
    return mixed % 1000 < int(_AUDITED_SHARE * 1000)
