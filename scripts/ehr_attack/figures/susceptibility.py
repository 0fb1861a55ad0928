"""Figures of one attack mode on one model: where records are susceptible, and at what budget it succeeds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ehr_attack.figures import maps, names
from ehr_attack.figures.saving import save_figure
from ehr_attack.figures.style import (
    DIRECTION_COLOURS,
    DIRECTION_LABELS,
    DIRECTION_LINES,
    GROUP_COLOURS,
    GROUP_LABELS,
    INK,
    MUTED,
    extra_height,
    new_figure,
    say,
    small_font,
    use_style,
    why_hidden,
)
from ehr_attack.published import published_ranks
from ehr_attack.storage import read_frame
from ehr_attack.suppression import MINIMUM
from ehr_attack.variables import Variable, load_variables

_BUDGETS = {
    "linf": "Largest allowed change of a cell [scaled units]",
    "share": "Allowed share of changed cells [%]",
}


def plot_attack(
    *,
    model: str,
    mode: str,
    cells: str | Path,
    variables: str | Path,
    hours: str | Path,
    curves: str | Path,
    profile: str,
    kind: str = "mimic3",
    published: bool,
    out_dir: str | Path,
    dpi: int,
    style: str,
) -> None:
    """Write the figures named by `names.attack_figures(model, mode)` as SVG and PNG into `out_dir`.

    cells, variables, hours, curves: the CELLS, VARIABLES, HOURS and ATTACK_CURVES tables of the attack;
    profile, kind: the variable profile and the kind of source, for labels and units; published: print the ranks
    of Sun 2018 beside the bars. A direction with fewer than ten successfully attacked stays is replaced by a
    sentence. Raises UserError for an unknown style or profile or an unreadable table.
    """
    known = load_variables(profile, kind)
    table, hourly = read_frame(cells), read_frame(hours)
    with use_style(style):
        figures = {
            f"{kind}_{model}_{mode}_{direction}": (draw(table, direction, known), f"{title}, {direction}")
            for kind, draw, title in (
                ("susceptibility", maps.susceptibility_figure, "Susceptibility by hour and variable"),
                ("measures", maps.measures_figure, "Measures by hour and variable"),
            )
            for direction in names.DIRECTIONS
        }
        bars = variables_figure(read_frame(variables), known, profile if published else None)
        figures[f"variables_{model}_{mode}"] = (bars, "Susceptibility of variables")
        figures[f"hours_{model}_{mode}"] = (hours_figure(hourly), "Susceptibility over hours")
        figures[f"success_{model}_{mode}"] = (success_figure(read_frame(curves)), "Success against budget")
        for stem in names.attack_figures(model, mode):
            figure, title = figures[stem]
            save_figure(figure, Path(out_dir), stem, dpi=dpi, title=f"{title}, model {model}, attack {mode}")


def variables_figure(table: pd.DataFrame, variables: Sequence[Variable], ranks_profile: str | None) -> Figure:
    """Bars of S_q95 a variable, largest first, with 95 % intervals; diamonds show S (of the maximum).

    table: VARIABLES rows. ranks_profile: the variable profile under which to print the ranks of Sun 2018 at
    the right (shared analytes only, re-ranked), or None for none.
    """
    figure = new_figure(4.1 + extra_height(variables))
    panels = figure.subplots(1, 2)
    drawn = [
        _variable_bars(axes, table[table["direction"] == direction], direction, variables, ranks_profile)
        for axes, direction in zip(panels, names.DIRECTIONS, strict=True)
    ]
    if any(drawn):
        used = {variable.group for variable in variables}
        groups = [
            Patch(color=GROUP_COLOURS[group], label=label) for group, label in GROUP_LABELS.items() if group in used
        ]
        diamond = panels[0].plot([], [], "D", markerfacecolor="white", color=INK, label="S, with the maximum")
        figure.legend(handles=[*groups, *diamond], loc="outside lower center", ncols=3)
    return figure


def _variable_bars(
    axes: Axes, rows: pd.DataFrame, direction: str, variables: Sequence[Variable], ranks_profile: str | None
) -> bool:
    axes.set_title(DIRECTION_LABELS[direction])
    n_stays = _n_stays(rows)
    if n_stays < MINIMUM:
        say(axes, why_hidden(n_stays))
        return False
    known = {variable.name: variable for variable in variables}
    rows = rows[rows["variable"].isin(known)].sort_values(["s_q95", "s", "variable"], ascending=[False, False, True])
    place = np.arange(len(rows))
    colours = [GROUP_COLOURS[known[name].group] for name in rows["variable"]]
    axes.barh(place, rows["s_q95"], color=colours, height=0.72)
    error = np.vstack([rows["s_q95"] - rows["s_q95_low"], rows["s_q95_high"] - rows["s_q95"]])
    axes.errorbar(rows["s_q95"], place, xerr=error.clip(min=0), fmt="none", ecolor=INK, elinewidth=0.9, capsize=1.6)
    axes.plot(rows["s"], place, "D", markerfacecolor="white", color=INK, markersize=3.2, markeredgewidth=0.8)
    axes.set_yticks(place, [known[name].label for name in rows["variable"]])
    axes.tick_params(axis="y", length=0)
    axes.set(xlabel="$S_j$, 95th percentile [scaled units]", ylim=(len(rows) - 0.4, -0.6))
    axes.set_xlim(left=0, right=None if rows["s"].gt(0).any() else 1)
    axes.grid(axis="x")
    if ranks_profile is not None:
        _write_ranks(axes, rows["variable"], published_ranks("sun2018", direction, ranks_profile))
    return True


def _write_ranks(axes: Axes, order: pd.Series, ranks: pd.Series) -> None:
    """The rank in the paper of each bar's variable, in a column at the right."""
    look: dict[str, Any] = {
        "fontsize": small_font(),
        "color": MUTED,
        "ha": "center",
        "annotation_clip": False,
    }
    for place, name in enumerate(order):
        text = f"{ranks[name]:g}" if name in ranks.index else "\N{EN DASH}"
        axes.annotate(text, (1.06, place), xycoords=("axes fraction", "data"), va="center", **look)
    axes.annotate("rank in\npaper", (1.06, 1.01), xycoords="axes fraction", va="bottom", **look)


def hours_figure(table: pd.DataFrame) -> Figure:
    """Susceptibility of each hour, both directions: S_q95 with its 95 % interval, and S of the maximum.

    table: HOURS rows.
    """
    figure = new_figure(2.7)
    robust, maximum = figure.subplots(1, 2)
    for direction in names.DIRECTIONS:
        rows = table[table["direction"] == direction].sort_values("hour")
        colour, label, dashes = (
            DIRECTION_COLOURS[direction],
            DIRECTION_LABELS[direction],
            DIRECTION_LINES[direction],
        )
        n_stays = _n_stays(rows)
        if n_stays < MINIMUM:
            label = f"{label}: {'none flipped' if n_stays == 0 else 'fewer than 10 stays'}"
            robust.plot([], [], color=colour, linestyle=dashes, label=label)
            continue
        robust.plot(rows["hour"], rows["s_q95"], color=colour, linestyle=dashes, label=f"{label} (n = {n_stays:,})")
        robust.fill_between(rows["hour"], rows["s_q95_low"], rows["s_q95_high"], color=colour, alpha=0.2, linewidth=0)
        maximum.plot(rows["hour"], rows["s"], color=colour, linestyle=dashes)
    for axes, title in ((robust, "With the 95th percentile"), (maximum, "With the maximum")):
        axes.set(title=title, xlabel="Hour since ICU admission", ylabel="Susceptibility $S_i$ [scaled units]")
        axes.set_ylim(bottom=0)
        maps.hour_ticks(axes, table["hour"])
        axes.grid(axis="y")
    figure.legend(*robust.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def success_figure(table: pd.DataFrame) -> Figure:
    """Share of attacked stays flipped within a budget: largest change of a cell, and share of changed cells.

    table: ATTACK_CURVES rows.
    """
    figure = new_figure(2.7)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (budget, label) in zip(panels, _BUDGETS.items(), strict=True):
        unit = 100.0 if budget == "share" else 1.0
        for direction in names.DIRECTIONS:
            rows = table[(table["budget"] == budget) & (table["direction"] == direction)].sort_values("allowed")
            attacked = int(rows["n_attacked"].max()) if len(rows) else 0
            text, colour, dashes = (
                DIRECTION_LABELS[direction],
                DIRECTION_COLOURS[direction],
                DIRECTION_LINES[direction],
            )
            if attacked < MINIMUM:
                axes.plot([], [], color=colour, linestyle=dashes, label=f"{text}: fewer than 10 attacked")
                continue
            axes.step(
                rows["allowed"] * unit,
                100 * rows["success_rate"],
                where="post",
                color=colour,
                linestyle=dashes,
                label=f"{text} (n = {attacked:,} attacked)",
            )
        axes.set(xlabel=label, ylim=(-2, 102))
        axes.set_xlim(left=0)
        axes.grid()
    panels[0].set_ylabel("Flipped stays [% of attacked]")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _n_stays(rows: pd.DataFrame) -> int:
    return int(rows["n_stays"].max()) if len(rows) else 0
