"""What is computed of S of hours or variables; every function takes many draws at once.

`means`: float64 (draws, names), S per cell (see cell_means); results: float64 (draws,). A NaN (too few records there)
is left out of its draw; a draw without any S gives NaN.
"""

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

_Floats = npt.NDArray[np.float64]
_Flags = npt.NDArray[np.bool_]
_PER_HOURS = 10.0
_FEW = 3


def hour_slopes(means: _Floats) -> _Floats:
    """Least-squares slope of S over the hours, in % of the mean hour's S per 10 hours; columns are hours 0, 1, ..."""
    known = ~np.isnan(means)
    hours = np.broadcast_to(np.arange(means.shape[1], dtype=np.float64), means.shape)
    count = known.sum(axis=1)
    mean_hour = _ratio(np.where(known, hours, 0.0).sum(axis=1), count)
    level = _ratio(np.nansum(means, axis=1), count)
    away = np.where(known, hours - mean_hour[:, None], 0.0)
    slope = _ratio((away * np.where(known, means, 0.0)).sum(axis=1), np.square(away).sum(axis=1))
    return 100.0 * _PER_HOURS * _ratio(slope, level)


def part_shares(means: _Floats, part: _Flags) -> _Floats:
    """Share of S, in %, that lies in the names of `part`, bool (names,).

    A name without a value counts as the mean of the others on its side: more records on one side move nothing.
    """
    inside, outside = (side.sum() * _mean(means[:, side]) for side in (part, ~part))
    return 100.0 * _ratio(inside, inside + outside)


def last_quarter(n_hours: int) -> _Flags:
    """Bool (n_hours,): the last quarter of the window."""
    return np.arange(n_hours) >= 0.75 * n_hours


def top_shares(means: _Floats, count: int = 3) -> _Floats:
    """Share of S, in %, of the `count` names that have most of it, in each draw anew."""
    largest = np.sort(np.nan_to_num(means), axis=1)[:, -count:]
    return 100.0 * _ratio(largest.sum(axis=1), np.nansum(means, axis=1))


def mean_ratios(means: _Floats, first: _Flags, second: _Flags) -> _Floats:
    """Mean S of the names of `first` over that of `second`, both bool (names,)."""
    return _ratio(_mean(means[:, first]), _mean(means[:, second]))


def rank_correlations(means: _Floats, scores: _Floats, draws: npt.NDArray[np.int64]) -> tuple[_Floats, _Floats]:
    """Spearman's rho and Kendall's tau-b of the means with `scores` (names,), ties averaged.

    draws: int64 (draws, names), the names (columns) that each draw is computed over. NaN below three names, where a
    mean is NaN, or where one of the two is constant.
    """
    if means.shape[1] < _FEW:
        nothing = np.full(len(means), np.nan)
        return nothing, nothing
    ours, theirs = np.take_along_axis(means, draws, axis=1), scores[draws]
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


def _mean(means: _Floats) -> _Floats:
    """Over the names that have a value; NaN where none has."""
    return _ratio(np.nansum(means, axis=1), (~np.isnan(means)).sum(axis=1))


def _ratio(part: npt.NDArray[np.generic], whole: npt.NDArray[np.generic]) -> _Floats:
    """part / whole, NaN where `whole` is not positive."""
    above, below = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    ratio: _Floats = np.divide(above, below, out=np.full(below.shape, np.nan), where=below > 0)
    return ratio
