"""Measuring one direction: hour by hour, all policies and bases from one sorting of each cell's changes."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ehr_attack.schemas.susceptibility import ALL_CELLS, BASES, OBSERVED_CELLS, SELECTED
from ehr_attack.susceptibility.design import Design, Weights
from ehr_attack.susceptibility.measures import (
    CellMeasures,
    Fields,
    HourSample,
    changed_patients,
    point_measures,
    resampled_measures,
    smaller_measures,
)
from ehr_attack.susceptibility.rows import Attacks
from ehr_attack.susceptibility.spooling import SpooledChanges

Key = tuple[str, str]
"""Policy and basis."""

_Array = npt.NDArray[Any]
_Bools = npt.NDArray[np.bool_]
_Floats = npt.NDArray[np.float64]


def measure_direction(
    attacks: Attacks,
    design: Design,
    weights: Weights,
    spooled: SpooledChanges,
    recorded: _Bools,
    direction: int,
) -> dict[Key, CellMeasures]:
    """The measures of the attacks of `direction` (place in DIRECTIONS), by policy and basis.

    recorded: (stays of the cohort, hours, variables), whether a value is recorded there.
    """
    keys = [(policy, basis) for policy in attacks.policies for basis in BASES]
    found = {key: _empty(key, weights, recorded.shape[1:]) for key in keys}
    stays = {key[0]: design.rows_of_stays(key[0], weights.models, len(recorded)) for key in keys}
    for hour in range(recorded.shape[1]):
        for key, sample in _samples(attacks, design, spooled.read(direction, hour), recorded[:, hour], keys):
            _measure(found[key], key, sample, design, weights, hour)
            _count(found[key], key, design, stays[key[0]], recorded[:, hour], hour)
    return found


def _samples(
    attacks: Attacks, design: Design, changes: _Array, recorded: _Bools, keys: list[Key]
) -> Iterator[tuple[Key, HourSample]]:
    """The changes of an hour for each policy and basis; each cell's are sorted once."""
    cells = []
    by_variable = changes[np.argsort(changes["variable"], kind="stable")]
    ends = np.bincount(changes["variable"], minlength=recorded.shape[1]).cumsum()
    for variable, cell in enumerate(np.split(by_variable, ends[:-1])):
        order = np.argsort(-cell["magnitude"])
        row = cell["row"][order]
        cells.append((cell["magnitude"][order], row, recorded[attacks.stay[row], variable]))
    for policy, basis in keys:
        magnitude, unit = [], []
        for size, row, seen in cells:
            kept = attacks.policies[policy][row]
            if basis == OBSERVED_CELLS:
                kept &= seen
            magnitude.append(size[kept])
            unit.append(design.unit_of_row[row[kept]])
        if basis == ALL_CELLS:
            rows = design.rows_of_units(policy)[:, None]
        else:
            rows = design.recorded_rows_of_units(policy, recorded)
        yield (policy, basis), HourSample(magnitude, unit, rows)


def _empty(key: Key, weights: Weights, cells: tuple[int, ...]) -> CellMeasures:
    columns = weights.models.shape[1]

    def fields(draws: int, names: tuple[str, ...], dtype: type) -> Fields:
        return {name: np.zeros((draws, *cells), dtype=dtype) for name in names}

    measures = CellMeasures(
        models=fields(columns, ("gmp", "gap", "gpp", "q95"), np.float64),
        n_rows=np.zeros((columns, *cells), dtype=np.int64),
        n_stays=np.zeros((columns, *cells), dtype=np.int64),
        n_patients=np.zeros(cells, dtype=np.int64),
        n_changed_patients=np.zeros(cells, dtype=np.int64),
    )
    if weights.patients is not None:
        draws = weights.patients.shape[1]
        measures.patients.update(fields(draws, ("gap", "gpp", "q95"), np.float32))
        measures.smaller.extend(fields(draws, ("gmp", "s"), np.float32) for _ in weights.sizes)
        if weights.models_too is not None and key[0] == SELECTED:
            measures.models_too.update(fields(draws, ("gpp", "q95"), np.float32))
    return measures


def _measure(measures: CellMeasures, key: Key, sample: HourSample, design: Design, weights: Weights, hour: int) -> None:
    _put(measures.models, point_measures(sample, weights.models), hour)
    measures.n_changed_patients[hour] = changed_patients(sample, design.patient_starts)
    if weights.patients is not None:
        _put(measures.patients, resampled_measures(sample, weights.patients), hour)
    if weights.models_too is not None and key[0] == SELECTED:
        _put(measures.models_too, resampled_measures(sample, weights.models_too), hour)
    for fields, drawn in zip(measures.smaller, weights.smaller, strict=True):
        _put(fields, smaller_measures(sample, design.patient_starts, drawn), hour)


def _put(fields: Fields, values: Fields, hour: int) -> None:
    for name, array in fields.items():
        array[:, hour] = values[name]


def _count(
    measures: CellMeasures, key: Key, design: Design, rows_of_stays: _Floats, recorded: _Bools, hour: int
) -> None:
    """What each cell of the hour is measured over; rows_of_stays: see Design."""
    policy, basis = key
    seen = recorded if basis == OBSERVED_CELLS else np.ones_like(recorded)
    counted = seen.astype(np.float64)
    measures.n_rows[:, hour] = rows_of_stays @ counted
    measures.n_stays[:, hour] = (rows_of_stays > 0).astype(np.float64) @ counted
    kept = design.group_rows[policy] > 0
    patient = design.patient[design.group_unit[kept]]
    if len(patient):
        by_patient = np.flatnonzero(np.diff(patient, prepend=-1))
        of_group = seen[design.group_stay[kept]]
        measures.n_patients[hour] = np.logical_or.reduceat(of_group, by_patient).sum(axis=0)
