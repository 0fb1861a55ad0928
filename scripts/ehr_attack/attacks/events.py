"""The recorded values behind the hourly features: what was charted, when, and in which cell (hour, feature) it lies."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ehr_attack.errors import UserError

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]
_BATCH_ROWS = 1 << 18
_COLUMNS = ["stay_id", "hours", "variable", "value"]


@dataclass(frozen=True)
class Events:
    """The recorded values of some stays inside their windows, padded to the stay with the most of them.

    Arrays are (stays, size); a stay's values are sorted by hour, feature, then as `features.sql` averages them: by
    time and value. hours: float64, since ICU intime, NaN in padding; hour, feature: int64, the cell, 0 in padding;
    value: float64, clinical units, NaN in padding; rank: int64, place among the values of its cell, from 0; in_cell:
    int64, how many values its cell has, 0 in padding. n_hours: int, steps of the window; n_features: variables.
    """

    hours: _Floats
    hour: _Ints
    feature: _Ints
    value: _Floats
    rank: _Ints
    in_cell: _Ints
    n_hours: int
    n_features: int

    @property
    def size(self) -> int:
        """Values of the stay that has the most."""
        return int(self.value.shape[1])

    @property
    def real(self) -> npt.NDArray[np.bool_]:
        """Bool (stays, size): False in padding."""
        return self.in_cell > 0

    @property
    def cell(self) -> _Ints:
        """Int64 (stays, size): number of the cell, hour x features + feature; 0 in padding."""
        return self.hour * self.n_features + self.feature

    def means(self, value: _Floats | None = None) -> _Floats:
        """Hourly means of `value` (stays, size), by default those recorded; float64 (stays, hours, features), or NaN.

        Values are added in the order of `features.sql`, so that as float32 they are the floats of the features table.
        """
        value = self.value if value is None else value
        total = np.zeros((len(value), self.n_hours * self.n_features))
        count = np.zeros(total.shape)
        for rank in range(int(self.in_cell.max(initial=0))):
            stay, place = np.nonzero(self.real & (self.rank == rank))
            total[stay, self.cell[stay, place]] += value[stay, place]
            count[stay, self.cell[stay, place]] += 1
        means: _Floats = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
        return means.reshape(-1, self.n_hours, self.n_features)


def load_events(
    measurements: Path, stay_ids: _Ints, n_hours: _Ints, variable_names: Sequence[str], window_hours: int
) -> Events:
    """Read the recorded values of `stay_ids` (stays,), no two the same, from the canonical measurements.

    n_hours: (stays,), hours of the window before a stay's end; values from there on, and those before hour 0, are left
    out, as are variables that are not among `variable_names`. The file is read piece by piece: memory is that of the
    values kept. Raises UserError when the file is missing or is none of measurements.
    """
    order = np.argsort(stay_ids)
    kept = [
        _kept(batch, stay_ids[order], order, n_hours, variable_names)
        for batch in _batches(measurements)
        if batch.num_rows
    ]
    columns = {name: np.concatenate([part[name] for part in kept]) for name in kept[0]} if kept else _nothing()
    return _padded(columns, len(stay_ids), window_hours, len(variable_names))


def events_of(
    stay: _Ints, hours: _Floats, feature: _Ints, value: _Floats, *, n_stays: int, n_hours: int, n_features: int
) -> Events:
    """Events of flat arrays, one entry a recorded value, in any order; stay and feature count from 0."""
    return _padded({"stay": stay, "hours": hours, "feature": feature, "value": value}, n_stays, n_hours, n_features)


def _batches(measurements: Path) -> Any:
    try:
        file = pq.ParquetFile(measurements, read_dictionary=["variable"])
        yield from file.iter_batches(_BATCH_ROWS, columns=_COLUMNS)
    except FileNotFoundError as error:
        raise UserError(
            f"{measurements}: no such file. The stage extract writes it (`snakemake {measurements}`)."
        ) from error
    except (pa.ArrowInvalid, OSError, KeyError) as error:
        raise UserError(
            f"{measurements}: not a readable Parquet file of measurements. Delete it and run snakemake again."
        ) from error


def _nothing() -> dict[str, npt.NDArray[Any]]:
    types = {"stay": np.int64, "hours": np.float64, "feature": np.int64, "value": np.float64}
    return {name: np.empty(0, dtype=kind) for name, kind in types.items()}


def _kept(
    batch: pa.RecordBatch, sorted_ids: _Ints, order: _Ints, n_hours: _Ints, variable_names: Sequence[str]
) -> dict[str, npt.NDArray[Any]]:
    """The batch's values of wanted stays and variables inside the windows; `stay` counts in the caller's order."""
    if not len(sorted_ids):
        return _nothing()
    ids = batch["stay_id"].to_numpy()
    place = np.searchsorted(sorted_ids, ids).clip(max=len(sorted_ids) - 1)
    column: Any = batch["variable"]  # dictionary-encoded: the type says only that it is an array
    words = column.dictionary.to_pylist()
    numbers = np.array([variable_names.index(word) if word in variable_names else -1 for word in words], dtype=np.int64)
    feature = numbers[column.indices.to_numpy()] if len(words) else np.full(len(ids), -1)
    hours = batch["hours"].to_numpy()
    stay = order[place]
    wanted = (sorted_ids[place] == ids) & (feature >= 0) & (hours >= 0) & (hours < n_hours[stay])
    return {
        "stay": stay[wanted],
        "hours": hours[wanted],
        "feature": feature[wanted],
        "value": batch["value"].to_numpy()[wanted],
    }


def _padded(columns: dict[str, npt.NDArray[Any]], n_stays: int, n_hours: int, n_features: int) -> Events:
    """Sort flat columns and spread them over one row a stay."""
    hour = np.floor(columns["hours"]).astype(np.int64)
    order = np.lexsort([columns["value"], columns["hours"], columns["feature"], hour, columns["stay"]])
    stay, hour, feature = columns["stay"][order], hour[order], columns["feature"][order]
    group = (stay * n_hours + hour) * n_features + feature
    rank, in_cell = _places(group)
    position, _ = _places(stay)
    shape = (n_stays, max(1, int(position.max(initial=-1)) + 1))  # at least padding, so that nothing has no size

    def spread(flat: npt.NDArray[Any], padding: float) -> npt.NDArray[Any]:
        full = np.full(shape, padding, dtype=flat.dtype)
        full[stay, position] = flat
        return full

    return Events(
        hours=spread(columns["hours"][order], np.nan),
        hour=spread(hour, 0),
        feature=spread(feature, 0),
        value=spread(columns["value"][order], np.nan),
        rank=spread(rank, 0),
        in_cell=spread(in_cell, 0),
        n_hours=n_hours,
        n_features=n_features,
    )


def _places(groups: _Ints) -> tuple[_Ints, _Ints]:
    """The place of each entry within its group, from 0, and the group's size; equal `groups` are neighbours."""
    _, first, group, size = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    return np.arange(len(groups)) - first[group], size[group]
