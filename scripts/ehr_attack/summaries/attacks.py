"""Tables of what the attacks achieved, of susceptibility, and of how it compares with the paper."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ehr_attack.attacks import is_baseline
from ehr_attack.storage import read_frame, write_csv
from ehr_attack.summaries.claims import claims_table, ranks_table
from ehr_attack.suppression import blank_small, count_text, part_text, rate
from ehr_attack.variables import Variable, load_variables

COUNTS = (
    "n_attacked",
    "n_flipped",
    "n_flipped_float64",
    "n_feasible",
    "n_selected",
    "n_failed",
    "n_still_falling",
    "n_vanished",
    "n_stuck",
    "rows",
    "rows_flipped",
    "rows_lost_float64",
    "rows_lost_feasible",
    "rows_pruned",
    "rows_audited",
    "rows_audited_flipped",
)
_ESTIMATES = ["s", "s_q95", "s_q95_low", "s_q95_high"]
_MEDIANS = ["median_lambda", "median_l1", "median_linf", "median_n_changed", "median_n_edited", "median_share_observed"]


def write_attack_tables(
    *,
    summaries: Sequence[str | Path],
    variables: Sequence[str | Path],
    hours: Sequence[str | Path],
    profile: str,
    kind: str = "mimic3",
    out_dir: str | Path,
) -> None:
    """Write `attack_summary.csv`, `rank_comparison.csv` and `paper_claims.csv` into `out_dir`.

    summaries, variables, hours: the ATTACK_SUMMARY, VARIABLES and HOURS tables of every model and mode;
    profile, kind: the variable profile and the kind of source. Raises UserError for an unreadable file or an unknown
    profile.
    """
    summary, by_variable, by_hour = (
        pd.concat([read_frame(path) for path in paths], ignore_index=True) for paths in (summaries, variables, hours)
    )
    mapped = summary[~summary["mode"].map(is_baseline)]
    claims = claims_table(mapped, by_variable, by_hour, load_variables(profile, kind), profile)
    write_csv(summary_table(summary), Path(out_dir) / "attack_summary.csv")
    write_csv(ranks_table(by_variable, profile), Path(out_dir) / "rank_comparison.csv")
    write_csv(claims, Path(out_dir) / "paper_claims.csv")


def write_susceptibility_tables(
    *,
    model: str,
    mode: str,
    cells: str | Path,
    variables: str | Path,
    hours: str | Path,
    profile: str,
    kind: str = "mimic3",
    out_dir: str | Path,
) -> None:
    """Write the tables named by `names.susceptibility_tables(model, mode)` into `out_dir`.

    cells, variables, hours: the CELLS, VARIABLES and HOURS tables of the attack. Raises UserError for an
    unreadable file or an unknown profile.
    """
    known = load_variables(profile, kind)
    tables = {
        "variables": variables_table(read_frame(variables), known),
        "hours": hours_table(read_frame(hours)),
        "cells": cells_table(read_frame(cells)),
    }
    for level, table in tables.items():
        write_csv(table, Path(out_dir) / f"susceptibility_{level}_{model}_{mode}.csv")


def summary_table(summary: pd.DataFrame) -> pd.DataFrame:
    """One row a model, mode and direction: counts (text), success_percent, medians.

    summary: ATTACK_SUMMARY rows. A stay succeeds when one of its attacks was selected. Medians over fewer
    than ten stays are null. How many attacks failed tells of the attack, not of the patients, so only counts
    are hidden here, not what they leave over.
    """
    success = [rate(int(n), int(of)) for n, of in zip(summary["n_selected"], summary["n_attacked"], strict=True)]
    counts = pd.DataFrame({name: summary[name].map(count_text) for name in COUNTS}).assign(success_percent=success)
    medians = blank_small(summary, "n_selected", _MEDIANS)[_MEDIANS]
    return pd.concat([summary[["model", "mode", "direction"]], counts, medians], axis=1)


def variables_table(table: pd.DataFrame, variables: Sequence[Variable]) -> pd.DataFrame:
    """VARIABLES rows for people, largest S_q95 first, with label, group, unit and both ranks (ties: min)."""
    known = pd.DataFrame([{"variable": v.name, "label": v.label, "group": v.group, "unit": v.unit} for v in variables])
    rows = blank_small(table, "n_stays", _ESTIMATES).merge(known, on="variable", how="left")
    for measure in ("s", "s_q95"):
        rank = rows.groupby(["model", "mode", "direction"])[measure].rank(ascending=False, method="min")
        rows[f"rank_{measure}"] = rank.astype("Int64")
    rows["n_stays"] = rows["n_stays"].map(count_text)
    columns = ["model", "mode", "direction", "variable", "label", "group", "unit", "n_stays", *_ESTIMATES]
    return rows.sort_values(
        ["model", "mode", "direction", "s_q95", "s", "variable"],
        ascending=[True, True, True, False, False, True],
    )[[*columns, "rank_s_q95", "rank_s"]]


def hours_table(table: pd.DataFrame) -> pd.DataFrame:
    """HOURS rows for people, in the order of the hours."""
    rows = blank_small(table, "n_stays", _ESTIMATES).sort_values(["model", "mode", "direction", "hour"])
    rows["n_stays"] = rows["n_stays"].map(count_text)
    return rows[["model", "mode", "direction", "hour", "n_stays", *_ESTIMATES]]


def cells_table(table: pd.DataFrame) -> pd.DataFrame:
    """CELLS rows for people; counts as text."""
    measures = ["gmp", "gap", "gpp", "s", "q95", "s_q95", "gpp_observed"]
    rows = blank_small(table, "n_stays", measures)
    observed = zip(table["n_observed"], table["n_stays"], strict=True)
    rows["n_observed"] = [part_text(int(n), int(total)) for n, total in observed]
    rows["n_stays"] = rows["n_stays"].map(count_text)
    columns = ["model", "mode", "direction", "hour", "variable", "n_stays", *measures[:-1]]
    return rows[[*columns, "n_observed", "gpp_observed"]]
