"""The measures of cells (Sun et al. 2018), for the attacks as they are and for every resample, an hour at a time."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ehr_attack.schemas.susceptibility import OBSERVED_CELLS
from ehr_attack.susceptibility.quantiles import upper_quantiles

MINIMUM_STAYS = 10
"""Below this many stays a cell is not measured over its recorded values; below as many patients no interval is told."""

MEASURED_SHARE = 0.5
"""The share of the cells of a variable or hour that must be measured for it to be compared with others."""

_GATHERED = 500_000
"""Values gathered at once for the resamples of fewer patients."""

_Array = npt.NDArray[Any]
_Bools = npt.NDArray[np.bool_]
_Floats = npt.NDArray[np.float64]
Fields = dict[str, _Floats]


@dataclass(frozen=True)
class HourSample:
    """The changed cells of one hour that one policy and basis measure.

    magnitude, unit: by variable, |D| in descending order and the unit of each. rows: (units, 1 or variables), the
    attacks on each unit that a cell is measured over.
    """

    magnitude: Sequence[_Array]
    unit: Sequence[_Array]
    rows: _Floats

    @cached_property
    def changed(self) -> _Floats:
        """(units, variables), attacks that changed the cell."""
        return self._by_unit([None] * len(self.unit))

    @cached_property
    def total(self) -> _Floats:
        """(units, variables), the sum of |D|."""
        return self._by_unit(self.magnitude)

    @cached_property
    def largest(self) -> _Floats:
        """(units, variables), the maximum of |D|, 0 where the cell never changed."""
        largest = np.zeros((len(self.rows), len(self.unit)))
        for variable, (magnitude, unit) in enumerate(zip(self.magnitude, self.unit, strict=True)):
            # Of several values for one unit the last one stays: the largest.
            largest[unit[::-1], variable] = magnitude[::-1]
        return largest

    def _by_unit(self, weights: Sequence[_Array | None]) -> _Floats:
        sums = [
            np.bincount(unit, weights=weight, minlength=len(self.rows))
            for unit, weight in zip(self.unit, weights, strict=True)
        ]
        return np.stack(sums, axis=1).astype(np.float64)


def point_measures(sample: HourSample, members: _Floats) -> Fields:
    """GMP, GAP, GPP and the 95th percentile over the attacks of each column of `members` (units, columns) of 0 and 1.

    (columns, variables) each; GMP is the maximum, GAP the mean and GPP the share of changed cells, over all attacks of
    the column, an unchanged cell counting as 0 (Sun et al. 2018). 0 where there is no attack.
    """
    rows, changed = members.T @ sample.rows, members.T @ sample.changed
    return {
        "gmp": np.stack([sample.largest[member > 0].max(axis=0, initial=0.0) for member in members.T]),
        "gap": members.T @ sample.total / np.maximum(rows, 1.0),
        "gpp": changed / np.maximum(rows, 1.0),
        "q95": np.nan_to_num(_q95(sample, members, rows, changed)),
    }


def resampled_measures(sample: HourSample, weights: _Array) -> Fields:
    """GAP, GPP and the 95th percentile under each of several weightings of the units, (draws, variables) each.

    weights: (units, draws) float32, whole numbers. NaN where a draw has no attack.
    """
    rows, changed, total = (
        (weights.T @ values.astype(np.float32)).astype(np.float64)
        for values in (sample.rows, sample.changed, sample.total)
    )
    with np.errstate(invalid="ignore"):
        return {"gap": total / rows, "gpp": changed / rows, "q95": _q95(sample, weights, rows, changed)}


def _q95(sample: HourSample, weights: _Array, rows: _Floats, changed: _Floats) -> _Floats:
    totals = np.broadcast_to(rows, changed.shape)
    columns = [
        upper_quantiles(magnitude, unit, weights, totals[:, variable], changed[:, variable])
        for variable, (magnitude, unit) in enumerate(zip(sample.magnitude, sample.unit, strict=True))
    ]
    return np.stack(columns, axis=1)


def changed_patients(sample: HourSample, patient_starts: _Array) -> npt.NDArray[np.int64]:
    """(variables,) patients of whom an attack changed the cell. patient_starts: the first unit of each patient."""
    if not len(patient_starts):
        return np.zeros(len(sample.unit), dtype=np.int64)
    changed: npt.NDArray[np.int64] = (np.add.reduceat(sample.changed, patient_starts) > 0).sum(axis=0)
    return changed


def smaller_measures(sample: HourSample, patient_starts: _Array, drawn: _Array) -> Fields:
    """GMP and S = GMP x GPP over the patients of each draw, (draws, variables) each; NaN where a draw has no attack.

    patient_starts: the first unit of each patient. drawn: (draws, m) places of patients.
    """
    if not len(patient_starts):
        return {name: np.full((len(drawn), len(sample.unit)), np.nan) for name in ("gmp", "s")}
    rows, changed, largest = (
        how.reduceat(values, patient_starts).astype(np.float32)
        for how, values in ((np.add, sample.rows), (np.add, sample.changed), (np.maximum, sample.largest))
    )
    gmp, gpp = (np.empty((len(drawn), len(sample.unit))) for _ in range(2))
    step = max(1, _GATHERED // (drawn.shape[1] * largest.shape[1]))
    with np.errstate(invalid="ignore"):
        for start in range(0, len(drawn), step):
            part, places = slice(start, start + step), drawn[start : start + step]
            of = rows.take(places, axis=0).sum(axis=1)
            gmp[part] = np.where(of > 0, largest.take(places, axis=0).max(axis=1), np.nan)
            gpp[part] = changed.take(places, axis=0).sum(axis=1) / of
    return {"gmp": gmp, "s": gmp * gpp}


@dataclass(frozen=True)
class CellMeasures:
    """The measures of all cells of one direction, policy and basis; every array ends in (hours, variables).

    models: gmp, gap, gpp, q95, float64 (columns, ...), the first column over all models. n_rows, n_stays: int64
    (columns, ...), what a cell is measured over; n_patients: of the first column; n_changed_patients: of these, those
    of whom an attack changed the cell. patients: gap, gpp, q95, float32 (draws, ...); models_too: gpp, q95; smaller: of
    each size, gmp and s. Empty where there is no resampling.
    """

    models: Fields
    n_rows: npt.NDArray[np.int64]
    n_stays: npt.NDArray[np.int64]
    n_patients: npt.NDArray[np.int64]
    n_changed_patients: npt.NDArray[np.int64]
    patients: Fields = field(default_factory=dict)
    models_too: Fields = field(default_factory=dict)
    smaller: list[Fields] = field(default_factory=list)

    def counted(self, basis: str) -> _Bools:
        """Bool (columns, hours, variables): the cells that are measured; of recorded values, those with ten stays."""
        return self.n_stays >= MINIMUM_STAYS if basis == OBSERVED_CELLS else np.ones_like(self.n_stays, dtype=bool)
