"""Baselines: changes as large as those of a real attack on the same stay, put where chance or a rule of thumb says.

An attack is worth its name when these flip next to nothing at the same budget. Each function gets the budget of a stay,
the magnitudes of the cells that the attack to match has changed; the gradient of logit_y - logit_t at the unchanged
record; and how far each cell may change, down and up. It returns the changes, inside these limits. A baseline is judged
generously: any flip counts, rounded to charted units or not.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from ehr_attack.attacks.selection import ROW_KEY
from ehr_attack.storage import read_frame

_Floats = npt.NDArray[np.float64]
Baseline = Callable[[_Floats, _Floats, _Floats, _Floats, np.random.Generator], _Floats]
"""(magnitudes (k,), gradient, low, high (each (hours, features)), random) -> changes (hours, features), scaled units;
low <= 0 <= high, both 0 where nothing may change."""

_BISECTIONS = 60


@dataclass(frozen=True)
class Budget:
    """What the attack to match needed: stay id -> magnitudes (k,) of the changed cells, scaled units, falling."""

    magnitudes: dict[int, _Floats]

    @classmethod
    def read(cls, outcomes: str, perturbations: str) -> "Budget":
        """The selected attacks of a fold's merged tables; stays without a success have no budget."""
        chosen = read_frame(outcomes, [*ROW_KEY, "selected"]).query("selected")[ROW_KEY]
        cells = read_frame(perturbations, [*ROW_KEY, "delta_scaled"]).merge(chosen, on=ROW_KEY)
        return cls(dict(_falling(cells)))

    def of(self, stay_ids: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Bool (stays,): there is something to match."""
        return np.isin(stay_ids, list(self.magnitudes))


def _falling(cells: pd.DataFrame) -> Sequence[tuple[int, _Floats]]:
    sizes = cells["delta_scaled"].abs().groupby(cells["stay_id"])
    return [(int(stay), np.sort(part.to_numpy(dtype=np.float64))[::-1]) for stay, part in sizes]


def random_cells(
    magnitudes: _Floats, gradient: _Floats, low: _Floats, high: _Floats, random: np.random.Generator
) -> _Floats:
    """The same magnitudes in as many random cells, up or down at random as far as there is room."""
    free = np.flatnonzero((low != 0) | (high != 0))
    cells = random.choice(free, size=min(len(magnitudes), len(free)), replace=False)
    wanted = magnitudes[: len(cells)]
    signs = _towards_room(random.choice([-1.0, 1.0], size=len(cells)), wanted, low.ravel()[cells], high.ravel()[cells])
    return _placed(cells, signs * wanted, low, high)


def random_noise(
    magnitudes: _Floats, gradient: _Floats, low: _Floats, high: _Floats, random: np.random.Generator
) -> _Floats:
    """Gaussian noise in every cell, of the same sum of magnitudes."""
    noise = random.standard_normal(low.shape)
    noise = _towards_room(np.sign(noise), np.zeros_like(noise), low, high) * np.abs(noise)
    return _scaled(noise, float(magnitudes.sum()), low, high)


def gradient_sign(
    magnitudes: _Floats, gradient: _Floats, low: _Floats, high: _Floats, random: np.random.Generator
) -> _Floats:
    """The fast gradient sign method (Goodfellow et al., ICLR 2015): every cell by the same step, of the same sum."""
    return _scaled(-np.sign(gradient), float(magnitudes.sum()), low, high)


def last_hours(
    magnitudes: _Floats, gradient: _Floats, low: _Floats, high: _Floats, random: np.random.Generator
) -> _Floats:
    """The same magnitudes in as many cells of the latest hours, along the gradient: what matters is the latest."""
    signs = -np.sign(gradient)
    cells = np.flatnonzero(_room(signs, low, high) > 0)[::-1][: len(magnitudes)]
    return _placed(cells, signs.ravel()[cells] * magnitudes[: len(cells)], low, high)


def _room(signs: _Floats, low: _Floats, high: _Floats) -> _Floats:
    """How far each entry may go in the direction of its sign; 0 where that is 0."""
    return np.where(signs > 0, high, np.where(signs < 0, -low, 0.0))


def _towards_room(signs: _Floats, wanted: _Floats, low: _Floats, high: _Floats) -> _Floats:
    """The signs, turned around where there is no room for what is wanted but more on the other side."""
    here, there = _room(signs, low, high), _room(-signs, low, high)
    turned: _Floats = np.where((here <= wanted) & (there > here), -signs, signs)
    return turned


def _scaled(direction: _Floats, total: float, low: _Floats, high: _Floats) -> _Floats:
    """The multiple of `direction` that, cut off at the limits, sums up to `total`; at most the limits themselves."""
    room, size = _room(direction, low, high), np.abs(direction)
    least, most = 0.0, total / max(float(size[room > 0].min(initial=np.inf)), 1e-12)
    for _ in range(_BISECTIONS):
        middle = (least + most) / 2
        if np.minimum(middle * size, room).sum() < total:
            least = middle
        else:
            most = middle
    cut: _Floats = np.sign(direction) * np.minimum(most * size, room)
    return cut


def _placed(cells: npt.NDArray[np.int64], changes: _Floats, low: _Floats, high: _Floats) -> _Floats:
    placed = np.zeros(low.shape)
    placed.ravel()[cells] = changes
    return np.clip(placed, low, high)
