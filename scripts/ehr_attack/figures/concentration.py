"""Figure of how far susceptibility gathers: in how few cells, and in which hours."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ehr_attack.directions import DIRECTIONS
from ehr_attack.figures import maps
from ehr_attack.figures.style import (
    DIRECTION_COLOURS,
    DIRECTION_LABELS,
    DIRECTION_LINES,
    MUTED,
    new_figure,
    say,
    why_hidden,
)
from ehr_attack.headline import headline
from ehr_attack.schemas.susceptibility import ALL_CELLS, OBSERVED_CELLS
from ehr_attack.suppression import enough, stays_behind

_WIDTHS = {ALL_CELLS: (1.0, "all cells"), OBSERVED_CELLS: (0.45, "observed cells only")}
"""Of each basis, its line width as a share of the style's, and what it is called."""


def cumulative_figure(cells: pd.DataFrame) -> Figure:
    """Cumulative share of S_q95: over the cells, largest first (left), and from the first hour on (right).

    cells: CELLS rows of all bases; the selected attacks count. Dotted: an even spread.
    """
    figure = new_figure(2.9)
    panels = figure.subplots(1, 2, sharey=True)
    drawn = False
    for direction in DIRECTIONS:
        for basis in _WIDTHS:
            rows = headline(cells[cells["direction"] == direction], basis=basis)
            drawn |= _direction(panels, rows[enough(rows)], direction, basis)
    if not drawn:
        n_stays = stays_behind(headline(cells))
        for axes in panels:
            say(axes, why_hidden(n_stays))
        return figure
    last = int(cells["hour"].max())
    panels[0].plot([0, 100], [0, 100], ":", color=MUTED, linewidth=0.8)
    panels[1].plot([-0.5, last + 0.5], [0, 100], ":", color=MUTED, linewidth=0.8, label="even spread")
    panels[0].set(xlabel="Cells, largest first [% of all]", ylabel="Cumulative share of $S$ [%]", xlim=(0, 100))
    panels[1].set(xlabel="Hour since ICU admission")
    maps.hour_ticks(panels[1], range(last + 1))
    for axes, title in zip(panels, ("In how few cells", "In which hours"), strict=True):
        axes.set(title=title, ylim=(0, 102))
        axes.grid()
    figure.legend(*panels[1].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _direction(panels: Sequence[Axes], rows: pd.DataFrame, direction: str, basis: str) -> bool:
    total = float(rows["s_q95"].sum())
    if not total > 0:
        return False
    width, label = _WIDTHS[basis]
    by_cell, by_hour = concentration(rows)
    for axes, shares in zip(panels, (by_cell, by_hour), strict=True):
        _draw(axes, shares, direction, width, f"{DIRECTION_LABELS[direction]}: {label}")
    return True


def _draw(axes: Axes, shares: pd.Series, direction: str, width: float, label: str) -> None:
    (line,) = axes.plot(
        shares.index,
        100 * shares,
        color=DIRECTION_COLOURS[direction],
        linestyle=DIRECTION_LINES[direction],
        label=label,
    )
    line.set_linewidth(line.get_linewidth() * width)


def concentration(rows: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Cumulative shares of S_q95 of one map: by per cent of the cells, largest first, and by hour.

    Both start at 0: before the first cell, and at the start of hour 0 (-0.5); hour h ends at h + 0.5.
    """
    sizes = np.sort(rows["s_q95"].fillna(0).to_numpy(dtype=np.float64))[::-1]
    by_hour = rows.groupby("hour")["s_q95"].sum().sort_index()
    total = sizes.sum()
    cells = pd.Series(np.concatenate([[0.0], sizes.cumsum() / total]), np.linspace(0, 100, len(sizes) + 1))
    ends = np.concatenate([[-0.5], by_hour.index.to_numpy(dtype=np.float64) + 0.5])
    return cells, pd.Series(np.concatenate([[0.0], by_hour.to_numpy().cumsum() / total]), ends)
