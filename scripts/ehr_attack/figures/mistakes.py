"""Figure of what mistakes, made on purpose, do to the time course of susceptibility."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from ehr_attack.directions import DIRECTIONS
from ehr_attack.figures import names
from ehr_attack.figures.saving import save_figure
from ehr_attack.figures.style import DIRECTION_LABELS, INK, MUTED, new_figure, say, use_style
from ehr_attack.headline import headline
from ehr_attack.mistakes import CONTROL
from ehr_attack.storage import read_frame
from ehr_attack.suppression import enough

_RIGHT = {"": (INK, "-"), CONTROL: (MUTED, "-")}
_RIGHT_LABELS = {"": "right run", CONTROL: "right run, another seed"}
# Colours of Okabe and Ito, told apart by colour-blind readers.
_WRONG: Sequence[tuple[str, Any]] = (
    ("#d55e00", "--"),
    ("#0072b2", "-."),
    ("#009e73", ":"),
    ("#cc79a7", (0, (5, 1, 1, 1, 1, 1))),
)


def plot_mistakes(
    *, hours: Sequence[str | Path], mistakes: Sequence[str], out_dir: str | Path, dpi: int, style: str
) -> None:
    """Write the figure named by `names.MISTAKE_FIGURES` as SVG and PNG into `out_dir`.

    hours: the HOURS table of each model, in the order of `mistakes`, whose first is "", the right model. Raises
    UserError for an unknown style or an unreadable table.
    """
    tables = {mistake: headline(read_frame(path)) for mistake, path in zip(mistakes, hours, strict=True)}
    (stem,) = names.MISTAKE_FIGURES
    with use_style(style):
        figure = new_figure(3.2)
        panels = figure.subplots(1, len(DIRECTIONS), sharey=True)
        for axes, direction in zip(panels, DIRECTIONS, strict=True):
            _direction(axes, direction, tables)
        panels[0].set(ylabel="Share of S (95th percentile)")
        handles = {
            label: line for axes in panels for line, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=2)
        save_figure(figure, Path(out_dir), stem, dpi=dpi, title="Mistakes made on purpose: susceptibility by hour")


def _direction(axes: Axes, direction: str, tables: dict[str, pd.DataFrame]) -> None:
    """A line a run: the share of each hour in the run's susceptibility."""
    looks = iter(_WRONG)
    drawn = False
    for mistake, table in tables.items():
        colour, dashes = _RIGHT.get(mistake) or next(looks)
        rows = table[(table["direction"] == direction) & enough(table)].sort_values("hour")
        if rows["s_q95"].sum() > 0:
            share = rows["s_q95"] / rows["s_q95"].sum()
            label = _RIGHT_LABELS.get(mistake, f"WRONG: {mistake.replace('_', ' ')}")
            axes.plot(rows["hour"], share, color=colour, linestyle=dashes, label=label)
            drawn = True
    if not drawn:
        say(axes, "Fewer than ten stays were flipped\nin every run: withheld.")
    axes.set(title=DIRECTION_LABELS[direction], xlabel="Hour since ICU admission")
    axes.grid(axis="y")
