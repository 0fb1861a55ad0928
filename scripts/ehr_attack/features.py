"""Features: measurements become hourly means, as a table and as a tensor; NaN is what was not recorded."""

from collections.abc import Sequence
from pathlib import Path

from ehr_attack.feature_tensor import CARRY_IN_HOUR
from ehr_attack.paths import SQL_DIR
from ehr_attack.sources.duck import copy_to_parquet, create_views, identifier, quoted, read_sql, session
from ehr_attack.storage import atomic_path

_SHARED_SQL = SQL_DIR / "common"


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
        columns=",\n    ".join(mean.format(text=quoted(name), name=identifier(name)) for name in variable_names),
        carry_in_hours=repr(float(carry_in_hours)),
        first_hour=str(CARRY_IN_HOUR if carry_in_hours > 0 else 0),
        window_hours=str(int(window_hours)),
    )
    with (
        atomic_path(out) as temporary,
        session(scratch=temporary.parent, threads=1, memory_limit_gb=memory_limit_gb) as connection,
    ):
        create_views(connection, {"stays": stays, "measurements": measurements})
        connection.execute(copy_to_parquet(query, temporary))
