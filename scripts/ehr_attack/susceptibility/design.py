"""Who the successful attacks of one direction are of, and how much each counts in every resample."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ehr_attack.resampling import ModelDraws, resample_sizes
from ehr_attack.susceptibility.rows import Attacks

_Ints = npt.NDArray[np.int64]
_Bools = npt.NDArray[np.bool_]
_Floats = npt.NDArray[np.float64]
_Floats32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Design:
    """Who the successful attacks of one direction are of.

    A unit is a patient under one trained model (seed and fold); units are sorted by patient. patient, seed, fold:
    (units,) places, see Attacks. unit_of_row: (rows of Attacks,), -1 where a row does not count. group_unit,
    group_stay: (groups,) the stays of each unit; group_rows: by policy, (groups,) how many attacks on each count.
    """

    patient: _Ints
    seed: _Ints
    fold: _Ints
    unit_of_row: npt.NDArray[np.int32]
    group_unit: _Ints
    group_stay: _Ints
    group_rows: dict[str, _Ints]

    @classmethod
    def of(cls, attacks: Attacks, direction: int) -> "Design":
        """The units of the attacks of `direction` (place in DIRECTIONS) that count under any policy."""
        counts = np.any(list(attacks.policies.values()), axis=0) & (attacks.direction == direction)
        rows = np.flatnonzero(counts)
        seeds, folds = len(attacks.codes.seeds), len(attacks.codes.folds)
        key = (attacks.patient[rows] * seeds + attacks.seed[rows]) * folds + attacks.fold[rows]
        units, unit = np.unique(key, return_inverse=True)
        stays = len(attacks.codes.stay_ids)
        groups, group = np.unique(unit * stays + attacks.stay[rows], return_inverse=True)
        unit_of_row = np.full(len(attacks.code), -1, dtype=np.int32)
        unit_of_row[rows] = unit
        return cls(
            patient=units // (seeds * folds),
            seed=units // folds % seeds,
            fold=units % folds,
            unit_of_row=unit_of_row,
            group_unit=groups // stays,
            group_stay=groups % stays,
            group_rows={
                name: np.bincount(group[kept[rows]], minlength=len(groups)) for name, kept in attacks.policies.items()
            },
        )

    def __len__(self) -> int:
        return len(self.patient)

    @cached_property
    def patient_starts(self) -> _Ints:
        """(patients,) the first unit of each patient."""
        return np.flatnonzero(np.diff(self.patient, prepend=-1))

    @property
    def n_patients(self) -> int:
        """Patients with an attack that counts."""
        return len(self.patient_starts)

    def membership(self, columns: Sequence[tuple[int | None, int | None]]) -> _Floats:
        """(units, columns), 1 where a unit is of the seed and fold of a column; None: of any."""
        of = [
            (np.isin(self.seed, seed) if seed is not None else True)
            & (np.isin(self.fold, fold) if fold is not None else True)
            & np.ones(len(self), dtype=bool)
            for seed, fold in columns
        ]
        return np.stack(of, axis=1).astype(np.float64)

    def rows_of_units(self, policy: str) -> _Floats:
        """(units,) how many attacks on each unit count under `policy`."""
        return np.bincount(self.group_unit, weights=self.group_rows[policy], minlength=len(self)).astype(np.float64)

    def rows_of_stays(self, policy: str, members: _Floats, n_stays: int) -> _Floats:
        """(columns, stays of the cohort): the attacks on each that count, by column of `members` (see membership)."""
        rows = self.group_rows[policy]
        counts = [
            np.bincount(self.group_stay, weights=rows * member[self.group_unit], minlength=n_stays)
            for member in members.T
        ]
        return np.stack(counts).astype(np.float64)

    def recorded_rows_of_units(self, policy: str, recorded: _Bools) -> _Floats:
        """(units, variables): of the attacks that count, those on stays with a recorded value.

        recorded: (stays of the cohort, variables).
        """
        totals = np.zeros((len(self), recorded.shape[1]))
        if len(self):
            rows = self.group_rows[policy][:, None] * recorded[self.group_stay]
            np.add.reduceat(rows, np.flatnonzero(np.diff(self.group_unit, prepend=-1)), axis=0, out=totals)
        return totals


@dataclass(frozen=True)
class Weights:
    """How often each unit counts: in each point estimate, and in each resample.

    models: (units, columns) float64, the first column all, then those of single models. patients, models_too: (units,
    draws) float32, see schemas.REPLICATES. smaller: for each size m, (draws, m) places of the patients drawn from
    `n_patients`, in the order of Design.patient_starts. None where there is no resampling.
    """

    models: _Floats
    patients: _Floats32 | None = None
    models_too: _Floats32 | None = None
    smaller: tuple[npt.NDArray[np.int32], ...] = ()
    sizes: tuple[int, ...] = ()
    n_patients: int = 0

    @classmethod
    def of(
        cls, design: Design, columns: Sequence[tuple[int | None, int | None]], draws: ModelDraws | None, seed: int
    ) -> "Weights":
        """columns: seed and fold of each point estimate (None: all). draws: None for no resampling."""
        models = design.membership(columns)
        if draws is None or not len(design):
            return cls(models)
        sizes = resample_sizes(design.n_patients)
        random = np.random.default_rng(seed)
        shape = draws.patients.shape[1]
        smaller = [random.integers(0, design.n_patients, size=(shape, m), dtype=np.int32) for m in sizes]
        return cls(
            models,
            draws.of_patients(design.patient),
            draws.of_models_too(design.patient, design.seed, design.fold),
            tuple(smaller),
            tuple(sizes),
            design.n_patients,
        )


def model_columns(n_seeds: int, n_folds: int) -> list[tuple[int | None, int | None]]:
    """Seed and fold of the point estimates: of all, of each trained model, and of each seed over its folds."""
    models: list[tuple[int | None, int | None]] = [(seed, fold) for seed in range(n_seeds) for fold in range(n_folds)]
    return [(None, None), *models, *((seed, None) for seed in range(n_seeds))]
