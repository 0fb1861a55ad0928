"""Intervals of the variables' ranks that cover folds and seeds too, from the replicates that a run keeps."""

from pathlib import Path

import numpy as np
import pandas as pd

from ehr_attack.resampling import INTERVAL_PERCENTILES
from ehr_attack.schemas.susceptibility import MODELS_TOO, SELECTED, VARIABLE_AXIS
from ehr_attack.storage import read_frame
from ehr_attack.susceptibility.measures import MEASURED_SHARE

_DECIMALS = 6  # sums apart by rounding alone are tied
Interval = tuple[int, int]


def rank_intervals(analysis: Path, resampled: str = MODELS_TOO) -> dict[tuple[str, str, str], Interval]:
    """95 % interval of the rank of each measured variable, by (variable, direction, basis).

    analysis: the folder of VARIABLES and REPLICATES of one model and mode; resampled: which replicates. Empty where
    patients were too few to resample. Raises UserError when a table is missing.
    """
    variables = read_frame(analysis / "variables.parquet")
    enough = variables["n_cells"] >= MEASURED_SHARE * variables["n_cells"].max()
    variables = variables[(variables["policy"] == SELECTED) & enough]
    replicates = read_frame(analysis / "replicates.parquet")
    replicates = replicates[(replicates["resampled"] == resampled) & (replicates["axis"] == VARIABLE_AXIS)]
    draws = dict(list(replicates.groupby(["direction", "basis"])))
    found: dict[tuple[str, str, str], Interval] = {}
    for (direction, basis), rows in variables.groupby(["direction", "basis"]):
        if (direction, basis) in draws:
            sums = draws[direction, basis].pivot(index="replicate", columns="name", values="s_q95")
            intervals = ranks_in_draws(sums, rows.set_index("variable")["n_cells"])
            found |= {(name, str(direction), str(basis)): interval for name, interval in intervals.items()}
    return found


def ranks_in_draws(sums: pd.DataFrame, n_cells: "pd.Series[int]") -> dict[str, Interval]:
    """The least and greatest rank of each variable in the middle 95 % of draws.

    sums: S_q95 of the variables (columns) in each draw (rows); n_cells: measured cells of those that may have a rank.
    A variable is ranked by S_q95 per measured cell, 1 for the largest, the smallest rank for ties; one whose sum is 0
    in a draw is last there. Draws in which it is not measured do not count.
    """
    means = (sums[list(n_cells.index)] / n_cells).round(_DECIMALS)
    last = means.notna().sum(axis=1).to_numpy()[:, None]
    ranks = np.where(means == 0, last, means.rank(axis=1, ascending=False, method="min"))
    bounds = np.nanpercentile(ranks, INTERVAL_PERCENTILES, axis=0, method="inverted_cdf")
    return {str(name): (int(low), int(high)) for name, low, high in zip(n_cells.index, *bounds, strict=True)}
