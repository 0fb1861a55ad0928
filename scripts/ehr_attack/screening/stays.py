"""The stays to look at, with the models that look at them: of the run, or new ones."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ehr_attack.attacks.events import Events, load_events
from ehr_attack.checkpoint import Checkpoint
from ehr_attack.cohort_data import CohortData, load_cohort
from ehr_attack.errors import UserError
from ehr_attack.folds import NEVER_HELD_OUT
from ehr_attack.inputs import model_inputs
from ehr_attack.screening.description import RunDescription
from ehr_attack.screening.fold_models import FoldModels, load_fold_models
from ehr_attack.screening.records import Records, read_records

HELD_OUT, NEW_RECORDS = "held-out stays", "new records"
_Ints = npt.NDArray[np.int64]
_STAYS_A_READING = 2048
"""Recorded values of so many stays are held at once: each reading goes through the whole file."""


@dataclass(frozen=True)
class StayBatch:
    """Stays that the same models look at; the first axis of every array is the stay.

    checkpoints: by fold, at least one; what counts is the mean of their logits. stay_ids: int64; values: float32
    (stays, hours, variables), hourly means, clinical units, NaN where nothing was recorded; carry_in: float32 (stays,
    variables); n_hours: int64 (stays,); events: the recorded values behind the means, None where nobody asked for them.
    """

    checkpoints: dict[int, Checkpoint]
    stay_ids: _Ints
    values: npt.NDArray[np.float32]
    carry_in: npt.NDArray[np.float32]
    n_hours: _Ints
    events: Events | None = None

    def inputs(self, checkpoint: Checkpoint) -> npt.NDArray[np.float32]:
        """What one of the models sees of the stays, float32 (stays, hours, channels)."""
        return model_inputs(checkpoint.preprocessing, checkpoint.inputs, self.values, self.carry_in, self.n_hours)


@dataclass(frozen=True)
class Source:
    """Where stays come from: `kind` is HELD_OUT or NEW_RECORDS."""

    kind: str
    models: FoldModels
    stay_ids: _Ints
    _cohort: CohortData | None
    _records: Records | None
    _measurements: Path

    def shard(self, index: int, count: int) -> "Source":
        """Part `index` (0-based) of `count` parts of the stays. Raises UserError for one that would be empty."""
        if index >= len(self.stay_ids):
            there = len(self.stay_ids)
            raise UserError(f"--shard {index + 1}/{count}: the stays are {there}. Choose at most as many shards.")
        return replace(self, stay_ids=self.stay_ids[index::count])

    def batches(self, size: int, *, with_events: bool) -> Iterator[StayBatch]:
        """All stays, at most `size` at once: a held-out one with the model of its fold, a new one with all models."""
        if self._records is not None:
            for rows in _parts(np.flatnonzero(np.isin(self._records.stay_ids, self.stay_ids)), size):
                part = self._records.part(rows)
                recorded = part.events
                values = recorded.means().astype(np.float32)
                yield StayBatch(self.models.checkpoints, part.stay_ids, values, part.carry_in, part.n_hours, recorded)
            return
        assert self._cohort is not None
        features = self._cohort.features
        wanted = np.flatnonzero(np.isin(features.stay_ids, self.stay_ids))
        for fold, checkpoint in self.models.checkpoints.items():
            of_fold = wanted[self._cohort.folds[wanted] == fold]
            for block in _parts(of_fold, _STAYS_A_READING):
                events = self._recorded(block) if with_events else None
                for place in _parts(np.arange(len(block)), size):
                    rows = block[place]
                    yield StayBatch(
                        {fold: checkpoint},
                        features.stay_ids[rows],
                        features.values[rows],
                        features.carry_in[rows],
                        features.n_hours[rows],
                        None if events is None else _some_of(events, place),
                    )

    def _recorded(self, rows: _Ints) -> Events:
        """The recorded values of some stays of the cohort."""
        assert self._cohort is not None
        features = self._cohort.features
        ids, n_hours, window = features.stay_ids[rows], features.n_hours[rows], features.values.shape[1]
        return load_events(self._measurements, ids, n_hours, self._cohort.variable_names, window)


def _parts(rows: _Ints, size: int) -> Iterator[_Ints]:
    """`rows` in pieces of at most `size`."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _some_of(events: Events, stays: _Ints) -> Events:
    """The events of some of the stays, padded to the one of these that has the most."""
    size = max(1, int(events.real[stays].sum(axis=1).max(initial=0)))
    arrays: dict[str, Any] = {
        name: value[stays, :size] for name, value in vars(events).items() if isinstance(value, np.ndarray)
    }
    return replace(events, **arrays)


def open_source(
    run: Path,
    description: RunDescription,
    *,
    stays: Sequence[int] | None,
    all_held_out: bool,
    records: Path | None,
    model: str | None,
    seed: int | None,
) -> Source:
    """The stays that the command line asks for, and the models.

    Exactly one of stays (ids), all_held_out and records (a file) is given. Raises UserError for stays that the run does
    not have or never held out, for records that are not fit (see `read_records`), and for models that are not there.
    """
    measurements = run / "extract" / "measurements.parquet"
    chosen: dict[str, Any] = {"model": model, "seed": seed}
    if records is not None:
        models = load_fold_models(run, description, **chosen)
        read = read_records(records, description)
        return Source(NEW_RECORDS, models, read.stay_ids, None, read, measurements)
    files = [run / "features" / "features.parquet", run / "extract" / "stays.parquet", run / "folds" / "folds.parquet"]
    cohort = load_cohort(*files, variables=description.variables, window_hours=description.window_hours)
    models = load_fold_models(run, description, **chosen, data=cohort.file_digests)
    held_out = cohort.features.stay_ids[cohort.folds != NEVER_HELD_OUT]
    wanted = held_out if all_held_out else _asked_for(stays or [], cohort, files[1])
    return Source(HELD_OUT, models, wanted, cohort, None, measurements)


def _asked_for(stays: Sequence[int], cohort: CohortData, where: Path) -> _Ints:
    """The ids of `stays`, sorted, without repeats."""
    wanted, known = np.unique(np.asarray(stays, dtype=np.int64)), cohort.features.stay_ids
    unknown = wanted[~np.isin(wanted, known)]
    if len(unknown):
        raise UserError(
            f"--stay: {len(unknown)} of {len(wanted)} ids are of no stay of this run; expected stay_id's of its "
            f"{len(known):,} stays, which are in {where}."
        )
    never = wanted[np.isin(wanted, known[cohort.folds == NEVER_HELD_OUT])]
    if len(never):
        raise UserError(
            f"--stay: {len(never)} of {len(wanted)} stays were held out by no fold: every model of the run was trained "
            "on them, so what it says of them is no prediction. Choose stays of fold 0 or higher in "
            f"{where.parents[1] / 'folds' / 'folds.parquet'}."
        )
    return wanted
