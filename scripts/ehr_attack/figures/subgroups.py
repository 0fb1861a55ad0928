"""Figure of a model's quality by subgroup: discrimination and calibration, with intervals over patients."""

from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ehr_attack.figures.style import FAINT, MODEL_COLOUR, MUTED, new_figure, say, small_font
from ehr_attack.schemas.evaluation import ALL_STAYS
from ehr_attack.summaries.subgroups import ATTRIBUTE_LABELS, subgroups_table

_PANELS = (
    ("auroc", "AUROC", None),
    ("calibration_intercept_recalibrated", "Calibration intercept\nafter recalibration", 0.0),
)
_INCHES_A_ROW, _INCHES_AROUND = 0.22, 0.9
_MARKERS = ("o", "s", "D", "^")


def subgroups_figure(subgroups: pd.DataFrame) -> Figure:
    """A forest plot, a row a level: AUROC beside that of all stays, and the calibration intercept beside 0.

    subgroups: SUBGROUPS rows of one model; small groups are named but not drawn. Seeds differ by their markers.
    """
    table = subgroups_table(subgroups)
    rows = table.drop_duplicates(["attribute", "level"])[["attribute", "level"]].reset_index(drop=True)
    figure = new_figure(_INCHES_AROUND + _INCHES_A_ROW * len(rows))
    axes = figure.subplots(1, len(_PANELS), sharey=True)
    for panel, (metric, title, reference) in zip(axes, _PANELS, strict=True):
        _panel(panel, table[table["metric"] == metric], rows, reference)
        panel.set(title=title)
    places = np.arange(len(rows))
    axes[0].set(yticks=places, yticklabels=[_row_label(rows, int(place)) for place in places])
    axes[0].set(ylim=(len(rows) - 0.5, -0.5))
    return figure


def _panel(axes: Axes, table: pd.DataFrame, rows: pd.DataFrame, reference: float | None) -> None:
    """One metric; `reference`: where a vertical line stands, None for the value of all stays."""
    if table["value"].isna().all():
        say(axes, "Undefined or withheld.")
        return
    if reference is None:
        reference = float(table.loc[table["attribute"] == ALL_STAYS, "value"].iloc[0])
    axes.axvline(reference, color=MUTED, linestyle=(0, (4, 3)), linewidth=0.8)
    seeds, across = table["seed"].unique(), axes.get_yaxis_transform()
    for number, (seed, marker) in enumerate(zip(seeds, cycle(_MARKERS), strict=False)):
        of_seed = rows.merge(table[table["seed"] == seed], on=["attribute", "level"], how="left")
        places = np.arange(len(rows)) + 0.5 * ((number + 1) / (len(seeds) + 1) - 0.5)
        value = of_seed["value"].to_numpy()
        reach = np.abs(of_seed[["low", "high"]].to_numpy().T - value)
        axes.errorbar(value, places, xerr=reach, fmt=marker, color=MODEL_COLOUR, linewidth=0.9, label=f"seed {seed}")
        for place in np.flatnonzero(np.isnan(value)) if number == 0 else ():
            axes.text(0.02, float(place), "withheld", transform=across, va="center", color=MUTED, size=small_font())
    for place in np.flatnonzero(rows["attribute"].ne(rows["attribute"].shift()).to_numpy())[1:]:
        axes.axhline(place - 0.5, color=FAINT, linewidth=0.8)
    axes.grid(axis="x")


def _row_label(rows: pd.DataFrame, place: int) -> str:
    """The level, with the attribute's name before its first one."""
    attribute, level = str(rows["attribute"].iloc[place]), str(rows["level"].iloc[place])
    if attribute == ALL_STAYS:
        return "All stays"
    first = place == 0 or rows["attribute"].iloc[place - 1] != attribute
    return f"{ATTRIBUTE_LABELS[attribute]}: {level}" if first else level
