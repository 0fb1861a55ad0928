"""Ranks of variables by S_q95 per measured cell: 1 is the most susceptible."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from ehr_attack.resampling import INTERVAL_PERCENTILES

_DECIMALS = 6  # what differs by rounding alone is tied
_Bools = npt.NDArray[np.bool_]
_Floats = npt.NDArray[np.float64]


def is_zero(sums: _Floats) -> _Bools:
    """Where nothing is susceptible: ties at 0 have no order."""
    zero: _Bools = np.round(sums, _DECIMALS) == 0
    return zero


def ranks(means: _Floats) -> _Floats:
    """Rank within each row, 1 for the largest, ties: the smallest; NaN stays NaN. Those apart by rounding are tied."""
    ranked = pd.DataFrame(means).round(_DECIMALS).rank(axis=1, ascending=False, method="min")
    return ranked.to_numpy(dtype=np.float64)


def rank_intervals(means: _Floats, wanted: _Bools) -> tuple[_Floats, _Floats]:
    """95 % interval of the ranks, (variables,) each; NaN where not `wanted`, (variables,).

    means: S_q95 per measured cell in each draw, (draws, variables), NaN where it is not measured. A draw in which
    nothing changes a variable puts it last, not on the best rank of a tie.
    """
    last = np.sum(~np.isnan(means), axis=1, keepdims=True)
    drawn = np.where(is_zero(means), last, ranks(means))
    low, high = np.full((2, len(wanted)), np.nan)
    if wanted.any():
        bounds = np.nanpercentile(drawn[:, wanted], INTERVAL_PERCENTILES, axis=0, method="inverted_cdf")
        low[wanted], high[wanted] = bounds
    return low, high
