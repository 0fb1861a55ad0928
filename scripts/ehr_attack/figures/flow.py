"""The cohort flow as a STROBE chart: who is left stands on the left, who was excluded, and why, on the right."""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from ehr_attack.figures import names
from ehr_attack.figures.saving import save_figure
from ehr_attack.figures.style import INK, MODEL_COLOUR, MUTED, new_figure, use_style
from ehr_attack.storage import read_json
from ehr_attack.summaries.cohort import flow_table
from ehr_attack.suppression import SMALL, WITHHELD

# The drawing is laid out in lines of text: a box is as high as its lines, the figure as the sum of its boxes.
_INCHES_A_LINE, _PADDING, _GAP = 0.155, 0.9, 0.7
_LEFT, _RIGHT, _WIDTH = (0.0, 0.40), (0.47, 1.0), 56
_TITLE, _DASH = "Cohort flow", "\N{EN DASH}"


def plot_flow(*, flow: str | Path, out_dir: str | Path, dpi: int, style: str) -> None:
    """Write the figure named by `names.COHORT_FIGURES` as SVG and PNG into `out_dir`.

    flow: `cohort_flow.json`. Small numbers are hidden as in the table of the flow; steps that exclude nobody are left
    out. Raises UserError for an unreadable file or an unknown style.
    """
    (stem,) = names.COHORT_FIGURES
    boxes = flow_boxes(flow_table(read_json(flow)["steps"]))
    with use_style(style):
        figure = new_figure(_INCHES_A_LINE * _total_lines(boxes))
        axes = figure.add_subplot()
        _draw(axes, boxes)
        save_figure(figure, Path(out_dir), stem, dpi=dpi, title=_TITLE)


def flow_boxes(table: pd.DataFrame) -> list[dict[str, str]]:
    """The boxes of the chart from top to bottom: `side` (left or right) and `text`. table: as `flow_table` gives it.

    Exclusions come on the right, one after another; the first box on the left is the source, the last the cohort.
    """
    first, last = table.iloc[0], table.iloc[-1]
    excluded = table.iloc[1:][table["excluded_stays"].iloc[1:] != "0"]
    boxes = [{"side": "left", "text": _left_text(str(first["step"]), first)}]
    for _, row in excluded.iterrows():
        reasons = str(row["step"]).split("; ")
        lines = [
            line for reason in reasons for line in textwrap.wrap(f"{_DASH} {reason}", _WIDTH, subsequent_indent="   ")
        ]
        number = _number(str(row["excluded_stays"]))
        boxes.append({"side": "right", "text": "\n".join([f"Excluded: {number} stays", *lines])})
    boxes.append({"side": "left", "text": _left_text("Cohort of this run", last)})
    return boxes


def _left_text(title: str, row: Mapping[str, Any] | pd.Series) -> str:
    parts = [f"{_number(str(row[key]))} {word}" for key, word in (("stays", "ICU stays"), ("patients", "patients"))]
    return "\n".join([title, ", ".join(parts), f"{_number(str(row['deaths']))} deaths"])


def _number(text: str) -> str:
    hidden = {SMALL: "fewer than 10", WITHHELD: "(withheld)"}
    return f"{int(text):,}" if text.isdigit() else hidden.get(text, text)


def _lines(box: Mapping[str, str]) -> float:
    return box["text"].count("\n") + 1 + _PADDING


def _total_lines(boxes: list[dict[str, str]]) -> float:
    return sum(_lines(box) + _GAP for box in boxes) - _GAP + 1


def _draw(axes: Axes, boxes: list[dict[str, str]]) -> None:
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(_total_lines(boxes) - 0.5, -0.5)
    axes.set_axis_off()
    middle = sum(_LEFT) / 2
    top, bottom_of_source = 0.0, 0.0
    for box in boxes:
        height = _lines(box)
        left = box["side"] == "left"
        _draw_box(axes, _LEFT if left else _RIGHT, top, height, box["text"], strong=left)
        if not left:
            _draw_arrow(axes, (middle, top + height / 2), (_RIGHT[0], top + height / 2))
        elif top == 0:
            bottom_of_source = height
        else:
            _draw_arrow(axes, (middle, bottom_of_source), (middle, top))
        top += height + _GAP


def _draw_box(axes: Axes, sides: tuple[float, float], top: float, height: float, text: str, *, strong: bool) -> None:
    left, right = sides
    edge, face = (MODEL_COLOUR, "white") if strong else (MUTED, "#f6f7f8")
    style = "round,pad=0,rounding_size=0.008"
    box = FancyBboxPatch((left, top), right - left, height, style, facecolor=face, edgecolor=edge, mutation_aspect=30)
    axes.add_patch(box)
    title, _, rest = text.partition("\n")
    axes.text(left + 0.015, top + _PADDING / 2 + 0.5, title, va="center", color=INK, fontweight="bold")
    for number, line in enumerate(rest.splitlines(), start=1):
        axes.text(left + 0.015, top + _PADDING / 2 + 0.5 + number, line, va="center", color=INK)


def _draw_arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    arrow = {"arrowstyle": "-|>", "color": MUTED, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", xy=end, xytext=start, arrowprops=arrow)
