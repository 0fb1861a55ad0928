"""Figure of how the run's ranking of the variables compares with the paper's."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ehr_attack.directions import DIRECTIONS
from ehr_attack.figures.style import (
    DIRECTION_LABELS,
    GROUP_COLOURS,
    GROUP_LABELS,
    INK,
    MUTED,
    extra_height,
    new_figure,
    say,
    small_font,
    why_hidden,
)
from ehr_attack.published import published_ranks
from ehr_attack.suppression import enough, stays_behind
from ehr_attack.variables import Variable


def ranks_figure(table: pd.DataFrame, variables: Sequence[Variable], profile: str) -> Figure:
    """Our ranks by S_q95 with 95 % intervals over patients, and where each variable stands in Sun 2018.

    A half a direction. table: the headline's VARIABLES rows; profile: the variable profile, which says what is the
    same analyte. Shared variables only; where we have others too, ours are ranked anew and have no interval. A variable
    whose S is 0 or withheld has no rank.
    """
    figure = new_figure(4.3 + extra_height(variables))
    drawn = False
    halves = figure.subplots(1, 4, width_ratios=[1, 0.85, 1, 0.85])
    for half, direction in enumerate(DIRECTIONS):
        intervals, slopes = halves[2 * half], halves[2 * half + 1]
        rows = table[table["direction"] == direction]
        if not enough(rows).any():
            say(intervals, why_hidden(stays_behind(rows)).replace(":\n", ": ").replace(" in this", "\nin this"))
            intervals.set_title(DIRECTION_LABELS[direction])
            slopes.set_axis_off()
            continue
        ranks = compared_ranks(rows, published_ranks("sun2018", direction, profile))
        intervals.set_title(DIRECTION_LABELS[direction])
        _intervals(intervals, ranks, {variable.name: variable for variable in variables})
        _slopes(slopes, ranks, {variable.name: variable for variable in variables})
        drawn = True
    if drawn:
        used = {variable.group for variable in variables}
        marks = [
            Line2D([], [], color=GROUP_COLOURS[group], linewidth=3.4, label=f"{label}: 95 % interval of the rank")
            for group, label in GROUP_LABELS.items()
            if group in used
        ]
        figure.legend(handles=marks, loc="outside lower center", ncols=2)
    return figure


def compared_ranks(rows: pd.DataFrame, theirs: pd.Series) -> pd.DataFrame:
    """The shared variables, our most susceptible first: variable, ours, low, high (ties: smallest), theirs (averaged).

    rows: VARIABLES rows of one direction; theirs: published ranks by variable. ours is NaN where S is 0, which has no
    rank, or withheld; low and high too unless all of our variables are shared, since ours are then ranked among others.
    """
    shared = rows[rows["variable"].isin(theirs.index)].sort_values(
        ["s_q95", "s", "variable"], ascending=[False, False, True]
    )
    known = len(shared) == len(rows)
    return pd.DataFrame(
        {
            "variable": shared["variable"].to_numpy(),
            "ours": shared["s_q95"].where(shared["s_q95"] > 0).rank(ascending=False, method="min").to_numpy(),
            "low": shared["rank_low"].to_numpy(dtype=np.float64) if known else np.nan,
            "high": shared["rank_high"].to_numpy(dtype=np.float64) if known else np.nan,
            "theirs": theirs[shared["variable"]].rank().to_numpy(),
        }
    )


def _intervals(axes: Axes, ranks: pd.DataFrame, known: dict[str, Variable]) -> None:
    """A line a variable, in our order: its rank with the interval, on a scale of ranks."""
    place = np.arange(len(ranks))
    colours = [GROUP_COLOURS[known[name].group] for name in ranks["variable"]]
    axes.hlines(place, ranks["low"], ranks["high"], colors=colours, linewidth=3.4, alpha=0.85)
    axes.plot(ranks["ours"], place, "o", color=INK, markersize=3.2)
    for unranked in place[ranks["ours"].isna()]:
        axes.text(0.8, unranked, "no rank", va="center", fontsize=small_font(), color=MUTED)
    axes.set_yticks(place, [known[name].label for name in ranks["variable"]])
    axes.set(xlabel="Rank here", xlim=(0.5, len(ranks) + 0.5))
    axes.set_xticks([1, *range(5, len(ranks) + 1, 5)])
    axes.grid(axis="x")
    _rows(axes, len(ranks))


def _slopes(axes: Axes, ranks: pd.DataFrame, known: dict[str, Variable]) -> None:
    """A line a variable that has a rank here, from its place to its rank in the paper."""
    ranked = ranks[ranks["ours"].notna()]
    for place, (name, theirs) in enumerate(zip(ranked["variable"], ranked["theirs"], strict=True)):
        axes.plot([0, 1], [place, theirs - 1], color=GROUP_COLOURS[known[name].group])
        axes.plot([0, 1], [place, theirs - 1], ".", color=INK, markersize=3)
    for theirs in sorted(ranks["theirs"].unique()):
        axes.annotate(
            f"{theirs:g}", (1.06, theirs - 1), va="center", fontsize=small_font(), color=MUTED, annotation_clip=False
        )
    axes.set(xlim=(0, 1), xlabel="to rank in paper")
    axes.set_xticks([])
    axes.set_yticks([])
    _rows(axes, len(ranks))


def _rows(axes: Axes, count: int) -> None:
    axes.set_ylim(count - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines[:].set_visible(False)
