"""Maps of hour by variable: susceptibility with its sums, and the measures that it is made of."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch

from ehr_attack.figures.style import (
    DIRECTION_LABELS,
    GROUP_COLOURS,
    INK,
    MUTED,
    SEQUENTIAL,
    extra_height,
    label_with_unit,
    new_figure,
    say,
    small_font,
    why_hidden,
)
from ehr_attack.suppression import MINIMUM, changed_by_few, enough, stays_behind
from ehr_attack.variables import Variable

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
FEW, FEW_WORDS = "#b3b8c0", "changed by fewer than 10 patients: withheld"
_FEW_COLOURS = ListedColormap([FEW])
_BEHIND: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85}

_MEASURES = (
    ("gmp", "GMP: largest change [scaled units]", 1.0),
    ("gap", "GAP: mean change [scaled units]", 1.0),
    ("gpp", "GPP: stays in which the cell changes [%]", 100.0),
    ("s", r"$S$ with the maximum, GMP$\times$GPP [scaled units]", 1.0),
)
_HOUR_STEP = 6


def susceptibility_figure(cells: pd.DataFrame, direction: str, variables: Sequence[Variable]) -> Figure:
    """Heat map of S_q95 (95th percentile x GPP) over hour i and variable j, with S_i above and S_j at the right.

    cells: the headline's CELLS rows; a direction with fewer than ten successfully attacked stays or patients is
    replaced by a sentence. Grey: cells that fewer than ten patients changed. The sums hold these too; one over no
    other changed cell is left out.
    """
    figure = new_figure(3.9 + extra_height(variables))
    rows = cells[cells["direction"] == direction]
    n_stays = stays_behind(rows)
    if not enough(rows).any():
        return _worded(figure, f"Susceptibility, {DIRECTION_LABELS[direction]}", why_hidden(n_stays))
    grid, few = as_grid(rows, "s_q95", variables), few_grid(rows, variables)
    top = _top(np.where(few, np.nan, grid))
    axes = figure.subplot_mosaic(
        [["hours", "key"], ["map", "variables"]],
        width_ratios=[1, 0.17],
        height_ratios=[0.17, 1],
        empty_sentinel=None,
    )
    image = draw_map(axes["map"], grid, variables, SEQUENTIAL, top=top, few=few)
    axes["map"].set_xlabel("Hour since ICU admission")
    counts = as_grid(rows, "n_changed_patients", variables)
    _hour_sums(axes["hours"], _sums(grid, counts, axis=0))
    _variable_sums(axes["variables"], _sums(grid, counts, axis=1), variables)
    axes["key"].set_axis_off()
    key = axes["key"].inset_axes((0.08, 0.45, 0.92, 0.2))
    bar = figure.colorbar(image, cax=key, orientation="horizontal", ticks=[0, top], format="%.2g")
    bar.outline.set_visible(False)
    key.set_title("$S_{ij}$ [scaled units]", fontsize=small_font(), fontweight="normal", loc="left")
    key.tick_params(labelsize=small_font(0.8))
    _explain_few(figure, few)
    axes["hours"].set_title(f"Susceptibility, {DIRECTION_LABELS[direction]} (n = {n_stays:,} stays)")
    return figure


def measures_figure(cells: pd.DataFrame, direction: str, variables: Sequence[Variable]) -> Figure:
    """Four small maps: GMP, GAP, GPP and S = GMP x GPP of the paper. cells: the headline's CELLS rows.

    Grey: cells that fewer than ten patients changed.
    """
    figure = new_figure(5.6 + extra_height(variables, panels=2))
    rows = cells[cells["direction"] == direction]
    n_stays = stays_behind(rows)
    title = f"Measures, {DIRECTION_LABELS[direction]}"
    if not enough(rows).any():
        return _worded(figure, title, why_hidden(n_stays))
    panels = figure.subplots(2, 2, sharex=True, sharey=True)
    few = few_grid(rows, variables)
    for axes, (column, label, unit) in zip(panels.flatten().tolist(), _MEASURES, strict=True):
        grid = as_grid(rows, column, variables) * unit
        top = _top(np.where(few, np.nan, grid))
        image = draw_map(axes, grid, variables, SEQUENTIAL, top=top, units=False, few=few)
        axes.set_title(label, fontsize=small_font(1.0), fontweight="normal")
        bar = figure.colorbar(image, ax=axes, aspect=30, pad=0.015)
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=small_font(0.8))
    for axes in panels[-1]:
        axes.set_xlabel("Hour since ICU admission")
    _explain_few(figure, few)
    figure.suptitle(f"{title} (n = {n_stays:,} stays)", x=0.01, ha="left")
    return figure


def as_grid(rows: pd.DataFrame, column: str, variables: Sequence[Variable]) -> FloatArray:
    """`column` of one direction as float64 (variables, hours), NaN where a cell has no row or no value."""
    wide = rows.pivot(index="variable", columns="hour", values=column)
    wide = wide.reindex(index=[v.name for v in variables], columns=range(int(rows["hour"].max()) + 1))
    return wide.to_numpy(dtype=np.float64)


def few_grid(rows: pd.DataFrame, variables: Sequence[Variable]) -> BoolArray:
    """Which cells of one direction 1 to 9 patients changed, (variables, hours)."""
    few: BoolArray = as_grid(rows.assign(few=changed_by_few(rows).astype(float)), "few", variables) == 1
    return few


def draw_map(
    axes: Axes,
    grid: FloatArray,
    variables: Sequence[Variable],
    colours: Colormap,
    *,
    top: float,
    bottom: float = 0.0,
    units: bool = True,
    few: BoolArray | None = None,
) -> AxesImage:
    """Draw (variables, hours) as coloured cells: hour 0 at the left, first variable on top, groups apart.

    few: the cells to draw in one grey instead, since fewer than ten patients stand behind them.
    """
    n_variables, n_hours = grid.shape
    grid = grid if few is None else np.where(few, np.nan, grid)
    # An image, not a path a cell: the SVG stays small, and `nearest` keeps the cells sharp in every viewer.
    image = axes.imshow(
        np.ma.masked_invalid(grid),
        cmap=colours,
        vmin=bottom,
        vmax=top,
        aspect="auto",
        interpolation="nearest",
    )
    if few is not None:
        axes.imshow(np.ma.masked_equal(few, False), cmap=_FEW_COLOURS, aspect="auto", interpolation="nearest")
    lines: dict[str, Any] = {"colors": "#eceef1", "linewidth": 0.3}
    axes.vlines(np.arange(1, n_hours) - 0.5, -0.5, n_variables - 0.5, **lines)
    axes.hlines(np.arange(1, n_variables) - 0.5, -0.5, n_hours - 0.5, **lines)
    axes.set_facecolor("#f3f4f6")
    axes.set_yticks(np.arange(n_variables), [label_with_unit(v) if units else v.label for v in variables])
    axes.set_ylim(n_variables - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.spines[:].set_visible(False)
    if not np.nan_to_num(grid).any():
        text = "every value is zero" if few is None or not few.any() else "every value is zero or withheld"
        axes.text(0.5, 0.5, text, ha="center", va="center", color=MUTED, transform=axes.transAxes, bbox=_BEHIND)
    for edge in group_edges(variables):
        axes.axhline(edge, color=INK, linewidth=0.7)
    hour_ticks(axes, range(n_hours))
    return image


def group_edges(variables: Sequence[Variable]) -> list[float]:
    """Heights at which the group (vital sign, laboratory) changes."""
    groups = [variable.group for variable in variables]
    return [row + 0.5 for row, (here, below) in enumerate(pairwise(groups)) if here != below]


def hour_ticks(axes: Axes, hours: Iterable[int]) -> None:
    """Ticks every six hours up to the last hour of the window."""
    last = int(max(hours, default=0))
    ends_full = last % _HOUR_STEP == _HOUR_STEP - 1
    axes.set_xticks([*range(0, last + 1, _HOUR_STEP), *([last] if ends_full else [])])
    axes.set_xlim(-0.5, last + 0.5)


def _explain_few(figure: Figure, few: BoolArray) -> None:
    if few.any():
        figure.legend(handles=[Patch(color=FEW, label=FEW_WORDS)], loc="outside lower right")


def _sums(grid: FloatArray, counts: FloatArray, axis: int) -> FloatArray:
    """Sums over `axis`, NaN where 1 to 9 patients changed each changed cell: such a sum may be one cell's."""
    most = np.nan_to_num(counts).max(axis=axis)
    return np.where((most >= 1) & (most < MINIMUM), np.nan, np.nansum(grid, axis=axis))


def _hour_sums(axes: Axes, sums: FloatArray) -> None:
    axes.bar(np.arange(len(sums)), sums, width=0.8, color=MUTED)
    axes.set_xlim(-0.5, len(sums) - 0.5)
    axes.set_ylabel("$S_i$", rotation=0, ha="right", va="center")
    axes.tick_params(axis="x", bottom=False, labelbottom=False)
    axes.locator_params(axis="y", nbins=2)
    axes.set_ylim(bottom=0)


def _variable_sums(axes: Axes, sums: FloatArray, variables: Sequence[Variable]) -> None:
    colours = [GROUP_COLOURS[variable.group] for variable in variables]
    axes.barh(np.arange(len(sums)), sums, height=0.7, color=colours)
    axes.set_ylim(len(sums) - 0.5, -0.5)
    axes.set_xlabel("$S_j$")
    axes.tick_params(axis="y", left=False, labelleft=False)
    axes.locator_params(axis="x", nbins=2)
    axes.set_xlim(left=0)


def _top(grid: FloatArray) -> float:
    """The upper end of the colours; any positive number for a map of zeros."""
    largest = float(np.nanmax(grid)) if np.isfinite(grid).any() else 0.0
    return largest if largest > 0 else 1.0


def _worded(figure: Figure, title: str, text: str) -> Figure:
    axes = figure.subplots()
    say(axes, text)
    axes.set_title(title)
    return figure
