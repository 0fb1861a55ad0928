"""Features: measurements become hourly means, as a table and as a tensor; NaN is what was not recorded."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ehr_attack.errors import UserError
from ehr_attack.paths import SQL_DIR
from ehr_attack.sources.duck import copy_to_parquet, identifier, quoted, read_sql, session
from ehr_attack.storage import atomic_path, read_parquet

_SHARED_SQL = SQL_DIR / "common"
_CARRY_IN_HOUR = -1


@dataclass(frozen=True)
class FeatureTensor:
    """The features of all stays as arrays; stays are sorted by id.

    stay_ids: (stays,) int64. values: (stays, window_hours, variables) float32 in clinical units, NaN where
    nothing was recorded or the stay has ended. carry_in: (stays, variables) float32, the last value before
    hour 0, NaN if none. n_hours: (stays,) int64, the hours of the window that the stay lasts; cells from
    there on are NaN.
    """

    stay_ids: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]
    carry_in: npt.NDArray[np.float32]
    n_hours: npt.NDArray[np.int64]


def build_features(
    *,
    stays: Path,
    measurements: Path,
    variable_names: Sequence[str],
    carry_in_hours: float,
    window_hours: int,
    out: Path,
    memory_limit_gb: float = 2.0,
) -> None:
    """Write the hourly means of each stay: one row an hour (`schemas.features_schema`), sorted by stay and
    hour.

    Every stay has the hours 0 to hours_observable - 1 (at most window_hours of them), also where nothing was
    recorded. With carry_in_hours > 0 it has an hour -1 too: the last value in [-carry_in_hours, 0) hours; of
    several at one time the largest. Means are taken in double precision and stored as float32.
    """
    mean = "coalesce(max(value) FILTER (WHERE variable = {text}), 'NaN')::float AS {name}"
    query = read_sql(
        _SHARED_SQL,
        "features",
        columns=",\n    ".join(
            mean.format(text=quoted(name), name=identifier(name)) for name in variable_names
        ),
        carry_in_hours=repr(float(carry_in_hours)),
        first_hour=str(_CARRY_IN_HOUR if carry_in_hours > 0 else 0),
        window_hours=str(int(window_hours)),
    )
    with (
        atomic_path(out) as temporary,
        session(scratch=temporary.parent, threads=1, memory_limit_gb=memory_limit_gb) as connection,
    ):
        for name, file in (("stays", stays), ("measurements", measurements)):
            connection.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet({quoted(file)})")
        connection.execute(copy_to_parquet(query, temporary))


def load_tensor(path: Path, variable_names: Sequence[str], window_hours: int) -> FeatureTensor:
    """Read features as arrays (see `FeatureTensor`), variables in the order of `variable_names`.

    Raises UserError when the file lacks a variable or holds hours beyond the window: it was made with other
    settings.
    """
    table = read_parquet(path)
    missing = [name for name in variable_names if name not in table.column_names]
    if missing:
        raise UserError(f"{path}: no column {', '.join(missing)}. {_MADE_OTHERWISE}")
    hours = table["hour"].to_numpy().astype(np.int64)
    if hours.size == 0 or hours.min() < _CARRY_IN_HOUR or hours.max() >= window_hours:
        raise UserError(
            f"{path}: expected rows of the hours {_CARRY_IN_HOUR} to {window_hours - 1}. {_MADE_OTHERWISE}"
        )
    stay_ids, row_stay = np.unique(table["stay_id"].to_numpy(), return_inverse=True)
    cells = np.full((stay_ids.size, window_hours + 1, len(variable_names)), np.nan, dtype=np.float32)
    for position, name in enumerate(variable_names):
        # Hour -1 lands in the last slot, which is then split off.
        cells[row_stay, hours, position] = table[name].to_numpy()
    n_hours = np.zeros(stay_ids.size, dtype=np.int64)
    np.maximum.at(n_hours, row_stay, hours + 1)
    return FeatureTensor(stay_ids, cells[:, :window_hours].copy(), cells[:, window_hours].copy(), n_hours)


_MADE_OTHERWISE = "The file was made with other settings; delete it and run snakemake again."
