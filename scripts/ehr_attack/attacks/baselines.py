"""Baselines: changes as large as those of a real attack on the same stay, put where chance or a rule of thumb says.

An attack is worth its name when these flip next to nothing at the same budget. Each function gets the stays, the
gradient of logit_y - logit_t at the unchanged records, and the budget of each stay: the magnitudes of the cells that
the attack to match has changed. It returns the changes, before they are drawn into the box.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from ehr_attack.attacks.selection import ROW_KEY
from ehr_attack.storage import read_frame

_Floats = npt.NDArray[np.float64]
Baseline = Callable[[_Floats, _Floats, npt.NDArray[np.bool_], np.random.Generator], _Floats]
"""(magnitudes (k,), gradient (hours, features), mutable, random) -> changes (hours, features), scaled units."""


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
    magnitudes: _Floats, gradient: _Floats, mutable: npt.NDArray[np.bool_], random: np.random.Generator
) -> _Floats:
    """The same magnitudes in as many random cells, up or down at random."""
    free = np.flatnonzero(mutable)
    cells = random.choice(free, size=min(len(magnitudes), len(free)), replace=False)
    signs = random.choice([-1.0, 1.0], size=len(cells))
    return _placed(cells, magnitudes[: len(cells)] * signs, mutable.shape)


def random_noise(
    magnitudes: _Floats, gradient: _Floats, mutable: npt.NDArray[np.bool_], random: np.random.Generator
) -> _Floats:
    """Gaussian noise in every cell, scaled to the same sum of magnitudes."""
    noise = random.standard_normal(mutable.shape) * mutable
    total = np.abs(noise).sum()
    return noise * (magnitudes.sum() / total) if total else noise


def gradient_sign(
    magnitudes: _Floats, gradient: _Floats, mutable: npt.NDArray[np.bool_], random: np.random.Generator
) -> _Floats:
    """The fast gradient sign method (Goodfellow et al., ICLR 2015): every cell by the same step, the same sum."""
    signs = -np.sign(gradient) * mutable
    count = np.count_nonzero(signs)
    return signs * (magnitudes.sum() / count) if count else signs


def last_hours(
    magnitudes: _Floats, gradient: _Floats, mutable: npt.NDArray[np.bool_], random: np.random.Generator
) -> _Floats:
    """The same magnitudes in as many cells of the latest hours, along the gradient: what matters is the latest."""
    cells = np.flatnonzero(mutable)[::-1][: len(magnitudes)]
    return _placed(cells, -np.sign(gradient.ravel()[cells]) * magnitudes[: len(cells)], mutable.shape)


def _placed(cells: npt.NDArray[np.int64], changes: _Floats, shape: tuple[int, ...]) -> _Floats:
    placed = np.zeros(shape)
    placed.ravel()[cells] = changes
    return placed
