"""Tables of where records are susceptible: by variable, hour and cell, and of size against sparsity of the changes."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ehr_attack.schemas.susceptibility import ALL_CELLS, BASES, POLICIES, SELECTED
from ehr_attack.storage import read_frame, write_csv
from ehr_attack.suppression import (
    MINIMUM,
    blank_small,
    changed_by_few,
    count_text,
    enough,
    part_text,
    partition_texts,
    summed_over_few,
)
from ehr_attack.variables import Variable, load_variables

_KEYS = ["model", "mode", "direction", "policy", "basis"]
_COUNTS = ["n_stays", "n_patients"]
_MEASURES = ("gmp", "gap", "gpp", "q95", "s", "s_q95")
_SIZES = [f"{name}_{part}" for name in ("mp", "ap", "pp") for part in ("q25", "median", "q75")]


def write_susceptibility_tables(
    *,
    model: str,
    mode: str,
    cells: str | Path,
    variables: str | Path,
    hours: str | Path,
    tradeoff: str | Path,
    profile: str,
    kind: str = "mimic3",
    out_dir: str | Path,
) -> None:
    """Write the tables named by `names.susceptibility_tables(model, mode)` into `out_dir`.

    cells, variables, hours, tradeoff: the CELLS, VARIABLES, HOURS and TRADEOFF tables of the attack. Raises UserError
    for an unreadable file or an unknown profile.
    """
    known, by_cell = load_variables(profile, kind), read_frame(cells)
    tables = {
        "variables": variables_table(read_frame(variables), by_cell, known),
        "hours": hours_table(read_frame(hours), by_cell),
        "cells": cells_table(by_cell),
        "tradeoff": tradeoff_table(read_frame(tradeoff)),
    }
    for level, table in tables.items():
        write_csv(table, Path(out_dir) / f"susceptibility_{level}_{model}_{mode}.csv")


def variables_table(table: pd.DataFrame, cells: pd.DataFrame, variables: Sequence[Variable]) -> pd.DataFrame:
    """VARIABLES rows for people, with label, group and unit; of each policy and basis the largest S_q95 first.

    `n_cells`: measured cells that a sum is over, without which sums over recorded values cannot be compared. cells: the
    CELLS rows that are summed; a sum over cells of which ten patients changed none is withheld.

    `rank`, `rank_low`, `rank_high`: of the table, by S_q95 per measured cell, with the interval; `rank_s`: by the sum
    with the maximum (ties: the smallest). No rank by a measure that is 0.
    """
    ranks = ["rank", "rank_low", "rank_high"]
    estimates = _with_interval("s", "s_q95")
    known = pd.DataFrame([{"variable": v.name, "label": v.label, "group": v.group, "unit": v.unit} for v in variables])
    shown = enough(table) & ~summed_over_few(table, cells, "variable")
    rows = blank_small(_ordered(table), [*estimates, *ranks], shown).merge(known, on="variable", how="left")
    rows["rank_s"] = rows.groupby(_KEYS, observed=True)["s"].rank(ascending=False, method="min").where(rows["s"] > 0)
    rows = rows.astype(dict.fromkeys([*ranks, "rank_s"], "Int64"))
    rows = rows.sort_values(
        [*_KEYS, "s_q95", "s", "variable"], ascending=[True] * len(_KEYS) + [False, False, True], kind="stable"
    )
    return _with_counts_as_text(rows)[
        [*_KEYS, "variable", "label", "group", "unit", *_COUNTS, "n_cells", *estimates, *ranks, "rank_s"]
    ]


def hours_table(table: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """HOURS rows for people, in the order of the hours; cells: the CELLS rows that are summed, as for variables."""
    estimates = _with_interval("s", "s_q95")
    shown = enough(table) & ~summed_over_few(table, cells, "hour")
    rows = blank_small(_ordered(table), estimates, shown).sort_values([*_KEYS, "hour"], kind="stable")
    return _with_counts_as_text(rows)[[*_KEYS, "hour", *_COUNTS, "n_cells", *estimates]]


def cells_table(table: pd.DataFrame) -> pd.DataFrame:
    """CELLS rows of the selected attacks for people, over all and over observed cells, counts as text.

    A cell that 1 to 9 patients changed has no measures, only that (`n_changed_patients` `<10`). The other policies are
    left out, and the intervals of the measures that S is made of: a page carries tables of up to a megabyte.
    """
    estimates = [*_MEASURES[:-2], *_with_interval("s", "s_q95")]
    rows = _ordered(table[table["policy"] == SELECTED])
    rows = blank_small(rows, estimates, enough(rows) & ~changed_by_few(rows))
    rows["n_changed_patients"] = rows["n_changed_patients"].map(count_text)
    return _with_counts_as_text(rows)[[*_KEYS, "hour", "variable", *_COUNTS, "n_changed_patients", *estimates]]


def tradeoff_table(table: pd.DataFrame) -> pd.DataFrame:
    """TRADEOFF rows for people: counts as text, no quartiles of fewer than ten stays or patients."""
    shown = (table["n_succeeded"] >= MINIMUM) & (table["n_patients"] >= MINIMUM)
    rows = blank_small(table, _SIZES, shown).sort_values(["model", "mode", "direction", "lambda"], kind="stable")
    chosen = rows.groupby(["model", "mode", "direction"], sort=False)["n_selected"]
    rows["n_selected"] = chosen.transform(lambda counts: partition_texts([int(count) for count in counts]))
    for name in ("n_attacked", "n_succeeded", "n_patients"):
        rows[name] = rows[name].map(lambda count: count_text(int(count)))
    counts = ["n_attacked", "n_succeeded", "n_patients", "n_selected"]
    return rows[["model", "mode", "direction", "lambda", *counts, *_SIZES]]


def _ordered(table: pd.DataFrame) -> pd.DataFrame:
    """The rows with policy and basis as ordered categories: the headline comes first when they are sorted."""
    return table.assign(
        policy=pd.Categorical(table["policy"], POLICIES, ordered=True),
        basis=pd.Categorical(table["basis"], BASES, ordered=True),
    )


def _with_counts_as_text(rows: pd.DataFrame) -> pd.DataFrame:
    """Counts as they may be printed: those over observed cells are parts of those over all cells."""
    groups = [name for name in _KEYS if name != "basis"]
    total = rows[rows["basis"] == ALL_CELLS].groupby(groups, observed=True)[_COUNTS].max()
    of = rows[groups].join(total, on=groups)
    texts = {
        name: [_part_text(int(count), whole) for count, whole in zip(rows[name], of[name], strict=True)]
        for name in _COUNTS
    }
    return rows.assign(**texts)


def _part_text(count: int, total: float) -> str:
    """A count of a total that is printed too; where that is small or not there, the count is one by itself."""
    return count_text(count) if pd.isna(total) or total < MINIMUM else part_text(count, int(total))


def _with_interval(*names: str) -> list[str]:
    return [f"{name}{end}" for name in names for end in ("", "_low", "_high")]
