"""When S_q95 is measured in too few places, or is above 0 in too few, to conclude anything of where it lies."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

NAMES_MEASURED = 0.5
"""The share of the variables or hours of a group that must be measured."""

MINIMUM_NAMES = 5
"""Variables or hours with an S_q95 above 0 that a comparison needs: with fewer, shares stand at their ends."""

_Floats = npt.NDArray[np.float64]


def too_little(groups: Mapping[str, _Floats]) -> str:
    """Why the groups cannot be compared, empty where they can.

    groups: by what they are called (`laboratory variables`), S_q95 per cell of each name, NaN where it is not measured.
    """
    return unmeasured(groups) or _all_zero(groups)


def too_few_above_zero(groups: Mapping[str, _Floats]) -> str:
    """Why S_q95 lies in too few names of a group to say where; empty where it does not. groups: see `too_little`."""
    for what, values in groups.items():
        above = int((np.nan_to_num(values) > 0).sum())
        if above < MINIMUM_NAMES:
            return (
                f"S_q95 is above 0 in {above} of {len(values)} {what}, and it takes {MINIMUM_NAMES} to say where it "
                "lies; it is 0 in a cell that hardly more than 5 % of the changes reach"
            )
    return ""


def unmeasured(groups: Mapping[str, _Floats]) -> str:
    """Why too little of a group is measured; empty where enough is. groups: see `too_little`."""
    for what, values in groups.items():
        measured = int((~np.isnan(values)).sum())
        if measured < NAMES_MEASURED * len(values) or not measured:
            return (
                f"too few cells have enough records: {measured} of {len(values)} {what} are measured in half of their "
                "cells or more"
            )
    return ""


def _all_zero(groups: Mapping[str, _Floats]) -> str:
    for what, values in groups.items():
        if not (np.nan_to_num(values) > 0).any():
            return f"S_q95 is 0 in all {len(values)} {what}, so that shares and ratios stand at their ends"
    return ""
