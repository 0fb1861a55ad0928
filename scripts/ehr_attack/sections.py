"""The parts of the report as plain values for its templates: cohort, attacks, claims, patients."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ehr_attack import findings
from ehr_attack.attacks import is_baseline
from ehr_attack.directions import DIRECTIONS
from ehr_attack.figures import names
from ehr_attack.headline import headline
from ehr_attack.interactive import live_map
from ehr_attack.page import Image, embed_figure
from ehr_attack.protocol import DIFFERS, NOT_TOLD, SAME
from ehr_attack.schemas.susceptibility import OBSERVED_CELLS, POLICIES
from ehr_attack.summaries import claims

Tables = Mapping[str, pd.DataFrame]

_ATTACK_CAPTIONS = {
    "variables": "Susceptibility of every variable: S with the 95th percentile and its 95% interval over patients "
    "(bars), S with the maximum (diamonds), and over observed cells only (triangles). No bar: 0, or "
    "withheld. Grey: ranks in the paper.",
    "hours": "Susceptibility of every hour over all cells (left) and over observed cells only (right); bands are 95% "
    "intervals over patients.",
    "cumulative": "How far susceptibility gathers: its cumulative share over the cells, largest first (left), and over "
    "the hours (right).",
    "ranks": "Rank of every variable here with its 95% interval over patients, and where it ranks in the paper. "
    "No rank: S with the 95th percentile is 0, or withheld.",
    "tradeoff": "What λ trades: the largest change against the share of changed cells, medians and quartiles of the "
    "attacks that succeeded at each λ. Rings: where the selected attacks lie.",
    "success": "Share of attacked stays that are flipped within a budget: the largest change of any cell "
    "(left) and the share of changed cells (right). A curve starts where ten stays are flipped.",
}


CHECK_LABELS = (
    ("Rows", "rows"),
    ("Rows flipped", "rows_flipped"),
    ("of these not in float64", "rows_lost_float64"),
    ("in float64, but not by a feasible change", "rows_lost_feasible"),
    ("Rows pruned", "rows_pruned"),
    ("Rows audited that pruning would leave out", "rows_audited"),
    ("of these flipped", "rows_audited_flipped"),
    ("Stays without success", "n_failed"),
    ("of these still falling", "n_still_falling"),
    ("gradient vanished", "n_vanished"),
    ("held by bounds", "n_stuck"),
)
"""The checks of an attack and their columns in `attack_summary.csv`."""


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame as dicts; NaN stays NaN."""
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def cohort_number(cohort: pd.DataFrame, characteristic: str) -> dict[str, Any]:
    """`count` (text) and `percent` of one line of `cohort.csv`."""
    return records(cohort[cohort["characteristic"] == characteristic])[0]


def flow_figure(figures: Path, flow: pd.DataFrame) -> Image:
    """The flow of the cohort; flow: `cohort_flow.csv`, whose first and last lines the alternative text tells."""
    (stem,) = names.COHORT_FIGURES
    first, last = flow["stays"].iloc[0], flow["stays"].iloc[-1]
    alt = f"Flow chart from {first} ICU stays in the source to {last} in the cohort; the table below has all numbers."
    return embed_figure(figures, stem, alt, "Cohort flow: who is left (left) and who was excluded, and why (right).")


def attack_section(
    tables: Tables, figures: Path, model: str, mode: str, *, live: bool, compact: bool
) -> dict[str, Any]:
    """One attack mode on one model: a part a direction, and the figures that both directions share.

    live: with maps that show values on hovering; compact: with smaller picture files.
    """
    summary = tables["attack_summary"]
    summary = summary[(summary["model"] == model) & (summary["mode"] == mode)]
    rows = {row["direction"]: row for _, row in summary.iterrows()}
    shared = {
        kind: embed_figure(
            figures, f"{kind}_{model}_{mode}", f"{caption} Attack {mode} on {model}.", caption, compact=compact
        )
        for kind, caption in _ATTACK_CAPTIONS.items()
    }
    return shared | {
        "model": model,
        "mode": mode,
        "anchor": f"{model}-{mode}",
        "summary": {
            direction: row.to_dict() | {"success": findings.success_text(row)} for direction, row in rows.items()
        },
        "directions": [_direction(tables, figures, row, live=live, compact=compact) for row in rows.values()],
    }


def _direction(tables: Tables, figures: Path, row: pd.Series, *, live: bool, compact: bool) -> dict[str, Any]:
    """One direction of one attack; `row` is its line of `attack_summary.csv`."""
    model, mode, direction = row["model"], row["mode"], row["direction"]
    variables, hours, cells, _ = (_of(tables[stem], row) for stem in names.susceptibility_tables(model, mode))
    first = headline(variables)
    n_cells = hours["hour"].nunique() * first["variable"].nunique()
    hidden = bool(pd.isna(row["median_n_changed"]))
    words, stem = findings.DIRECTION_WORDS[direction], f"{model}_{mode}_{direction}"
    map_caption = (
        f"Susceptibility (with the 95th percentile) by hour and variable, {words}; sums of hours above, of variables "
        "at the right (vital signs yellow, laboratory values blue). The colour scale is this map's own; cells that "
        "1 to 9 patients have changed are grey."
    )
    measures_caption = (
        f"What the map is made of, {words}: largest and mean change of a cell, share of stays in which it "
        "changes, and the S of the paper, GMP by GPP, with the maximum. Grey: cells changed in 1 to 9 patients."
    )
    measures_alt = f"Four heat maps by hour and variable: GMP, GAP, GPP and S, attack {mode}, {words}."
    return {
        "words": words,
        "findings": findings.attack_findings(row, first, _of(tables["paper_claims"], row), n_cells),
        "variables": _variable_rows(variables),
        "hidden": hidden,
        "map": embed_figure(
            figures,
            f"susceptibility_{stem}",
            findings.map_alt(direction, mode, headline(cells)),
            map_caption,
            compact=compact,
        ),
        "live": None if hidden or not live else live_map(f"map-{stem}", cells, tables["missingness"]),
        "measures": embed_figure(figures, f"measures_{stem}", measures_alt, measures_caption, compact=compact),
    }


def _variable_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A row a variable of `susceptibility_variables_*.csv` of one direction, our most susceptible first.

    The headline's columns, S over `observed` cells, and the `ranks` under each policy.
    """
    observed = {row["variable"]: row for row in records(headline(table, basis=OBSERVED_CELLS))}
    by_policy = {policy: headline(table, policy=policy).set_index("variable")["rank"] for policy in POLICIES}
    return [
        row
        | {
            "observed": observed.get(row["variable"], {}),
            "ranks": {policy: ranks.get(row["variable"]) for policy, ranks in by_policy.items()},
        }
        for row in records(headline(table))
    ]


def _of(table: pd.DataFrame, row: pd.Series) -> pd.DataFrame:
    """The lines of the model, mode and direction of `row`."""
    return table[(table[["model", "mode", "direction"]] == row[["model", "mode", "direction"]]).all(axis=1)]


def baseline_rows(summary: pd.DataFrame) -> list[dict[str, Any]]:
    """The lines of `attack_summary.csv` that are of baselines, with their success in words."""
    rows = summary[summary["mode"].map(is_baseline)]
    return [record | {"success": findings.success_text(pd.Series(record))} for record in records(rows)]


def claim_rows(table: pd.DataFrame) -> dict[int, list[dict[str, Any]]]:
    """`paper_claims.csv` by claim, a row a quantity and attack, with the values of both directions.

    The headline measure comes first, and the maximum only where the paper gives a value to compare with.
    """
    shown = table[(table["measure"] != "s") | table["published"].notna()]
    rows = _by_direction(shown, ["claim", "quantity", "measure", "model", "mode", "even"], ["value", "published"])
    rows.sort(key=lambda row: (row["measure"] != "s_q95", row["quantity"]))
    numbers = (claims.LATE_HOURS, claims.DIRECTION_GAP, claims.LABORATORY, claims.SMALL_CHANGES)
    return {number: [row for row in rows if row["claim"] == number] for number in numbers}


def rank_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """`rank_comparison.csv`, a row a study, attack and measure, with both directions."""
    return _by_direction(table, ["study", "model", "mode", "measure", "n_shared"], ["spearman", "kendall"])


def _by_direction(table: pd.DataFrame, keys: list[str], columns: list[str]) -> list[dict[str, Any]]:
    return [
        dict(zip(keys, key, strict=True))
        | {name: dict(zip(part["direction"], part[name], strict=True)) for name in columns}
        for key, part in table.groupby(keys, sort=False, dropna=False)
    ]


def protocol_rows(table: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """`paper_protocol.csv` by status: what differs from the paper, what it does not tell, what is the same."""
    return {status: records(table[table["status"] == status]) for status in (DIFFERS, NOT_TOLD, SAME)}


def patient_image(path: Path, *, compact: bool) -> Image:
    """A single-patient figure; its stem says which attack and direction it shows. compact: a smaller picture file."""
    direction = next((known for known in DIRECTIONS if path.stem.endswith(known)), "")
    model, _, mode = path.stem.removeprefix("patient_").removesuffix(f"_{direction}").partition("_")
    where = f"attack {mode} on {model}, {findings.DIRECTION_WORDS.get(direction, direction)}"
    caption = f"One stay, and the attack on it with the median number of changed cells: {where}."
    alt = f"Record of one stay by hour and variable with the cells that the attack changed, {where}."
    return embed_figure(path.parent, path.stem, alt, caption, compact=compact)
