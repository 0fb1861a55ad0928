"""The measures as canonical tables: cells, variables, hours, sums of single models, and bootstrap replicates."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ehr_attack.resampling import m_out_of_n_interval, percentile_interval
from ehr_attack.schemas.susceptibility import HOUR_AXIS, MODELS_TOO, OBSERVED_CELLS, PATIENTS, SELECTED, VARIABLE_AXIS
from ehr_attack.susceptibility.design import Design, Weights
from ehr_attack.susceptibility.measures import MEASURED_SHARE, MINIMUM_STAYS, CellMeasures
from ehr_attack.susceptibility.measuring import Key
from ehr_attack.susceptibility.ranking import is_zero, rank_intervals, ranks

SIZES = ("n_rows", "n_stays", "n_patients")

_Array = npt.NDArray[Any]
_Bools = npt.NDArray[np.bool_]
_Floats = npt.NDArray[np.float64]
_SIZE_OF = {"s": "gmp", "s_q95": "q95"}
"""What S, in both forms, multiplies the share of changed cells with."""

_AXES = {VARIABLE_AXIS: 1, HOUR_AXIS: 2}
"""The axis that is summed over, of arrays (draws, hours, variables)."""


@dataclass(frozen=True)
class MeasuredDirection:
    """One direction's measures with what they are of; columns: seed and fold (None: all) of each point estimate."""

    label: dict[str, str]
    design: Design
    weights: Weights
    columns: Sequence[tuple[int | None, int | None]]
    measures: dict[Key, CellMeasures]
    variable_names: Sequence[str]

    def names(self, axis: str) -> list[str] | list[int]:
        """What lies along `axis`."""
        hours = next(iter(self.measures.values())).n_patients.shape[0]
        return list(self.variable_names) if axis == VARIABLE_AXIS else list(range(hours))


class Estimates:
    """Values of one direction, policy and basis with their intervals: null where a cell is not measured.

    enough: whether there are draws, and ten patients to draw from; there is no interval otherwise.
    """

    def __init__(self, of: MeasuredDirection, key: Key) -> None:
        measures = of.measures[key]
        self._weights, self._measures = of.weights, measures
        self._counted = measures.counted(key[1])
        self.enough = of.weights.patients is not None and _n_patients(of, key[0]) >= MINIMUM_STAYS
        # Intervals need ten patients in all and in the cell itself.
        self._cell_enough = self.enough & (measures.n_patients >= MINIMUM_STAYS)

    def cells(self, name: str) -> _Floats:
        """The measure (columns, hours, variables)."""
        models = self._measures.models
        value = models[_SIZE_OF[name]] * models["gpp"] if name in _SIZE_OF else models[name]
        return np.where(self._counted, value, np.nan)

    @property
    def n_hours(self) -> int:
        """Hours of the window."""
        return int(self._counted.shape[1])

    def n_cells(self, axis: str) -> npt.NDArray[np.int64]:
        """The measured cells that each sum along `axis` is over."""
        cells: npt.NDArray[np.int64] = self._counted[0].sum(axis=_AXES[axis] - 1)
        return cells

    def draws(self, name: str, models_too: bool = False) -> _Floats:
        """`gap`, `gpp`, `q95` or `s_q95` of every resample, (draws, hours, variables)."""
        fields = self._measures.models_too if models_too else self._measures.patients
        value = fields["q95"] * fields["gpp"] if name == "s_q95" else fields[name]
        return np.where(self._counted[0], value, np.float32(np.nan)).astype(np.float64)

    def summed_draws(self, name: str, axis: str, models_too: bool = False) -> _Floats:
        """`s_q95` and the like of every resample, summed along `axis`: (draws, names)."""
        return summed(self._filled(self.draws(name, models_too), name), _AXES[axis])

    def _filled(self, draws: _Floats, name: str) -> _Floats:
        """A measured cell of which a draw holds no record counts as its estimate: every draw sums over the same cells.

        draws: (draws, hours, variables). A draw that holds no attack at all stays empty.
        """
        gap = np.isnan(draws) & ~np.isnan(draws).all(axis=(1, 2), keepdims=True)
        return np.where(gap, self.cells(name)[0], draws)

    def cell_intervals(self) -> dict[str, _Floats]:
        """Ends of the 95 % intervals of all measures of cells, (hours, variables), by `<measure>_low` and `_high`."""
        ends: dict[str, _Floats] = {}
        for name in ("gap", "gpp", "q95", "s_q95", "gmp", "s"):
            if not self.enough:
                low = high = np.full(self._cell_enough.shape, np.nan)
            elif name in ("gmp", "s"):
                low, high = self._of_maxima(name)
            else:
                low, high = percentile_interval(self.draws(name))
            ends[f"{name}_low"] = np.where(self._cell_enough, low, np.nan)
            ends[f"{name}_high"] = np.where(self._cell_enough, high, np.nan)
        return ends

    def sum_intervals(self, axis: str) -> dict[str, _Floats]:
        """Ends of the 95 % intervals of S and S_q95 summed over the other axis."""
        ends: dict[str, _Floats] = {}
        for name in ("s", "s_q95"):
            if not self.enough:
                low = high = np.full(len(self.n_cells(axis)), np.nan)
            elif name == "s":
                low, high = self._of_maxima(name, axis)
            else:
                low, high = percentile_interval(self.summed_draws(name, axis))
            ends |= {f"{name}_low": low, f"{name}_high": high}
        return ends

    def _of_maxima(self, name: str, axis: str | None = None) -> tuple[_Floats, _Floats]:
        """The m-out-of-n interval of `gmp` or `s`, of each cell or summed along `axis`."""
        estimate = self.cells(name)[0]
        samples = [np.where(self._counted[0], fields[name], np.nan) for fields in self._measures.smaller]
        if axis is not None:
            samples = [summed(self._filled(sample, name), _AXES[axis]) for sample in samples]
            estimate = summed(estimate, _AXES[axis] - 1)
        low, high = m_out_of_n_interval(estimate, samples, self._weights.sizes, self._weights.n_patients)
        # No maximum of the population lies below one of a sample of it.
        return (np.where(np.isnan(low), np.nan, estimate) if name == "gmp" else low), high


def summed(values: _Floats, axis: int) -> _Floats:
    """The sum over an axis, nulls left out; null where nothing is left."""
    missing = np.isnan(values)
    total: _Floats = np.where(missing, 0.0, values).sum(axis=axis)
    return np.where(missing.all(axis=axis), np.nan, total)


def cell_table(of: MeasuredDirection) -> pd.DataFrame:
    """CELLS of one direction."""
    parts = []
    for key, measures in of.measures.items():
        estimates = Estimates(of, key)
        n_hours, n_variables = measures.n_patients.shape
        columns: dict[str, _Array] = {
            "hour": np.repeat(np.arange(n_hours), n_variables),
            "variable": np.tile(np.asarray(of.variable_names), n_hours),
        }
        sizes = (measures.n_rows[0], measures.n_stays[0], measures.n_patients)
        columns |= {name: size.ravel() for name, size in zip(SIZES, sizes, strict=True)}
        columns["n_changed_patients"] = measures.n_changed_patients.ravel()
        columns |= {name: estimates.cells(name)[0].ravel() for name in ("gmp", "gap", "gpp", "q95", "s", "s_q95")}
        columns |= {name: values.ravel() for name, values in estimates.cell_intervals().items()}
        parts.append(pd.DataFrame(columns).assign(policy=key[0], basis=key[1], **of.label))
    return pd.concat(parts, ignore_index=True)


def sum_table(of: MeasuredDirection, recorded: _Bools, axis: str) -> pd.DataFrame:
    """VARIABLES (axis `variable`) or HOURS (`hour`) of one direction."""
    parts = []
    for key in of.measures:
        estimates = Estimates(of, key)
        values = {name: summed(estimates.cells(name)[0], _AXES[axis] - 1) for name in ("s", "s_q95")}
        sizes = dict(zip(SIZES, _sizes(of, key, recorded, axis)[0].T, strict=True))
        sizes["n_cells"] = estimates.n_cells(axis)
        part = pd.DataFrame({axis: of.names(axis)} | sizes | values | estimates.sum_intervals(axis))
        if axis == VARIABLE_AXIS:
            part = part.assign(**_rank_columns(estimates, values["s_q95"]))
        parts.append(part.assign(policy=key[0], basis=key[1], **of.label))
    return pd.concat(parts, ignore_index=True)


def model_table(of: MeasuredDirection, recorded: _Bools, seeds: _Array, folds: _Array) -> pd.DataFrame:
    """SUMS_BY_MODEL of one direction; seeds, folds: the names of their places."""
    seed_names = np.array([seeds[seed] for seed, _ in of.columns[1:]], dtype=np.int64)
    fold_names = np.array([np.nan if fold is None else folds[fold] for _, fold in of.columns[1:]], dtype=np.float64)
    parts = []
    for key in of.measures:
        estimates = Estimates(of, key)
        for axis, over in _AXES.items():
            names = np.asarray([str(name) for name in of.names(axis)])
            columns = {"name": np.tile(names, len(seed_names)), "seed": np.repeat(seed_names, len(names))}
            columns["fold"] = np.repeat(fold_names, len(names))
            sizes = _sizes(of, key, recorded, axis)[1:]
            columns |= {name: sizes[:, :, place].ravel() for place, name in enumerate(SIZES)}
            columns |= {name: summed(estimates.cells(name), over)[1:].ravel() for name in ("s", "s_q95")}
            parts.append(pd.DataFrame(columns).assign(axis=axis, policy=key[0], basis=key[1], **of.label))
    return pd.concat(parts, ignore_index=True).astype({"fold": "Int32"})


def replicate_tables(of: MeasuredDirection) -> Iterator[pd.DataFrame]:
    """REPLICATES of one direction, in parts; none without resampling, or below ten patients."""
    for key in of.measures:
        estimates = Estimates(of, key)
        if key[0] != SELECTED or not estimates.enough:
            continue
        for resampled in (PATIENTS, MODELS_TOO):
            for axis in _AXES:
                sums = estimates.summed_draws("s_q95", axis, models_too=resampled == MODELS_TOO)
                names = [str(name) for name in of.names(axis)]
                columns = {
                    "replicate": np.repeat(np.arange(len(sums)), len(names)),
                    "name": np.tile(np.asarray(names), len(sums)),
                    "s_q95": sums.ravel(),
                }
                yield pd.DataFrame(columns).assign(basis=key[1], resampled=resampled, axis=axis, **of.label)


def _rank_columns(estimates: Estimates, s_q95: _Floats) -> dict[str, Any]:
    """`rank` by S_q95 per measured cell, with its interval; null where it is 0 (ties at 0 have no order), or where
    fewer than half of the hours are measured: a sum over few cells is small for that reason alone.
    """
    n_cells, n_hours = estimates.n_cells(VARIABLE_AXIS), estimates.n_hours
    cells = np.where(n_cells >= MEASURED_SHARE * n_hours, n_cells, np.nan)
    rank = np.where(is_zero(s_q95), np.nan, ranks(s_q95[None] / cells)[0])
    low = high = np.full(rank.shape, np.nan)
    if estimates.enough:
        means = estimates.summed_draws("s_q95", VARIABLE_AXIS) / cells
        low, high = rank_intervals(means, ~np.isnan(rank))
    columns = zip(("rank", "rank_low", "rank_high"), (rank, low, high), strict=True)
    return {name: pd.array(values).astype("Int32") for name, values in columns}


def _n_patients(of: MeasuredDirection, policy: str) -> int:
    unit = of.design.group_unit[of.design.group_rows[policy] > 0]
    return int(np.unique(of.design.patient[unit]).size)


def _sizes(of: MeasuredDirection, key: Key, recorded: _Bools, axis: str) -> npt.NDArray[np.int64]:
    """Attacks, stays and patients that each sum is measured over, int64 (columns, names, 3).

    Of recorded values: those with one in any of the cells that are summed.
    """
    design, (policy, basis) = of.design, key
    kept = design.group_rows[policy] > 0
    unit, stay, rows = design.group_unit[kept], design.group_stay[kept], design.group_rows[policy][kept]
    names = len(of.names(axis))
    seen: _Bools = np.ones((len(stay), names), dtype=bool)
    if basis == OBSERVED_CELLS:
        seen = np.asarray(recorded[stay].any(axis=_AXES[axis]))
    sizes: npt.NDArray[np.int64] = np.zeros((len(of.columns), names, 3), dtype=np.int64)
    for column, member in enumerate(of.weights.models.T):
        inside = np.flatnonzero(member[unit] > 0)
        sizes[column, :, 0] = rows[inside] @ seen[inside]
        for position, owner in ((1, stay[inside]), (2, design.patient[unit[inside]])):
            order = np.argsort(owner, kind="stable")
            starts = np.flatnonzero(np.diff(owner[order], prepend=-1))
            if len(starts):
                sizes[column, :, position] = np.logical_or.reduceat(seen[inside][order], starts).sum(axis=0)
    return sizes
