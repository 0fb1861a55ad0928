"""Figure of the bargain that lambda strikes: large changes of few cells against small changes of many."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ehr_attack.directions import DIRECTIONS
from ehr_attack.figures.maps import FloatArray
from ehr_attack.figures.style import (
    DIRECTION_COLOURS,
    DIRECTION_LABELS,
    INK,
    MUTED,
    new_figure,
    say,
    small_font,
    why_hidden,
)
from ehr_attack.suppression import MINIMUM, is_small

_LARGEST_RING = 15.0


def tradeoff_figure(table: pd.DataFrame) -> Figure:
    """Median MP against median PP of the attacks that succeeded at each lambda, with quartiles; a panel a direction.

    table: TRADEOFF rows. The wider a ring, the more stays have their selected attack at that lambda; none where these
    are fewer than ten.
    """
    figure = new_figure(3.0)
    panels = figure.subplots(1, 2, sharey=True)
    drawn = [
        _direction(axes, table[table["direction"] == direction].sort_values("lambda"), direction)
        for axes, direction in zip(panels, DIRECTIONS, strict=True)
    ]
    panels[0].set_ylabel("Largest change, MP [scaled units]")
    if any(drawn):
        axes = panels[drawn.index(True)]
        axes.plot([], [], "o", color=INK, markersize=3, label="median and quartiles at one λ")
        axes.plot(
            [],
            [],
            "o",
            markerfacecolor="none",
            color=INK,
            markersize=8,
            label="the wider, the more stays selected there",
        )
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _direction(axes: Axes, rows: pd.DataFrame, direction: str) -> bool:
    axes.set_title(DIRECTION_LABELS[direction])
    shown = rows[(rows["n_succeeded"] >= MINIMUM) & (rows["n_patients"] >= MINIMUM)]
    if shown.empty:
        say(axes, why_hidden(int(rows["n_succeeded"].max()) if len(rows) else 0))
        return False
    colour = DIRECTION_COLOURS[direction]
    share, size = 100 * shown["pp_median"], shown["mp_median"]
    axes.plot(share, size, color=colour, linewidth=0.8, alpha=0.6)
    axes.errorbar(
        share,
        size,
        xerr=100 * _arms(shown, "pp"),
        yerr=_arms(shown, "mp"),
        fmt="o",
        color=colour,
        ecolor=colour,
        elinewidth=0.6,
        alpha=0.75,
        markersize=3,
    )
    _rings(axes, shown, colour)
    axes.set(xlabel="Changed cells, PP [% of all]")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.grid()
    for row in (shown.iloc[0], shown.iloc[-1]) if len(shown) > 1 else ():
        axes.annotate(
            f"λ = {row['lambda']:.2g}",
            (100 * row["pp_median"], row["mp_median"]),
            xytext=(5, 6),
            textcoords="offset points",
            fontsize=small_font(),
            color=MUTED,
        )
    return True


def _rings(axes: Axes, rows: pd.DataFrame, colour: str) -> None:
    chosen = rows["n_selected"].where(~rows["n_selected"].map(is_small), 0)
    total = rows["n_selected"].sum()
    for (_, row), count in zip(rows.iterrows(), chosen, strict=True):
        if count:
            ring: dict[str, Any] = {"markersize": 4 + _LARGEST_RING * np.sqrt(count / total), "markerfacecolor": "none"}
            axes.plot(100 * row["pp_median"], row["mp_median"], "o", color=colour, markeredgewidth=1.1, **ring)


def _arms(rows: pd.DataFrame, name: str) -> FloatArray:
    """Distances from the median down to the first and up to the third quartile, (2, rows)."""
    middle = rows[f"{name}_median"]
    arms = [middle - rows[f"{name}_q25"], rows[f"{name}_q75"] - middle]
    return np.vstack([arm.to_numpy(dtype=np.float64) for arm in arms]).clip(min=0)
