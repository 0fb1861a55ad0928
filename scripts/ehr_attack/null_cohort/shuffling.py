"""Putting the hours of every stay in random order, all variables of an hour together."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ehr_attack.features import build_features
from ehr_attack.paths import SQL_DIR
from ehr_attack.sources.duck import copy_to_parquet, create_views, read_sql, session
from ehr_attack.storage import atomic_path, read_frame

_SEED = 20180822


def shuffle_cohort(
    *,
    stays: Path,
    measurements: Path,
    variable_names: Sequence[str],
    carry_in_hours: float,
    window_hours: int,
    out_measurements: Path,
    out_features: Path,
    memory_limit_gb: float = 2.0,
) -> None:
    """Write the measurements of all stays with their hours in random order, and the features made of them.

    A value moves with its hour, to the same minute of another one of its stay; what was recorded before hour 0 or after
    the stay's end stays where it is. Both files have the schema of the originals. Raises UserError when a file is
    missing.
    """
    people = read_frame(stays, ["stay_id", "hours_observable"]).sort_values("stay_id")
    n_hours = people["hours_observable"].to_numpy(dtype=np.int64).clip(max=window_hours)
    order = shuffled_hours(n_hours, window_hours)
    stay, hour = np.nonzero(order >= 0)
    columns = {"stay_id": people["stay_id"].to_numpy()[stay], "hour": hour, "new_hour": order[stay, hour].astype(float)}
    moves = pa.table({name: pa.array(values) for name, values in columns.items()})
    with (
        atomic_path(out_measurements) as temporary,
        session(scratch=temporary.parent, threads=1, memory_limit_gb=memory_limit_gb) as connection,
    ):
        create_views(connection, {"measurements": measurements})
        connection.register("moves", moves)
        query = read_sql(SQL_DIR / "common", "shuffled_measurements")
        connection.execute(copy_to_parquet(query, temporary))
    build_features(
        stays=stays,
        measurements=out_measurements,
        variable_names=variable_names,
        carry_in_hours=carry_in_hours,
        window_hours=window_hours,
        out=out_features,
        memory_limit_gb=memory_limit_gb,
    )


def shuffled_hours(n_hours: npt.NDArray[np.int64], window_hours: int) -> npt.NDArray[np.int64]:
    """The new hour of each hour, int64 (stays, window_hours): a random permutation a stay, -1 after its end.

    n_hours: (stays,), hours before a stay's end. The same stays give the same permutations.
    """
    keys = np.random.default_rng(_SEED).random((len(n_hours), window_hours))
    ended = np.arange(window_hours)[None, :] >= n_hours[:, None]
    order = np.argsort(np.where(ended, np.inf, keys), axis=1, kind="stable")
    new: npt.NDArray[np.int64] = np.where(ended, -1, order)
    return new
