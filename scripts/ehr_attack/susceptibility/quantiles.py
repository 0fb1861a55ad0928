"""The 95th percentile of many resamples of the same values at once, from one sorting."""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

UPPER_QUANTILE = 0.95

_SMALLEST_BLOCK = 16
_Array = npt.NDArray[Any]
_Floats = npt.NDArray[np.float64]


def upper_quantiles(magnitude: _Array, unit: _Array, weights: _Array, totals: _Floats, changed: _Floats) -> _Floats:
    """The 95th percentile under each of several weightings, float64 (draws,).

    It equals numpy.quantile (linear interpolation) of the sample in which every value stands as often as its unit
    weighs, filled up with zeros to `totals` values.

    magnitude: (values,) positive, descending. unit: (values,) places in the first axis of `weights`, (units, draws),
    whole numbers in floats. totals: (draws,), 0 where nothing was drawn: there NaN. changed: (draws,), the weight of
    all values, at most `totals`.
    """
    place = UPPER_QUANTILE * np.maximum(totals - 1.0, 0.0)
    lower = np.floor(place)
    # Counted from the largest value: how many stand above the one at `lower`, and above the next one.
    above = np.maximum(totals - 1.0, 0.0) - lower
    depth = np.stack([above, np.maximum(above - 1.0, 0.0)])
    result = np.zeros(len(totals))
    if (changed > depth[1]).any():
        at_lower, at_next = _values_above(magnitude, unit, weights, depth)
        result = at_lower + (at_next - at_lower) * (place - lower)
    return np.where(totals > 0, result, np.nan)


def _values_above(magnitude: _Array, unit: _Array, weights: _Array, depth: _Floats) -> _Floats:
    """The largest value with more than `depth` (depths, draws) of weight at it and above; 0 where there is none."""
    reach = len(magnitude)
    first = min(reach, int(1.25 * depth.max()) + _SMALLEST_BLOCK)
    found, complete = _values_in(magnitude[:first], unit[:first], weights, depth)
    return found if complete or first == reach else _values_in(magnitude, unit, weights, depth)[0]


def _values_in(magnitude: _Array, unit: _Array, weights: _Array, depth: _Floats) -> tuple[_Floats, bool]:
    """What `_values_above` gives, from all values, and whether none was looked for in vain.

    The weights of blocks of values are added up, and a place is then looked for within one block.
    """
    size = max(_SMALLEST_BLOCK, int(np.sqrt(len(unit))))
    start = np.append(np.arange(0, len(unit), size), len(unit))
    blocks = len(start) - 1
    member = sparse.csr_matrix(
        (np.ones(len(unit), dtype=weights.dtype), unit, start), shape=(blocks, len(weights)), copy=False
    )
    reached = (member @ weights).astype(np.float64).cumsum(axis=0)
    before = np.concatenate([np.zeros((1, reached.shape[1])), reached])
    padded_unit = np.zeros(blocks * size, dtype=np.int64)
    padded_unit[: len(unit)] = unit
    values = np.empty(depth.shape)
    complete = True
    for index, wanted in enumerate(depth):
        block = (reached <= wanted).sum(axis=0)
        inside = np.flatnonzero(block < blocks)
        complete &= len(inside) == len(wanted)
        place = block[inside][:, None] * size + np.arange(size)
        within = weights[padded_unit[place], inside[:, None]].cumsum(axis=1, dtype=np.float64)
        within += before[block[inside], inside][:, None]
        value = block[inside] * size + (within <= wanted[inside, None]).sum(axis=1)
        values[index] = 0.0
        values[index, inside] = magnitude[value]
    return values, complete
