"""Figures of one attack mode on one model: where records are susceptible, and at what budget it succeeds."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ehr_attack.directions import DIRECTIONS
from ehr_attack.figures import maps, names
from ehr_attack.figures.concentration import cumulative_figure
from ehr_attack.figures.ranks import ranks_figure
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
from ehr_attack.figures.tradeoff import tradeoff_figure
from ehr_attack.headline import headline
from ehr_attack.published import published_ranks
from ehr_attack.schemas.susceptibility import ALL_CELLS, HOUR_AXIS, OBSERVED_CELLS, VARIABLE_AXIS
from ehr_attack.storage import read_frame
from ehr_attack.suppression import MINIMUM, blank_small, enough, is_small, stays_behind, summed_over_few
from ehr_attack.variables import Variable, load_variables

_BUDGETS = {
    "linf": "Largest allowed change of a cell [scaled units]",
    "share": "Allowed share of changed cells [%]",
}
_MARK: dict[str, Any] = {"linestyle": "none", "markerfacecolor": "white", "color": INK, "markeredgewidth": 0.8}
_MAXIMUM = _MARK | {"marker": "D", "markersize": 3.2}
_OBSERVED = _MARK | {"marker": ">", "markersize": 3.6, "markerfacecolor": INK}
_BASIS_TITLES = {ALL_CELLS: "All cells", OBSERVED_CELLS: "Observed cells only"}


def plot_attack(
    *,
    model: str,
    mode: str,
    cells: str | Path,
    variables: str | Path,
    hours: str | Path,
    curves: str | Path,
    tradeoff: str | Path,
    null_hours: str | Path | None = None,
    profile: str,
    kind: str = "mimic3",
    published: bool,
    out_dir: str | Path,
    dpi: int,
    style: str,
) -> None:
    """Write the figures named by `names.attack_figures(model, mode)` as SVG and PNG into `out_dir`.

    cells, variables, hours, curves, tradeoff: the CELLS, VARIABLES, HOURS, ATTACK_CURVES and TRADEOFF tables of the
    attack; null_hours: the HOURS table of the same attack on the model's null, or None; profile, kind: the variable
    profile and the kind of source, for labels and units; published: print the ranks of Sun 2018 beside the bars. A
    direction with fewer than ten successfully attacked stays or patients is replaced by a sentence. Raises UserError
    for an unknown style or profile or an unreadable table.
    """
    known = load_variables(profile, kind)
    table = read_frame(cells)
    by_variable = _without_few(read_frame(variables), table, VARIABLE_AXIS)
    by_hour = _without_few(read_frame(hours), table, HOUR_AXIS)
    null = None if null_hours is None else read_frame(null_hours)
    with use_style(style):
        figures = (
            *_map_figures(headline(table), known),
            (variables_figure(by_variable, known, profile if published else None), "Susceptibility of variables"),
            (hours_figure(by_hour, null), "Susceptibility over hours"),
            (success_figure(read_frame(curves)), "Success against budget"),
            (tradeoff_figure(read_frame(tradeoff)), "Size against sparsity of the changes"),
            (cumulative_figure(table), "Concentration of susceptibility"),
            (ranks_figure(headline(by_variable), known, profile), "Ranks of variables here and in the paper"),
        )
        for stem, (figure, title) in zip(names.attack_figures(model, mode), figures, strict=True):
            save_figure(figure, Path(out_dir), stem, dpi=dpi, title=f"{title}, model {model}, attack {mode}")


def _map_figures(cells: pd.DataFrame, variables: Sequence[Variable]) -> Iterator[tuple[Figure, str]]:
    """The maps of both kinds, once a direction, with their titles."""
    for draw, title in (
        (maps.susceptibility_figure, "Susceptibility by hour and variable"),
        (maps.measures_figure, "Measures by hour and variable"),
    ):
        for direction in DIRECTIONS:
            yield draw(cells, direction, variables), f"{title}, {direction}"


def _without_few(sums: pd.DataFrame, cells: pd.DataFrame, axis: str) -> pd.DataFrame:
    """VARIABLES or HOURS rows without sums over cells of which ten patients changed none."""
    columns = [name for name in map(str, sums) if name.startswith(("s", "rank"))]
    return blank_small(sums, columns, ~summed_over_few(sums, cells, axis))


def variables_figure(table: pd.DataFrame, variables: Sequence[Variable], ranks_profile: str | None) -> Figure:
    """Bars of S_q95 a variable, largest first, with 95 % intervals.

    Diamonds show S (of the maximum), triangles S_q95 over observed cells only. table: VARIABLES rows of all bases; the
    selected attacks count. ranks_profile: the variable profile under which to print the ranks of Sun 2018 at
    the right (shared analytes only, re-ranked), or None for none.
    """
    figure = new_figure(4.1 + extra_height(variables))
    panels = figure.subplots(1, 2)
    drawn = [
        _variable_bars(axes, table[table["direction"] == direction], direction, variables, ranks_profile)
        for axes, direction in zip(panels, DIRECTIONS, strict=True)
    ]
    if any(drawn):
        used = {variable.group for variable in variables}
        groups = [
            Patch(color=GROUP_COLOURS[group], label=label) for group, label in GROUP_LABELS.items() if group in used
        ]
        marks = [
            panels[0].plot([], [], label=label, **look)[0]
            for label, look in (("S, with the maximum", _MAXIMUM), ("observed cells only", _OBSERVED))
        ]
        figure.legend(handles=[*groups, *marks], loc="outside lower center", ncols=4)
    return figure


def _variable_bars(
    axes: Axes, rows: pd.DataFrame, direction: str, variables: Sequence[Variable], ranks_profile: str | None
) -> bool:
    axes.set_title(DIRECTION_LABELS[direction])
    recorded = headline(rows, basis=OBSERVED_CELLS)
    observed = recorded[enough(recorded)].set_index("variable")["s_q95"]
    rows = headline(rows)
    if not enough(rows).any():
        say(axes, why_hidden(stays_behind(rows)))
        return False
    known = {variable.name: variable for variable in variables}
    rows = rows[rows["variable"].isin(known)].sort_values(["s_q95", "s", "variable"], ascending=[False, False, True])
    place = np.arange(len(rows))
    colours = [GROUP_COLOURS[known[name].group] for name in rows["variable"]]
    axes.barh(place, rows["s_q95"], color=colours, height=0.72)
    error = np.vstack([rows["s_q95"] - rows["s_q95_low"], rows["s_q95_high"] - rows["s_q95"]])
    axes.errorbar(rows["s_q95"], place, xerr=error.clip(min=0), fmt="none", ecolor=INK, elinewidth=0.9, capsize=1.6)
    axes.plot(rows["s"], place, **_MAXIMUM)
    axes.plot(observed.reindex(rows["variable"]), place, **_OBSERVED)
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


def hours_figure(table: pd.DataFrame, null: pd.DataFrame | None = None) -> Figure:
    """Susceptibility S_q95 of each hour with its 95 % interval, both directions: all cells, and observed cells only.

    table: HOURS rows of all bases; the selected attacks count. null: those of the same attack on the model's null,
    whose hours are exchangeable, drawn as thin grey lines.
    """
    figure = new_figure(2.9)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (basis, title) in zip(panels, _BASIS_TITLES.items(), strict=True):
        for direction in DIRECTIONS:
            _hour_profile(axes, headline(table[table["direction"] == direction], basis=basis), direction)
            if null is not None:
                _null_profile(axes, headline(null[null["direction"] == direction], basis=basis), direction)
        axes.set(title=title, xlabel="Hour since ICU admission")
        axes.set_ylim(bottom=0)
        maps.hour_ticks(axes, table["hour"])
        axes.grid(axis="y")
    panels[0].set_ylabel("Susceptibility $S_i$ [scaled units]")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _hour_profile(axes: Axes, rows: pd.DataFrame, direction: str) -> None:
    colour, label, dashes = DIRECTION_COLOURS[direction], DIRECTION_LABELS[direction], DIRECTION_LINES[direction]
    n_stays = stays_behind(rows)
    if not enough(rows).any():
        label = f"{label}: {'none flipped' if n_stays == 0 else 'fewer than 10 stays or patients'}"
        axes.plot([], [], color=colour, linestyle=dashes, label=label)
        return
    rows = rows.sort_values("hour")
    rows = blank_small(rows, ["s_q95", "s_q95_low", "s_q95_high"])
    axes.plot(rows["hour"], rows["s_q95"], color=colour, linestyle=dashes, label=f"{label} (n = {n_stays:,})")
    axes.fill_between(rows["hour"], rows["s_q95_low"], rows["s_q95_high"], color=colour, alpha=0.2, linewidth=0)


def _null_profile(axes: Axes, rows: pd.DataFrame, direction: str) -> None:
    if enough(rows).any():
        rows = blank_small(rows.sort_values("hour"), ["s_q95"])
        label = f"{DIRECTION_LABELS[direction]}: hours exchangeable"
        axes.plot(
            rows["hour"], rows["s_q95"], color=MUTED, linestyle=DIRECTION_LINES[direction], linewidth=0.8, label=label
        )


def success_figure(table: pd.DataFrame) -> Figure:
    """Share of attacked stays flipped within a budget: largest change of a cell, and share of changed cells.

    table: ATTACK_CURVES rows. A curve starts where it stands for ten flipped stays; one that never does is not drawn,
    unless it is zero.
    """
    figure = new_figure(2.7)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (budget, label) in zip(panels, _BUDGETS.items(), strict=True):
        for direction in DIRECTIONS:
            rows = table[(table["budget"] == budget) & (table["direction"] == direction)].sort_values("allowed")
            _success_curve(axes, rows, direction, unit=100.0 if budget == "share" else 1.0)
        axes.set(xlabel=label, ylim=(-2, 102))
        axes.set_xlim(left=0)
        axes.grid()
    panels[0].set_ylabel("Flipped stays [% of attacked]")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _success_curve(axes: Axes, rows: pd.DataFrame, direction: str, unit: float) -> None:
    text, attacked = DIRECTION_LABELS[direction], int(rows["n_attacked"].max()) if len(rows) else 0
    look: dict[str, Any] = {"color": DIRECTION_COLOURS[direction], "linestyle": DIRECTION_LINES[direction]}
    flipped = (rows["success_rate"] * rows["n_attacked"]).round()
    if attacked < MINIMUM or is_small(flipped.max()):
        what = "attacked" if attacked < MINIMUM else f"of {attacked:,} flipped"
        axes.plot([], [], label=f"{text}: fewer than 10 {what}", **look)
        return
    shown = rows[flipped >= MINIMUM] if flipped.any() else rows
    label = f"{text} (n = {attacked:,} attacked)"
    axes.step(shown["allowed"] * unit, 100 * shown["success_rate"], where="post", label=label, **look)
