"""What a model sees: the preprocessed values, and optionally which were recorded and how long ago the last one was.

One function makes these inputs wherever a model is used: when training, predicting and attacking. The channels of an
hour are all values, then all masks, then all times; an attack changes values only.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from ehr_attack.preprocessing import Preprocessing

VALUES, VALUES_MASK, VALUES_MASK_DELTA = "values", "values_mask", "values_mask_delta"
INPUTS = (VALUES, VALUES_MASK, VALUES_MASK_DELTA)
"""The kinds of inputs, by the names of their channels."""


def channel_count(kind: str, n_variables: int) -> int:
    """Input channels of an hour: one a variable and part of `kind`."""
    return len(kind.split("_")) * n_variables


def model_inputs(
    preprocessing: Preprocessing,
    kind: str,
    values: npt.NDArray[np.floating[Any]],
    carry_in: npt.NDArray[np.floating[Any]],
    n_hours: npt.NDArray[np.int64],
) -> npt.NDArray[np.float32]:
    """Model inputs of recorded hourly values, float32 (stays, hours, channels), in [0, 1]; 0 after a stay's end.

    values: (stays, hours, variables), clinical units, NaN where nothing was recorded; carry_in, n_hours: as for
    `Preprocessing.apply`, which gives the value channels. `kind`: one of INPUTS. Mask channels are 1 where a value was
    recorded (one carried in from before hour 0 was not). Time channels: see `since_last_recorded`, as a share of the
    window.
    """
    recorded = ~np.isnan(values)
    channels = [preprocessing.apply(values, carry_in, n_hours)]
    if kind in (VALUES_MASK, VALUES_MASK_DELTA):
        channels.append(recorded.astype(np.float32))
    if kind == VALUES_MASK_DELTA:
        channels.append((since_last_recorded(recorded) / values.shape[1]).astype(np.float32))
    seen = np.concatenate(channels, axis=-1)
    seen[np.arange(values.shape[1])[None, :] >= n_hours[:, None]] = 0.0
    return seen


def since_last_recorded(recorded: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Hours since the latest record before each hour, float64 (stays, hours, variables).

    recorded: bool, same shape. The record of the hour itself does not count (delta of Che et al. 2018, with steps of
    one hour); before the first record, hours since hour 0.
    """
    hours = np.arange(recorded.shape[1])[None, :, None]
    latest = np.maximum.accumulate(np.where(recorded, hours, 0), axis=1)
    before = np.concatenate([np.zeros_like(latest[:, :1]), latest[:, :-1]], axis=1)
    since: npt.NDArray[np.float64] = (hours - before).astype(np.float64)
    return since
