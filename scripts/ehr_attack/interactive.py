"""Maps of susceptibility whose values can be read off by hovering, drawn in the page by plotly.

plotly.js travels inside the page, compressed; the page's own script unpacks it. Nothing is fetched. Without scripts,
and in print, the static figures stand in their place.
"""

import base64
import gzip
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from markupsafe import Markup
from matplotlib.colors import Colormap, to_hex
from plotly.offline import get_plotlyjs
from plotly.subplots import make_subplots

from ehr_attack.figures.maps import FEW
from ehr_attack.figures.style import SEQUENTIAL, SEQUENTIAL_ON_DARK
from ehr_attack.headline import headline
from ehr_attack.paths import TEMPLATE_DIR
from ehr_attack.schemas.susceptibility import BASES
from ehr_attack.suppression import ALL_BUT_SMALL, SMALL

MEASURES = {
    "s_q95": "S with the 95th percentile",
    "s": "S with the maximum",
    "gmp": "GMP, largest change",
    "gap": "GAP, mean change",
    "gpp": "GPP, share of stays changed",
}
"""What a map can show, in the order of `_COLUMNS`; the first stands at the start."""

_COLUMNS = (*MEASURES, "s_q95_low", "s_q95_high")
_HOVER = (
    "<b>%{y}, hour %{x}</b><br>S, 95th percentile: %{customdata[0]:.3~g} "
    "(%{customdata[5]:.3~g} to %{customdata[6]:.3~g})<br>S, maximum: %{customdata[1]:.3~g}<br>"
    "largest change: %{customdata[2]:.3~g}, mean: %{customdata[3]:.3~g}<br>"
    "changed in %{customdata[4]:.1%} of %{customdata[7]} stays<extra></extra>"
)
_FEW_HOVER = "<b>%{y}, hour %{x}</b><br>changed by fewer than ten patients: withheld<extra></extra>"
_NEARLY_ALL = "nearly all"
_BASIS_TITLES = ("All cells", "Observed cells only")
_ROW_PIXELS, _FRAME_PIXELS = 17, 190
_SHADES = 9


@dataclass(frozen=True)
class LiveMap:
    """A figure of plotly inside the page: the id of its element, its JSON, and its height in CSS pixels."""

    name: str
    figure: Markup
    height: int


def live_map(name: str, cells: pd.DataFrame, variables: pd.DataFrame) -> LiveMap:
    """The map of one attack in one direction: hours by variables, all cells above, observed cells below.

    cells: its rows of `susceptibility_cells_*.csv`; variables: those of `missingness.csv`, which name and order them.
    Grey cells say that fewer than ten patients changed them; cells of fewer than ten stays are gaps without a hover
    text. Three significant digits.
    """
    hours = sorted(int(hour) for hour in cells["hour"].unique())
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.07, subplot_titles=_BASIS_TITLES)
    parts = [_places(headline(cells, basis=basis), hours, list(variables["variable"])) for basis in BASES]
    axes: dict[str, Any] = {"x": hours, "y": list(variables["label"]), "hoverongaps": False, "xgap": 1, "ygap": 1}
    for row, places in enumerate(parts, start=1):
        values = _in_lines(_values(places), len(hours))
        shown = [[cell[0] for cell in line] for line in values]
        look = {"customdata": values, "hovertemplate": _HOVER, "coloraxis": "coloraxis"}
        figure.add_trace(go.Heatmap(z=shown, **axes, **look), row=row, col=1)
    for row, places in enumerate(parts, start=1):
        grey = {"hovertemplate": _FEW_HOVER, "colorscale": [[0, FEW], [1, FEW]], "showscale": False}
        figure.add_trace(go.Heatmap(z=_in_lines(_few(places), len(hours)), **axes, **grey), row=row, col=1)
    height = _FRAME_PIXELS + 2 * _ROW_PIXELS * len(variables)
    figure.update_yaxes(
        autorange="reversed", fixedrange=True, showgrid=False, zeroline=False, ticks="", automargin=True
    )
    figure.update_xaxes(fixedrange=True, showgrid=False, zeroline=False, dtick=6)
    figure.update_xaxes(title_text="Hour since ICU admission", row=2, col=1)
    figure.update_layout(
        template=go.layout.Template(),
        height=height,
        margin={"l": 10, "r": 10, "t": 36, "b": 48},
        coloraxis={"cmin": 0, "colorbar": {"thickness": 12, "outlinewidth": 0, "len": 0.5}},
        hoverlabel={"align": "left"},
        meta={"light": _scale(SEQUENTIAL), "dark": _scale(SEQUENTIAL_ON_DARK)},
    )
    # `<` can end a script element; the escape is the same character to a reader of JSON.
    text = str(figure.to_json(engine="json")).replace("<", "\\u003c")
    return LiveMap(name, Markup(text), height)


@cache
def packed_plotly() -> Markup:
    """plotly.js, compressed, as a data URI."""
    data = gzip.compress(_plotly().encode(), compresslevel=9, mtime=0)
    return Markup(f"data:application/gzip;base64,{base64.b64encode(data).decode('ascii')}")


def page_script() -> Markup:
    """The page's own script: it sorts tables and draws maps."""
    return Markup((TEMPLATE_DIR / "report.js").read_text(encoding="utf-8"))


def allowed_scripts(*, live: bool) -> Markup:
    """The hashes of the scripts that the page may run, for its Content-Security-Policy; live: plotly's too."""
    scripts = [str(page_script()), *([_plotly()] if live else [])]
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    return Markup(" ".join(f"'sha256-{base64.b64encode(digest).decode('ascii')}'" for digest in digests))


@cache
def _plotly() -> str:
    return str(get_plotlyjs())


def _places(rows: pd.DataFrame, hours: Sequence[int], names: Sequence[str]) -> pd.DataFrame:
    """The rows of every variable's every hour, in this order; null where there is none."""
    return rows.set_index(["variable", "hour"]).reindex(pd.MultiIndex.from_product([names, hours]))


def _values(places: pd.DataFrame) -> list[list[float | str | None]]:
    """A cell each: its columns and the number of stays in words; None where there is no value."""
    stays = [
        None if np.isnan(value) else _NEARLY_ALL if count == ALL_BUT_SMALL else str(count)
        for value, count in zip(places["s_q95"], places["n_stays"], strict=True)
    ]
    columns = [*(_rounded(places[name]) for name in _COLUMNS), stays]
    return [list(cell) for cell in zip(*columns, strict=True)]


def _few(places: pd.DataFrame) -> list[int | None]:
    """A cell each: 1 where 1 to 9 patients changed it, None elsewhere; a cell of fewer than ten stays is a gap."""
    measured = ~places[["n_stays", "n_patients"]].isin([SMALL, "0"]).any(axis=1)
    return [1 if few else None for few in (places["n_changed_patients"] == SMALL) & measured]


def _in_lines(items: Sequence[Any], length: int) -> list[list[Any]]:
    return [list(items[start : start + length]) for start in range(0, len(items), length)]


def _rounded(values: pd.Series) -> list[float | None]:
    return [None if np.isnan(value) else float(f"{value:.3g}") for value in values.to_numpy(dtype=np.float64)]


def _scale(colours: Colormap) -> list[list[float | str]]:
    return [[float(place), to_hex(colours(place))] for place in np.linspace(0, 1, _SHADES)]
