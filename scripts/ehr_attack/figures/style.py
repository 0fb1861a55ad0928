"""The look of every figure: sizes, fonts, colours and words; colour-blind safe and readable at print size."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure

from ehr_attack.errors import UserError
from ehr_attack.suppression import MINIMUM
from ehr_attack.variables import DEMOGRAPHIC, LAB, OTHER, VITAL, Variable


@dataclass(frozen=True)
class Style:
    """Inches of a full-width figure, points of its text, width of its lines."""

    width: float
    font: float
    line: float


PAPER_WIDTH = 7.0
STYLES = {"paper": Style(PAPER_WIDTH, font=8.0, line=1.3), "talk": Style(10.0, font=13.0, line=2.2)}

INK, MUTED, FAINT = "#22262b", "#6b727b", "#d9dde2"
MODEL_COLOUR = "#1f5f8b"
RECALIBRATED_COLOUR = "#c2410c"
DIRECTION_COLOURS = {"0_to_1": "#c2410c", "1_to_0": "#1f5f8b"}
# Two cues each, so that a print in grey still tells them apart.
DIRECTION_LINES = {"0_to_1": "-", "1_to_0": (0, (5, 1.5))}
DIRECTION_LABELS = {"0_to_1": "0→1, survivor to death", "1_to_0": "1→0, death to survivor"}
GROUP_COLOURS = {VITAL: "#efbf63", LAB: "#6274bd", OTHER: "#5f9e8f", DEMOGRAPHIC: "#8c8c8c"}
GROUP_LABELS = {VITAL: "vital sign", LAB: "laboratory", OTHER: "treatment, output", DEMOGRAPHIC: "demographic"}

_USUAL_ROWS, _INCHES_A_ROW = 19, 0.17

# White stands for zero in both, so that an untouched cell looks untouched.
SEQUENTIAL: Colormap = LinearSegmentedColormap.from_list(
    "susceptibility", ["#ffffff", "#fde3c1", "#f9ae6c", "#e56b4f", "#b5315f", "#6d1a63", "#2a0b3d"]
)
# On a dark page zero is the page's own dark, and more is brighter.
SEQUENTIAL_ON_DARK: Colormap = LinearSegmentedColormap.from_list(
    "susceptibility on dark", ["#1c2025", "#4a1f4f", "#8c2a5c", "#c94a55", "#ef8354", "#fbc27c", "#fff3d6"]
)
DIVERGING: Colormap = LinearSegmentedColormap.from_list(
    "change", ["#0b3c6f", "#2f7ab8", "#a9cde6", "#ffffff", "#f6bd9b", "#d1603a", "#7a1d0c"]
)

_UNITS = {"degC": "°C", "K/uL": "10³/µL"}


@contextmanager
def use_style(name: str) -> Iterator[Style]:
    """Make figures in the style `name` (paper or talk) inside the block; the user's matplotlibrc has no say.

    Raises UserError for an unknown style.
    """
    if name not in STYLES:
        raise UserError(f"plots.style: {name!r} is unknown; expected one of {', '.join(STYLES)}.")
    style = STYLES[name]
    with matplotlib.style.context(_settings(style), after_reset=True):
        yield style


def _settings(style: Style) -> dict[str, Any]:
    return {
        "figure.figsize": (style.width, style.width * 0.6),
        "figure.facecolor": "white",
        "savefig.facecolor": "white",
        "font.family": "DejaVu Sans",
        "mathtext.fontset": "dejavusans",
        "font.size": style.font,
        "axes.titlesize": style.font * 1.1,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.labelsize": style.font,
        "axes.edgecolor": MUTED,
        "axes.labelcolor": INK,
        "axes.titlecolor": INK,
        "axes.linewidth": style.line * 0.5,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "grid.color": FAINT,
        "grid.linewidth": style.line * 0.4,
        "lines.linewidth": style.line,
        "lines.markersize": style.font * 0.5,
        "patch.linewidth": style.line * 0.4,
        "hatch.linewidth": style.line * 0.4,
        "text.color": INK,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "xtick.labelsize": style.font * 0.92,
        "ytick.labelsize": style.font * 0.92,
        "legend.fontsize": style.font * 0.92,
        "legend.frameon": False,
        "figure.titlesize": style.font * 1.15,
        "figure.titleweight": "bold",
        "svg.fonttype": "path",
        "svg.hashsalt": "ehr-attack",
    }


def new_figure(height: float, width: float = 1.0) -> Figure:
    """A figure of `height` inches and a share `width` of the full width; larger styles grow both alike."""
    full = float(matplotlib.rcParams["figure.figsize"][0])
    return Figure(figsize=(full * width, height * full / PAPER_WIDTH), layout="constrained")


def extra_height(variables: Sequence[Variable], panels: int = 1) -> float:
    """Inches to add to a figure's height when it has more rows, a variable each, than the paper's 19."""
    return panels * _INCHES_A_ROW * max(0, len(variables) - _USUAL_ROWS)


def small_font(share: float = 0.85) -> float:
    """Points of secondary text in the style in use."""
    return float(matplotlib.rcParams["font.size"]) * share


def say(axes: Axes, text: str) -> None:
    """Put plain words in place of a drawing."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, ha="center", va="center", color=MUTED, transform=axes.transAxes, wrap=True)


def why_hidden(n_stays: int) -> str:
    """Why a direction has no drawing, for one with fewer than ten successfully attacked stays."""
    if n_stays == 0:
        return "No attack succeeded in this direction:\nthere is nothing to draw."
    return f"Fewer than {MINIMUM} stays or patients were flipped in this direction:\nwithheld to protect patients."


def unit_text(variable: Variable) -> str:
    """The unit as printed; empty where the variable has none."""
    return "" if variable.unit in (variable.label, "ratio") else _UNITS.get(variable.unit, variable.unit)


def label_with_unit(variable: Variable) -> str:
    """The readable name with its unit, for axes."""
    unit = unit_text(variable)
    return f"{variable.label} [{unit}]" if unit else variable.label
