"""S_q95 summed over hours or over variables, with the bootstrap replicates of these sums."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from ehr_attack.schemas import HOUR_AXIS, MODELS_TOO, SELECTED, VARIABLE_AXIS
from ehr_attack.storage import read_frame

_Floats = npt.NDArray[np.float64]
Key = tuple[str, str, str]
"""Direction, basis, axis."""


@dataclass(frozen=True)
class Sums:
    """The sums along one axis, of one direction and basis.

    names: variables, or hours as text, in order; value: float64 (names,); replicates: float64 (draws, names), drawn
    over patients, folds and seeds; NaN where too few stays have a record. n_stays, n_patients: of the direction.
    """

    names: tuple[str, ...]
    value: _Floats
    replicates: _Floats
    n_stays: int
    n_patients: int

    @property
    def both(self) -> _Floats:
        """The value in the first row, the replicates below it: (1 + draws, names)."""
        return np.concatenate([self.value[None], self.replicates])


def read_sums(variables: str | Path, hours: str | Path, replicates: str | Path) -> dict[Key, Sums]:
    """All sums of one model and mode, policy `selected`, from its tables VARIABLES, HOURS and REPLICATES.

    Raises UserError when a table is missing.
    """
    drawn = read_frame(replicates)
    drawn = drawn[drawn["resampled"] == MODELS_TOO]
    found: dict[Key, Sums] = {}
    for axis, path in ((VARIABLE_AXIS, variables), (HOUR_AXIS, hours)):
        table = read_frame(path)
        for key, rows in table[table["policy"] == SELECTED].groupby(["direction", "basis"], sort=False):
            direction, basis = map(str, key)
            own = (drawn["direction"] == direction) & (drawn["basis"] == basis) & (drawn["axis"] == axis)
            found[direction, basis, axis] = _sums(rows, axis, drawn[own])
    return found


def _sums(rows: pd.DataFrame, axis: str, drawn: pd.DataFrame) -> Sums:
    names = rows[axis].astype(str)
    table = drawn.pivot(index="replicate", columns="name", values="s_q95").sort_index().reindex(columns=names)
    return Sums(
        names=tuple(names),
        value=rows["s_q95"].to_numpy(dtype=np.float64),
        replicates=table.to_numpy(dtype=np.float64),
        n_stays=int(rows["n_stays"].max()),
        n_patients=int(rows["n_patients"].max()),
    )


def aligned(first: Mapping[Key, Sums], second: Mapping[Key, Sums], key: Key) -> tuple[_Floats, _Floats] | None:
    """The sums of `key` of both, values first then replicates, as many draws of each; None where one has none."""
    if key not in first or key not in second:
        return None
    rows = min(len(first[key].both), len(second[key].both))
    return first[key].both[:rows], second[key].both[:rows]
