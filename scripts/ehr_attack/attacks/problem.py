"""One search's question: which stays, varied in which space, by which mode, with gradients by which path."""

import functools
from dataclasses import replace

import torch
from torch import Tensor

from ehr_attack.attacks.gradients import GradientPath
from ehr_attack.attacks.memory import RowsAtOnce
from ehr_attack.attacks.mode import Mode, SearchSettings, Seen, State
from ehr_attack.attacks.queue import padded, rows_of
from ehr_attack.attacks.rows import Victims
from ehr_attack.attacks.space import Space

VANISHED = 1e-9
"""A gradient with no larger entry moves no cell by a charted unit in any number of steps."""
ROWS_A_BLOCK = 1024
_SLACK = 1e-4


def evaluated(
    victims: Victims, space: Space, path: GradientPath, stays: Tensor, point: Tensor
) -> tuple[Tensor, Tensor]:
    """Margins (rows,) of `stays` (rows,) at `point` (rows, size), and the gradient of logit_y - logit_t there."""
    seen = victims.seen(stays, space.features(stays, point))
    margin, gradient = path(seen, victims.lengths[stays], victims.labels[stays])
    return margin, space.pull(stays, point, gradient[..., : victims.inputs.shape[-1]])


class Problem:
    """Rows are numbered: row = stay x number of lambdas + position in the grid of lambdas."""

    def __init__(
        self, victims: Victims, space: Space, path: GradientPath, mode: Mode, settings: SearchSettings
    ) -> None:
        self.victims, self.space, self.mode, self._path = victims, space, mode, path
        # The smallest flip lies where the margin just passes kappa in float32; a little more holds in float64 too.
        self.settings = settings if mode.stops_at_flip else replace(settings, kappa=settings.kappa + _SLACK)
        self.device = victims.inputs.device
        self._at_once = RowsAtOnce()
        self._lambdas = torch.tensor(settings.lambdas, dtype=torch.float32, device=self.device)
        self.clean_margin, self.clean_gradient = self._at_zero()

    @property
    def n_rows(self) -> int:
        """Rows of the whole search."""
        return len(self.victims.inputs) * len(self.settings.lambdas)

    @property
    def any_rows(self) -> bool:
        """Whether rows may be computed in any number without a change of their results."""
        return self._path.any_rows

    def lambdas_of(self, positions: Tensor) -> Tensor:
        """Lambdas (rows, 1) of positions (rows,)."""
        return self._lambdas[positions][:, None]

    def evaluate(self, stays: Tensor, point: Tensor) -> tuple[Tensor, Tensor]:
        """Margins (rows,) of `stays` (rows,) at `point` (rows, size), and the gradient of logit_y - logit_t there."""
        return self._at_once(functools.partial(evaluated, self.victims, self.space, self._path), stays, point)

    def first_step(self, rows: Tensor) -> State:
        """The states of `rows` after one update from zero, from the shared clean gradient."""
        stays, positions = rows_of(rows, self.settings)
        low, high = self.space.bounds(stays)
        seen = Seen(
            gradient=self.clean_gradient[stays],
            margin=self.clean_margin[stays],
            lambdas=self.lambdas_of(positions),
            made=torch.zeros(len(rows), 1, device=self.device),
            low=low,
            high=high,
            settings=self.settings,
        )
        return self.updated(self.mode.start(self.zero(len(rows))), seen)

    def updated(self, state: State, seen: Seen) -> State:
        """One update of the mode, kept feasible when the mode is constrained."""
        state = self.mode.update(state, seen)
        return state | {"point": seen.project(state["point"])} if self.mode.constrained else state

    def resting(self) -> Tensor:
        """Bool (rows,): the first update leaves the row at zero, where it then stays for ever."""
        rows = torch.arange(self.n_rows, device=self.device)
        if not self.mode.rests_at_zero:
            return torch.zeros_like(rows, dtype=torch.bool)
        blocks = torch.split(rows, ROWS_A_BLOCK)
        return torch.cat([~self.first_step(block)["point"].any(dim=1) for block in blocks])

    def closed(self, stays: Tensor) -> Tensor:
        """Bool (rows,): no number of the stay may change."""
        low, high = self.space.bounds(stays)
        return ~((low != 0) | (high != 0)).any(dim=1)

    def zero(self, rows: int) -> Tensor:
        """So many points of unchanged records, (rows, size)."""
        return torch.zeros(rows, self.space.size, device=self.device)

    def _at_zero(self) -> tuple[Tensor, Tensor]:
        """Margins (stays,) and gradients (stays, size) of the unchanged records."""
        count, places = len(self.victims.inputs), self.settings.chunk_rows
        chunks = torch.split(torch.arange(count, device=self.device), places)
        parts = [self.evaluate(padded(chunk, places), self.zero(places)) for chunk in chunks]
        return torch.cat([part[0] for part in parts])[:count], torch.cat([part[1] for part in parts])[:count]
