"""Changed cells, re-sorted by direction and hour through files on disk: a large run is never in memory at once."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from io import BufferedWriter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from ehr_attack.directions import DIRECTIONS
from ehr_attack.errors import UserError
from ehr_attack.storage import parquet_batches
from ehr_attack.susceptibility.rows import Attacks

CHANGE = np.dtype([("row", np.int32), ("variable", np.uint8), ("magnitude", np.float32)])
"""A changed cell of an hour: its attack (a row of Attacks), its variable by place, and |D| in scaled units."""

_ATTACK = {"seed": np.int64, "fold": np.int64, "stay_id": np.int64, "lambda": np.float64}
_COLUMNS = (*_ATTACK, "hour", "variable", "delta_scaled")
_ROWS_A_BATCH = 250_000
_PREFIX = ".changes."

_Array = npt.NDArray[Any]


class SpooledChanges:
    """The changed cells of the attacks that count, by direction and hour."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, direction: int, hour: int) -> Path:
        """The file that holds the cells of one direction (place in DIRECTIONS) and hour."""
        return self._folder / f"{direction}_{hour}"

    def read(self, direction: int, hour: int) -> _Array:
        """The changed cells of one direction and hour, dtype CHANGE."""
        return np.fromfile(self.path(direction, hour), dtype=CHANGE)


@contextmanager
def spool_changes(
    paths: Sequence[str], attacks: Attacks, variable_names: Sequence[str], window_hours: int, folder: Path
) -> Iterator[SpooledChanges]:
    """Write the changed cells of `paths` that count to temporary files in `folder`, removed when the block ends.

    Raises UserError when a table is missing, or holds attacks, hours or variables that the outcomes do not know.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"{_PREFIX}*"):
        # Of a job that was killed; no other works on these tables at the same time.
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=folder) as scratch:
        spooled = SpooledChanges(Path(scratch))
        with ExitStack() as stack:
            files = [
                [stack.enter_context(spooled.path(direction, hour).open("wb")) for hour in range(window_hours)]
                for direction in range(len(DIRECTIONS))
            ]
            counts = np.any(list(attacks.policies.values()), axis=0)
            for path in paths:
                for batch in parquet_batches(path, _COLUMNS, _ROWS_A_BATCH, as_categories=["variable"]):
                    _append(batch, attacks, counts, pd.Index(variable_names), files, path)
        yield spooled


def _append(
    batch: pa.RecordBatch,
    attacks: Attacks,
    counts: npt.NDArray[np.bool_],
    variables: "pd.Index[Any]",
    files: list[list[BufferedWriter]],
    path: str,
) -> None:
    row = _rows(batch, attacks)
    hour = batch["hour"].to_numpy()
    texts: Any = batch["variable"]
    variable = variables.get_indexer(pd.Index(texts.dictionary.to_pylist()))[texts.indices.to_numpy()]
    if min(row.min(), hour.min(), variable.min()) < 0 or hour.max() >= len(files[0]):
        raise UserError(
            f"{path}: holds changes of attacks, hours or variables that the run does not have. "
            "The file was made with other settings; delete it and run snakemake again."
        )
    changes = np.empty(len(row), dtype=CHANGE)
    changes["row"], changes["variable"] = row, variable
    changes["magnitude"] = np.abs(batch["delta_scaled"].to_numpy())
    kept = np.flatnonzero(counts[row] & (changes["magnitude"] > 0))
    place = (attacks.direction[row] * len(files[0]) + hour)[kept]
    order = np.argsort(place.astype(np.int16), kind="stable")
    changes = changes[kept[order]]
    ends = np.bincount(place, minlength=len(DIRECTIONS) * len(files[0])).cumsum()
    for index, part in enumerate(np.split(changes, ends[:-1])):
        if len(part):
            files[index // len(files[0])][index % len(files[0])].write(part.tobytes())


def _rows(batch: pa.RecordBatch, attacks: Attacks) -> npt.NDArray[np.int64]:
    """The attack of each changed cell. Cells of an attack follow each other, so that each is looked up once."""
    keys = [batch[name].to_numpy(zero_copy_only=False) for name in _ATTACK]
    first = np.ones(batch.num_rows, dtype=bool)
    first[1:] = np.any([key[1:] != key[:-1] for key in keys], axis=0)
    start = np.flatnonzero(first)
    firsts = (key[start].astype(kind) for key, kind in zip(keys, _ATTACK.values(), strict=True))
    row = attacks.rows_of(attacks.codes.of(*firsts))
    return np.repeat(row, np.diff(np.append(start, batch.num_rows)))
