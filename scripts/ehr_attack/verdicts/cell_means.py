"""S_q95 of hours and of variables, per measured cell, with the bootstrap replicates.

Of recorded values many cells are not measured, and how many differs by variable, hour and direction: a sum over them
would compare how much is recorded. So every sum is divided by the number of its measured cells, and a name with fewer
than half of its cells measured has no value. Where every cell is measured, shares and ratios are those of the sums.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from ehr_attack.directions import DIRECTIONS
from ehr_attack.schemas.susceptibility import BASES, HOUR_AXIS, MODELS_TOO, SELECTED, VARIABLE_AXIS
from ehr_attack.storage import read_frame
from ehr_attack.susceptibility.measures import MEASURED_SHARE

_Floats = npt.NDArray[np.float64]
Key = tuple[str, str, str]
"""Direction, basis, axis."""


@dataclass(frozen=True)
class CellMeans:
    """S_q95 per measured cell along one axis, of one direction and basis.

    names: variables, or hours as text, in order; value: float64 (names,); replicates: float64 (draws, names), drawn
    over patients, folds and seeds; NaN where fewer than half of the cells are measured. n_stays, n_patients: of the
    direction.
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


def read_cell_means(variables: str | Path, hours: str | Path, replicates: str | Path) -> dict[Key, CellMeans]:
    """All of one model and mode, policy `selected`, from its tables VARIABLES, HOURS and REPLICATES.

    Raises UserError when a table is missing.
    """
    drawn = read_frame(replicates)
    drawn = drawn[drawn["resampled"] == MODELS_TOO]
    tables = {VARIABLE_AXIS: read_frame(variables), HOUR_AXIS: read_frame(hours)}
    lengths = {axis: table[axis].nunique() for axis, table in tables.items()}
    found: dict[Key, CellMeans] = {}
    for axis, other in ((VARIABLE_AXIS, HOUR_AXIS), (HOUR_AXIS, VARIABLE_AXIS)):
        table = tables[axis]
        for key, rows in table[table["policy"] == SELECTED].groupby(["direction", "basis"], sort=False):
            direction, basis = map(str, key)
            own = (drawn["direction"] == direction) & (drawn["basis"] == basis) & (drawn["axis"] == axis)
            found[direction, basis, axis] = _cell_means(rows, axis, drawn[own], lengths[other])
    return found


def _cell_means(rows: pd.DataFrame, axis: str, drawn: pd.DataFrame, n_cells: int) -> CellMeans:
    """n_cells: of a variable or hour, measured or not."""
    names = rows[axis].astype(str)
    table = drawn.pivot(index="replicate", columns="name", values="s_q95").sort_index().reindex(columns=names)
    measured = rows["n_cells"].to_numpy(dtype=np.float64)
    cells = np.where(measured >= MEASURED_SHARE * n_cells, measured, np.nan)
    return CellMeans(
        names=tuple(names),
        value=rows["s_q95"].to_numpy(dtype=np.float64) / cells,
        replicates=table.to_numpy(dtype=np.float64) / cells,
        n_stays=int(rows["n_stays"].max()),
        n_patients=int(rows["n_patients"].max()),
    )


def along(means: Mapping[Key, CellMeans], axis: str) -> Iterator[tuple[str, str, CellMeans]]:
    """Those along one axis, with their direction and basis."""
    for direction in DIRECTIONS:
        for basis in BASES:
            if (own := means.get((direction, basis, axis))) is not None:
                yield direction, basis, own


def aligned(first: CellMeans, second: CellMeans) -> tuple[_Floats, _Floats]:
    """Of both the value and below it the replicates, as many draws of each."""
    rows = min(len(first.both), len(second.both))
    return first.both[:rows], second.both[:rows]
