"""A mistake, made on purpose: interpolating over a longer record before the window is cut."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from ehr_attack.feature_tensor import load_tensor
from ehr_attack.features import build_features
from ehr_attack.preprocessing import carry_forward, interpolate
from ehr_attack.schemas.cohort import features_schema
from ehr_attack.storage import read_frame, write_frame


def look_ahead_features(
    *,
    stays: Path,
    longer_stays: Path,
    longer_measurements: Path,
    variable_names: Sequence[str],
    window_hours: int,
    look_ahead_hours: int,
    carry_in_hours: float,
    out: Path,
) -> None:
    """Write features of the hours of `stays` in which every gap is filled from a record look_ahead_hours longer.

    stays: of the run; longer_stays, longer_measurements: extracted with the longer window, of those stays at least.
    Before its first and after its last record of the longer window a variable keeps that record's value; NaN where it
    has none. The rows are those of `features.build_features` from hour 0 on.
    """
    hours = window_hours + look_ahead_hours
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
        longer = Path(scratch, "features.parquet")
        build_features(
            stays=longer_stays,
            measurements=longer_measurements,
            variable_names=variable_names,
            carry_in_hours=carry_in_hours,
            window_hours=hours,
            out=longer,
        )
        tensor = load_tensor(longer, variable_names, hours)
    kept = read_frame(stays, ["stay_id", "hours_observable"]).sort_values("stay_id")
    rows = np.searchsorted(tensor.stay_ids, kept["stay_id"].to_numpy())
    with_carry = np.concatenate([tensor.carry_in[rows, None, :], tensor.values[rows]], axis=1).astype(np.float64)
    filled = interpolate(with_carry, carry_forward(with_carry))[:, 1 : window_hours + 1]
    n_hours = kept["hours_observable"].to_numpy()
    stay, hour = np.nonzero(np.arange(window_hours)[None, :] < n_hours[:, None])
    frame = pd.DataFrame(filled[stay, hour].astype(np.float32), columns=list(variable_names))
    keys = pd.DataFrame({"stay_id": kept["stay_id"].to_numpy()[stay], "hour": hour})
    write_frame(pd.concat([keys, frame], axis=1), out, features_schema(variable_names))
