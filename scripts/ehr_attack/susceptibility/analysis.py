"""All susceptibility tables of one model and mode, from the attacks of all its seeds and folds."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from ehr_attack.attacks import is_baseline
from ehr_attack.directions import DIRECTIONS
from ehr_attack.resampling import ModelDraws
from ehr_attack.schemas.summaries import ATTACK_CURVES, ATTACK_SUMMARY
from ehr_attack.schemas.susceptibility import (
    CELLS,
    HOUR_AXIS,
    HOURS,
    POLICIES,
    REPLICATES,
    SELECTED,
    SUMS_BY_MODEL,
    TRADEOFF,
    VARIABLE_AXIS,
    VARIABLES,
)
from ehr_attack.storage import read_frame, write_frame
from ehr_attack.susceptibility.design import Design, Weights, model_columns
from ehr_attack.susceptibility.measuring import measure_direction
from ehr_attack.susceptibility.recorded import load_recorded
from ehr_attack.susceptibility.rows import Attacks, arrange, read_outcomes
from ehr_attack.susceptibility.spooling import SpooledChanges, spool_changes
from ehr_attack.susceptibility.success import attack_summary, success_curves, tradeoff
from ehr_attack.susceptibility.tables import MeasuredDirection, cell_table, model_table, replicate_tables, sum_table

_SEED, _SEED_OF_SMALLER = 20180819, 20180820
_SCHEMAS = {
    "cells": CELLS,
    "variables": VARIABLES,
    "hours": HOURS,
    "by_model": SUMS_BY_MODEL,
    "replicates": REPLICATES,
}


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
    """Write the susceptibility tables of one model and mode, each to its path in `out`.

    These are cells, variables, hours, by_model, replicates, tradeoff, curves and summary; see schemas.

    outcomes, perturbations: the merged tables of all seeds and folds. Perturbations are streamed, through temporary
    files beside the tables. Raises UserError when a table is missing, or of another run. Of a baseline, which is shown
    by its success alone, only selected attacks are measured, without intervals.
    """
    run = {"model": model, "mode": mode}
    people = read_frame(stays, ["stay_id", "subject_id"]).sort_values("stay_id")
    rows = read_outcomes(outcomes, mode)
    n_cells = window_hours * len(variable_names)
    subjects = people.set_index("stay_id")["subject_id"]
    for name, table, schema in (
        ("curves", success_curves(rows, n_cells), ATTACK_CURVES),
        ("summary", attack_summary(rows), ATTACK_SUMMARY),
        ("tradeoff", tradeoff(rows, subjects, n_cells), TRADEOFF),
    ):
        write_frame(table.assign(**run), out[name], schema)
    baseline = is_baseline(mode)
    stay_ids, subject_ids = people["stay_id"].to_numpy(), people["subject_id"].to_numpy()
    attacks = arrange(rows, stay_ids, subject_ids, (SELECTED,) if baseline else POLICIES)
    del rows
    recorded = load_recorded(features, stay_ids, variable_names, window_hours)
    with spool_changes(perturbations, attacks, variable_names, window_hours, Path(out["cells"]).parent) as spooled:
        tables = measure(attacks, spooled, recorded, variable_names, 0 if baseline else resamples, run)
    for name, table in tables.items():
        write_frame(table, out[name], _SCHEMAS[name])


def measure(
    attacks: Attacks,
    spooled: SpooledChanges,
    recorded: npt.NDArray[np.bool_],
    variable_names: Sequence[str],
    resamples: int,
    run: Mapping[str, str],
) -> dict[str, pd.DataFrame]:
    """The tables of cells, variables, hours, single models and replicates, both directions; see schemas.

    recorded: bool (stays of the cohort, hours, variables). resamples: draws of every interval, 0 for none.
    """
    codes = attacks.codes
    columns = model_columns(len(codes.seeds), len(codes.folds))
    draws = (
        ModelDraws.drawn(attacks.patient, attacks.seed, attacks.fold, resamples, _SEED)
        if resamples and len(attacks.code)
        else None
    )
    parts: dict[str, list[pd.DataFrame]] = {name: [] for name in _SCHEMAS}
    for direction, name in enumerate(DIRECTIONS):
        design = Design.of(attacks, direction)
        weights = Weights.of(design, columns, draws, _SEED_OF_SMALLER)
        measures = measure_direction(attacks, design, weights, spooled, recorded, direction)
        of = MeasuredDirection({**run, "direction": name}, design, weights, columns, measures, variable_names)
        parts["cells"].append(cell_table(of))
        parts["variables"].append(sum_table(of, recorded, VARIABLE_AXIS))
        parts["hours"].append(sum_table(of, recorded, HOUR_AXIS))
        parts["by_model"].append(model_table(of, recorded, codes.seeds, codes.folds))
        parts["replicates"] += replicate_tables(of)
    return {
        name: pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=_SCHEMAS[name].names)
        for name, tables in parts.items()
    }
