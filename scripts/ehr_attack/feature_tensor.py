"""The features of all stays as arrays, for everything that computes with them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ehr_attack.errors import UserError
from ehr_attack.storage import read_parquet

CARRY_IN_HOUR = -1
"""The hour under which the features table holds what was known before hour 0."""

_MADE_OTHERWISE = "The file was made with other settings; delete it and run snakemake again."


@dataclass(frozen=True)
class FeatureTensor:
    """The features of all stays as arrays; stays are sorted by id.

    stay_ids: (stays,) int64. values: (stays, window_hours, variables) float32 in clinical units, NaN where
    nothing was recorded or the stay has ended. carry_in: (stays, variables) float32, the last value before
    hour 0, NaN if none. n_hours: (stays,) int64, the hours of the window that the stay lasts; cells from
    there on are NaN.
    """

    stay_ids: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]
    carry_in: npt.NDArray[np.float32]
    n_hours: npt.NDArray[np.int64]


def load_tensor(path: Path, variable_names: Sequence[str], window_hours: int) -> FeatureTensor:
    """Read features as arrays (see `FeatureTensor`), variables in the order of `variable_names`.

    Raises UserError when the file lacks a variable or holds hours beyond the window: it was made with other
    settings.
    """
    table = read_parquet(path)
    missing = [name for name in variable_names if name not in table.column_names]
    if missing:
        raise UserError(f"{path}: no column {', '.join(missing)}. {_MADE_OTHERWISE}")
    hours = table["hour"].to_numpy().astype(np.int64)
    if hours.size == 0 or hours.min() < CARRY_IN_HOUR or hours.max() >= window_hours:
        raise UserError(f"{path}: expected rows of the hours {CARRY_IN_HOUR} to {window_hours - 1}. {_MADE_OTHERWISE}")
    stay_ids, row_stay = np.unique(table["stay_id"].to_numpy(), return_inverse=True)
    cells = np.full((stay_ids.size, window_hours + 1, len(variable_names)), np.nan, dtype=np.float32)
    for position, name in enumerate(variable_names):
        # Hour -1 lands in the last slot, which is then split off.
        cells[row_stay, hours, position] = table[name].to_numpy()
    n_hours = np.zeros(stay_ids.size, dtype=np.int64)
    np.maximum.at(n_hours, row_stay, hours + 1)
    return FeatureTensor(stay_ids, cells[:, :window_hours].copy(), cells[:, window_hours].copy(), n_hours)
