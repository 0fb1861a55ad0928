"""What is computed of the sums of S over hours or variables; every function takes many draws at once.

`sums`: float64 (draws, names); results: float64 (draws,). A NaN among the sums (too few records there) is left out of
its draw; a draw without any S gives NaN.
"""

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

_Floats = npt.NDArray[np.float64]
_Flags = npt.NDArray[np.bool_]
_PER_HOURS = 10.0
_FEW = 3


def hour_slopes(sums: _Floats) -> _Floats:
    """Least-squares slope of S over the hours, in % of the mean hour's S per 10 hours; columns are hours 0, 1, ..."""
    known = ~np.isnan(sums)
    hours = np.broadcast_to(np.arange(sums.shape[1], dtype=np.float64), sums.shape)
    count = known.sum(axis=1)
    mean_hour = _ratio(np.where(known, hours, 0.0).sum(axis=1), count)
    mean_sum = _ratio(np.nansum(sums, axis=1), count)
    away = np.where(known, hours - mean_hour[:, None], 0.0)
    slope = _ratio((away * np.where(known, sums, 0.0)).sum(axis=1), np.square(away).sum(axis=1))
    return 100.0 * _PER_HOURS * _ratio(slope, mean_sum)


def part_shares(sums: _Floats, part: _Flags) -> _Floats:
    """Share of S, in %, that lies in the names of `part`, bool (names,)."""
    return 100.0 * _ratio(np.nansum(sums[:, part], axis=1), np.nansum(sums, axis=1))


def last_quarter(n_hours: int) -> _Flags:
    """Bool (n_hours,): the last quarter of the window."""
    return np.arange(n_hours) >= 0.75 * n_hours


def top_shares(sums: _Floats, count: int = 3) -> _Floats:
    """Share of S, in %, of the `count` names that have most of it, in each draw anew."""
    largest = np.sort(np.nan_to_num(sums), axis=1)[:, -count:]
    return 100.0 * _ratio(largest.sum(axis=1), np.nansum(sums, axis=1))


def mean_ratios(sums: _Floats, first: _Flags, second: _Flags) -> _Floats:
    """Mean S of the names of `first` over that of `second`, both bool (names,)."""
    means = [
        _ratio(np.nansum(sums[:, part], axis=1), (~np.isnan(sums[:, part])).sum(axis=1)) for part in (first, second)
    ]
    return _ratio(*means)


def rank_correlations(sums: _Floats, scores: _Floats, draws: npt.NDArray[np.int64]) -> tuple[_Floats, _Floats]:
    """Spearman's rho and Kendall's tau-b of the sums with `scores` (names,), ties averaged.

    draws: int64 (draws, names), the names (columns) that each draw is computed over. NaN below three names, where a
    sum is NaN, or where one of the two is constant.
    """
    if sums.shape[1] < _FEW:
        nothing = np.full(len(sums), np.nan)
        return nothing, nothing
    ours, theirs = np.take_along_axis(sums, draws, axis=1), scores[draws]
    unknown: _Flags = np.asarray(np.isnan(ours).any(axis=1))
    ours = np.where(unknown[:, None], 0.0, ours)
    spearman = _correlation(*(rankdata(part, axis=1) for part in (ours, theirs)))
    order = [np.sign(part[:, :, None] - part[:, None, :]) for part in (ours, theirs)]
    pairs = [(np.square(part)).sum(axis=(1, 2)) for part in order]
    kendall = _ratio((order[0] * order[1]).sum(axis=(1, 2)), np.sqrt(pairs[0] * pairs[1]))
    spearman[unknown], kendall[unknown] = np.nan, np.nan
    return spearman, kendall


def drawn_names(rows: int, names: int, seed: int) -> npt.NDArray[np.int64]:
    """Int64 (rows, names): all names in the first row, then as many drawn with replacement in each."""
    drawn = np.random.default_rng(seed).integers(0, max(1, names), size=(rows, names))
    drawn[:1] = np.arange(names)
    return drawn


def _correlation(left: _Floats, right: _Floats) -> _Floats:
    left, right = (part - part.mean(axis=1, keepdims=True) for part in (left, right))
    sizes = np.square(left).sum(axis=1) * np.square(right).sum(axis=1)
    return _ratio((left * right).sum(axis=1), np.sqrt(sizes))


def _ratio(part: npt.NDArray[np.generic], whole: npt.NDArray[np.generic]) -> _Floats:
    """part / whole, NaN where `whole` is not positive."""
    above, below = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    ratio: _Floats = np.divide(above, below, out=np.full(below.shape, np.nan), where=below > 0)
    return ratio
