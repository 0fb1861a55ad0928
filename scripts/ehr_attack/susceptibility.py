"""Population measures of susceptibility (Sun et al. 2018), per direction, cell, variable and hour."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ehr_attack.attacks.selection import ROW_KEY, successes
from ehr_attack.feature_tensor import load_tensor
from ehr_attack.resampling import patient_weights, percentile_interval
from ehr_attack.schemas import ATTACK_CURVES, ATTACK_SUMMARY, CELLS, HOURS, VARIABLES
from ehr_attack.storage import read_frame, write_frame

DIRECTIONS = ("0_to_1", "1_to_0")
MINIMUM_STAYS = 10
"""Below this many stays a share or an interval is not reported."""

_SEED = 20180819
_CURVE_POINTS = 101

_Floats = npt.NDArray[np.float64]
_LABELS = ("model", "mode", "direction")


@dataclass(frozen=True)
class PerturbationStack:
    """The selected perturbations of one direction.

    magnitude: float32 (stays, hours, features), |D| in scaled units; observed: bool, same shape, cells with a
    recorded value; subject_ids: int64 (stays,).
    """

    magnitude: npt.NDArray[np.float32]
    observed: npt.NDArray[np.bool_]
    subject_ids: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Measures:
    """The per-cell measures of one direction, float64 (hours, features); see `measure_cells`."""

    gmp: _Floats
    gap: _Floats
    gpp: _Floats
    q95: _Floats
    n_observed: npt.NDArray[np.int64]
    gpp_observed: _Floats

    @property
    def s(self) -> _Floats:
        """S_ij = GMP_ij x GPP_ij."""
        return self.gmp * self.gpp

    @property
    def s_q95(self) -> _Floats:
        """The robust form: the 95th percentile in place of the maximum."""
        return self.q95 * self.gpp


def measure_cells(stack: PerturbationStack) -> Measures:
    """GMP (maximum), GAP (mean) and GPP (share changed) of |D| over stays, for every cell (Sun et al. 2018).

    q95: the 95th percentile over all stays of the stack, unchanged cells counting as 0. gpp_observed: share changed
    among the stays in which the cell was observed, NaN below 10 such stays. All zero for an empty stack.
    """
    magnitude, observed = stack.magnitude, stack.observed
    n_observed = observed.sum(axis=0)
    changed_observed = ((magnitude > 0) & observed).sum(axis=0)
    enough = n_observed >= MINIMUM_STAYS
    gpp_observed = np.where(enough, changed_observed / np.maximum(n_observed, 1), np.nan)
    if not len(magnitude):
        zero = np.zeros(magnitude.shape[1:])
        return Measures(zero, zero, zero, zero, n_observed, gpp_observed)
    return Measures(
        gmp=magnitude.max(axis=0).astype(np.float64),
        gap=magnitude.mean(axis=0, dtype=np.float64),
        gpp=(magnitude > 0).mean(axis=0, dtype=np.float64),
        q95=_q95(magnitude),
        n_observed=n_observed,
        gpp_observed=gpp_observed,
    )


def stack_selected(
    outcomes: pd.DataFrame,
    perturbations: pd.DataFrame,
    direction: str,
    observed: npt.NDArray[np.bool_],
    stay_ids: npt.NDArray[np.int64],
    subject_ids: npt.NDArray[np.int64],
    variable_names: Sequence[str],
) -> PerturbationStack:
    """Dense |D| of the selected attacks of `direction`.

    observed: bool (stays, hours, features) of the whole cohort, aligned with stay_ids and subject_ids (sorted by
    stay id). One row of the stack is one stay and seed.
    """
    selected = outcomes[outcomes["selected"] & (outcomes["direction"] == direction)]
    rows = selected[ROW_KEY].reset_index(drop=True).rename_axis("row").reset_index()
    cells = perturbations.merge(rows, on=ROW_KEY, how="inner", validate="many_to_one")
    magnitude = np.zeros((len(rows), *observed.shape[1:]), dtype=np.float32)
    feature = pd.Index(variable_names).get_indexer(pd.Index(cells["variable"]))
    magnitude[cells["row"], cells["hour"], feature] = cells["delta_scaled"].abs()
    places = np.searchsorted(stay_ids, rows["stay_id"].to_numpy())
    return PerturbationStack(magnitude, observed[places], subject_ids[places])


@dataclass(frozen=True)
class Susceptibility:
    """The tables of one model and mode, each with the columns of its canonical schema."""

    cells: pd.DataFrame
    variables: pd.DataFrame
    hours: pd.DataFrame


def susceptibility_tables(
    stacks: dict[str, PerturbationStack],
    *,
    model: str,
    mode: str,
    variable_names: Sequence[str],
    resamples: int,
) -> Susceptibility:
    """Measures per cell, variable (S_j = sum over hours) and hour (S_i = sum over variables), by direction.

    stacks: direction -> selected perturbations. The 95 % intervals of the robust forms come from `resamples`
    bootstrap resamples of patients; they are NaN below 10 stays, and for S itself, a sum of maxima, always: the
    ordinary bootstrap is not valid for a maximum.
    """
    cells, variables, hours = [], [], []
    for direction, stack in stacks.items():
        label = dict(zip(_LABELS, (model, mode, direction), strict=True)) | {"n_stays": len(stack.magnitude)}
        measures = measure_cells(stack)
        by_hour, by_variable = _robust_intervals(stack, resamples)
        cells.append(_cell_table(measures, variable_names).assign(**label))
        of_variable = pd.DataFrame({"variable": list(variable_names)} | _sums(measures, 0, by_variable))
        rank = of_variable["s"].rank(ascending=False, method="min").astype(np.int32)
        variables.append(of_variable.assign(s_low=np.nan, s_high=np.nan, rank=rank, **label))
        of_hour = pd.DataFrame({"hour": np.arange(measures.gmp.shape[0])} | _sums(measures, 1, by_hour))
        hours.append(of_hour.assign(**label))
    return Susceptibility(*(pd.concat(parts, ignore_index=True) for parts in (cells, variables, hours)))


def attack_summary(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Per direction: attacked stays, stays with at least one flip by each flag, and medians over selected attacks.

    A stay attacked with several seeds counts once a seed.
    """
    rows = []
    for direction in DIRECTIONS:
        part = outcomes[outcomes["direction"] == direction]
        by_stay = part.groupby(["seed", "stay_id"], sort=False)
        flags = by_stay[["flipped", "flipped_float64", "feasible", "selected"]].any()
        failed = by_stay[["still_falling", "gradient_vanished", "stuck_at_bounds"]].any()[~flags["selected"]]
        best = part[part["selected"]]
        share = best["n_changed_observed"] / best["n_changed"].where(best["n_changed"] > 0)
        rows.append(
            {"direction": direction, "n_attacked": by_stay.ngroups}
            | {f"n_{flag}": int(count) for flag, count in flags.sum().items()}
            | {
                "n_failed": len(failed),
                "n_still_falling": int(failed["still_falling"].sum()),
                "n_vanished": int(failed["gradient_vanished"].sum()),
                "n_stuck": int(failed["stuck_at_bounds"].sum()),
            }
            | _row_counts(part)
            | {f"median_{name}": best[name].median() for name in ("lambda", "l1", "linf", "n_changed", "n_edited")}
            | {"median_share_observed": share.median()}
        )
    return pd.DataFrame(rows)


def _row_counts(outcomes: pd.DataFrame) -> dict[str, int]:
    """What of the rows' flips is lost on the way to a feasible change, and what pruning did."""
    flipped, exact = outcomes["flipped"], outcomes["flipped_float64"]
    return {
        "rows": len(outcomes),
        "rows_flipped": int(flipped.sum()),
        "rows_lost_float64": int((flipped & ~exact).sum()),
        "rows_lost_feasible": int((exact & ~outcomes["feasible"]).sum()),
        "rows_pruned": int(outcomes["pruned"].sum()),
        "rows_audited": int(outcomes["audited"].sum()),
        "rows_audited_flipped": int((outcomes["audited"] & flipped).sum()),
    }


def success_curves(outcomes: pd.DataFrame, n_cells: int) -> pd.DataFrame:
    """Share of attacked stays with a success within a budget, per direction.

    Budgets: `linf`, the largest allowed change of a cell (scaled units); `share`, the largest allowed share of the
    `n_cells` cells. Each grid runs from 0 to the largest value that any stay needs.
    """
    success = successes(outcomes)
    needed = outcomes.assign(
        linf=outcomes["linf"].where(success, np.inf),
        share=(outcomes["n_changed"] / n_cells).where(success, np.inf),
    )
    parts = []
    for direction in DIRECTIONS:
        of_direction = needed[needed["direction"] == direction]
        per_stay = of_direction.groupby(["seed", "stay_id"])[["linf", "share"]].min()
        for budget in ("linf", "share"):
            values = np.sort(per_stay[budget].to_numpy(dtype=np.float64))
            finite = values[np.isfinite(values)]
            allowed = np.linspace(0.0, finite.max() if finite.size else 1.0, _CURVE_POINTS)
            rate = np.searchsorted(values, allowed, side="right") / max(1, values.size)
            parts.append(
                pd.DataFrame(
                    {"direction": direction, "budget": budget, "allowed": allowed, "success_rate": rate}
                ).assign(n_attacked=values.size)
            )
    return pd.concat(parts, ignore_index=True)


def analyse_attacks(
    outcomes: Sequence[str],
    perturbations: Sequence[str],
    features: str,
    stays: str,
    *,
    model: str,
    mode: str,
    variable_names: Sequence[str],
    window_hours: int,
    resamples: int,
    out: Mapping[str, str],
) -> None:
    """Write the susceptibility tables of one model and mode to `out` (cells, variables, hours, curves, summary).

    outcomes, perturbations: the merged tables of all seeds and folds. Raises UserError when a table is missing.
    """
    rows = pd.concat(map(read_frame, outcomes), ignore_index=True)
    changes = pd.concat(map(read_frame, perturbations), ignore_index=True)
    tensor = load_tensor(Path(features), variable_names, window_hours)
    people = read_frame(stays, ["stay_id", "subject_id"]).sort_values("stay_id")
    observed, subject_ids = ~np.isnan(tensor.values), people["subject_id"].to_numpy()
    stacks = {
        direction: stack_selected(rows, changes, direction, observed, tensor.stay_ids, subject_ids, variable_names)
        for direction in DIRECTIONS
    }
    tables = susceptibility_tables(stacks, model=model, mode=mode, variable_names=variable_names, resamples=resamples)
    write_frame(tables.cells, out["cells"], CELLS)
    write_frame(tables.variables, out["variables"], VARIABLES)
    write_frame(tables.hours, out["hours"], HOURS)
    run = {"model": model, "mode": mode}
    write_frame(success_curves(rows, observed[0].size).assign(**run), out["curves"], ATTACK_CURVES)
    write_frame(attack_summary(rows).assign(**run), out["summary"], ATTACK_SUMMARY)


def _cell_table(measures: Measures, variable_names: Sequence[str]) -> pd.DataFrame:
    n_hours, n_features = measures.gmp.shape
    columns: dict[str, npt.NDArray[Any]] = {
        "hour": np.repeat(np.arange(n_hours), n_features),
        "variable": np.tile(np.asarray(variable_names), n_hours),
    }
    for name in ("gmp", "gap", "gpp", "s", "q95", "s_q95", "n_observed", "gpp_observed"):
        columns[name] = getattr(measures, name).ravel()
    return pd.DataFrame(columns)


def _sums(measures: Measures, axis: int, interval: tuple[_Floats, _Floats]) -> dict[str, _Floats]:
    low, high = interval
    return {
        "s": measures.s.sum(axis=axis),
        "s_q95": measures.s_q95.sum(axis=axis),
        "s_q95_low": low,
        "s_q95_high": high,
    }


def _robust_intervals(
    stack: PerturbationStack, resamples: int
) -> tuple[tuple[_Floats, _Floats], tuple[_Floats, _Floats]]:
    """95 % intervals over patients of S_q95 by hour and by variable."""
    n_hours, n_features = stack.magnitude.shape[1:]
    if len(stack.magnitude) < MINIMUM_STAYS:
        none = np.full(n_hours, np.nan), np.full(n_features, np.nan)
        return (none[0], none[0]), (none[1], none[1])
    hours = np.empty((resamples, n_hours))
    features = np.empty((resamples, n_features))
    for index, cells in enumerate(_resampled_s_q95(stack, resamples)):
        hours[index], features[index] = cells.sum(axis=1), cells.sum(axis=0)
    return percentile_interval(hours), percentile_interval(features)


def _resampled_s_q95(stack: PerturbationStack, resamples: int) -> Iterator[_Floats]:
    for weight in patient_weights(stack.subject_ids, resamples, _SEED):
        drawn = np.repeat(np.arange(len(weight)), weight)
        magnitude = stack.magnitude[drawn]
        yield _q95(magnitude) * (magnitude > 0).mean(axis=0)


def _q95(magnitude: npt.NDArray[np.float32]) -> _Floats:
    return np.quantile(magnitude, 0.95, axis=0).astype(np.float64)
