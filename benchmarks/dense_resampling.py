"""Resampling the usual way: an array of all stays and cells, whose drawn rows are copied and sorted for every draw."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

_Array = npt.NDArray[Any]


def dense_stack(
    outcomes: pd.DataFrame, perturbations: pd.DataFrame, direction: str, variable_names: list[str], n_hours: int
) -> tuple[_Array, _Array]:
    """|D| of the selected attacks of a direction, float32 (stays, hours, variables), and their stay ids."""
    key = ["seed", "fold", "stay_id", "lambda"]
    selected = outcomes[outcomes["selected"] & (outcomes["direction"] == direction)].reset_index(drop=True)
    rows = selected[key].rename_axis("row").reset_index()
    cells = perturbations.merge(rows, on=key, how="inner", validate="many_to_one")
    magnitude = np.zeros((len(rows), n_hours, len(variable_names)), dtype=np.float32)
    feature = pd.Index(variable_names).get_indexer(pd.Index(cells["variable"]))
    magnitude[cells["row"], cells["hour"], feature] = cells["delta_scaled"].abs()
    return magnitude, selected["stay_id"].to_numpy()


def resampled_s_q95(magnitude: _Array, weights: _Array) -> _Array:
    """S_q95 = q95 x GPP of every draw, (draws, hours, variables); weights: (rows, draws), how often a row is drawn."""
    replicates = []
    for weight in weights.T:
        drawn = magnitude[np.repeat(np.arange(len(weight)), weight.astype(np.int64))]
        replicates.append(np.quantile(drawn, 0.95, axis=0).astype(np.float64) * (drawn > 0).mean(axis=0))
    return np.stack(replicates)
