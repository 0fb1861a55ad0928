"""Figures of the whole run: how far maps of different trainings and attacks agree, and whether changes transfer."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from ehr_attack.directions import DIRECTIONS
from ehr_attack.figures import names
from ehr_attack.figures.maps import FloatArray
from ehr_attack.figures.saving import save_figure
from ehr_attack.figures.style import (
    DIRECTION_LABELS,
    DIVERGING,
    INK,
    SEQUENTIAL,
    new_figure,
    say,
    small_font,
    use_style,
)
from ehr_attack.schemas.susceptibility import HOUR_AXIS, VARIABLE_AXIS
from ehr_attack.storage import read_frame
from ehr_attack.suppression import MINIMUM, enough, is_small

_AXES = {VARIABLE_AXIS: "variables", HOUR_AXIS: "hours"}
_MOST_NUMBERED = 8
_INCHES_A_ROW = 0.24


def plot_agreement(*, stability: str | Path, transfer: str | Path, out_dir: str | Path, dpi: int, style: str) -> None:
    """Write the figures named by `names.AGREEMENT_FIGURES` as SVG and PNG into `out_dir`.

    stability, transfer: the tables of those schemas. Raises UserError for an unknown style or an unreadable table.
    """
    with use_style(style):
        figures = (
            (agreement_figure(read_frame(stability)), "Agreement of susceptibility"),
            (transfer_figure(read_frame(transfer)), "Transfer of changes between models"),
        )
        for stem, (figure, title) in zip(names.AGREEMENT_FIGURES, figures, strict=True):
            save_figure(figure, Path(out_dir), stem, dpi=dpi, title=title)


def agreement_figure(table: pd.DataFrame) -> Figure:
    """Matrices of the mean rank correlation of S_q95 between folds, seeds, models and attacks: variables, and hours.

    table: STABILITY rows; the mean is over attacks, models and directions with at least ten patients.
    """
    shown = table[(table["n_patients"] >= MINIMUM) & table["spearman"].notna()]
    kinds = list(shown["across"].unique())
    if not kinds:
        return _worded("Nothing to compare: one fold, seed, model and attack,\nor fewer than 10 patients each.")
    items = {
        kind: sorted({*shown.loc[shown["across"] == kind, ["first", "second"]].to_numpy().ravel()}) for kind in kinds
    }
    heights = [0.75 + _INCHES_A_ROW * max(3, len(items[kind])) for kind in kinds]
    figure = new_figure(sum(heights) + 0.5)
    rows = figure.subplots(len(kinds), 2, squeeze=False, height_ratios=heights)
    for kind, panels in zip(kinds, rows, strict=True):
        for panel, (axis, words) in zip(panels, _AXES.items(), strict=True):
            part = shown[(shown["across"] == kind) & (shown["axis"] == axis)]
            matrix = _symmetric(part, items[kind])
            image = _draw_matrix(panel, matrix, items[kind], items[kind], DIVERGING, bounds=(-1.0, 1.0), unit=1.0)
            panel.set_title(f"Across {kind}s: {words}")
    figure.colorbar(image, ax=rows[:, 1].tolist(), aspect=30, label="mean rank correlation")
    return figure


def transfer_figure(table: pd.DataFrame) -> Figure:
    """Matrices of the share of changes found on one model (rows) that flip another (columns), by attack and direction.

    table: TRANSFER rows; cells of fewer than ten stays or patients, or of 1 to 9 flipped ones, are empty.
    """
    shown = table[enough(table) & ~table["n_flipped"].map(is_small)]
    if shown.empty:
        return _worded("Nothing to transfer: one model and seed,\nor fewer than 10 patients each.")
    several = len({*table["from_seed"], *table["to_seed"]}) > 1
    labelled = shown.assign(
        first=_labels(shown["from_model"], shown["from_seed"], several),
        second=_labels(shown["to_model"], shown["to_seed"], several),
    )
    items = sorted({*labelled["first"], *labelled["second"]})
    modes = list(labelled["mode"].unique())
    figure = new_figure((0.8 + _INCHES_A_ROW * max(3, len(items))) * len(modes) + 0.4)
    rows = figure.subplots(len(modes), 2, squeeze=False, sharex=True)
    for mode, panels in zip(modes, rows, strict=True):
        for panel, direction in zip(panels, DIRECTIONS, strict=True):
            part = labelled[(labelled["mode"] == mode) & (labelled["direction"] == direction)]
            wide = part.pivot_table(index="first", columns="second", values="rate").reindex(index=items, columns=items)
            grid = wide.to_numpy(dtype=np.float64)
            image = _draw_matrix(panel, grid, items, items, SEQUENTIAL, bounds=(0.0, 1.0), unit=100.0)
            panel.set_title(f"{mode}: {DIRECTION_LABELS[direction]}")
            panel.tick_params(labelbottom=mode == modes[-1])
        panels[0].set_ylabel("found on")
    for panel in rows[-1]:
        panel.set_xlabel("put on")
    figure.colorbar(image, ax=rows.ravel().tolist(), aspect=30, label="flipped [share]")
    return figure


def _symmetric(pairs: pd.DataFrame, items: Sequence[str]) -> FloatArray:
    """Mean correlation of every pair, both ways round; 1 with itself."""
    place = {item: index for index, item in enumerate(items)}
    matrix = np.full((len(items), len(items)), np.nan)
    means = pairs.groupby(["first", "second"], as_index=False)["spearman"].mean()
    for first, second, rho in zip(means["first"], means["second"], means["spearman"], strict=True):
        matrix[place[first], place[second]] = matrix[place[second], place[first]] = rho
    np.fill_diagonal(matrix, 1.0)
    return matrix


def _draw_matrix(
    axes: Axes,
    matrix: FloatArray,
    rows: Sequence[str],
    columns: Sequence[str],
    colours: Colormap,
    *,
    bounds: tuple[float, float],
    unit: float,
) -> AxesImage:
    image = axes.imshow(
        np.ma.masked_invalid(matrix),
        cmap=colours,
        vmin=bounds[0],
        vmax=bounds[1],
        aspect="auto",
        interpolation="nearest",
    )
    axes.set_facecolor("#f3f4f6")
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set_xticks(range(len(columns)), list(columns), rotation=30, ha="right")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if len(rows) <= _MOST_NUMBERED:
        for (row, column), value in np.ndenumerate(matrix):
            if np.isfinite(value):
                text = f"{value:.2f}" if unit == 1.0 else f"{unit * value:.0f}%"
                _write(axes, column, row, text, dark=bool(abs(value) > 0.55))
    return image


def _write(axes: Axes, x: int, y: int, text: str, *, dark: bool) -> None:
    axes.text(x, y, text, ha="center", va="center", fontsize=small_font(), color="white" if dark else INK)


def _labels(models: pd.Series, seeds: pd.Series, several: bool) -> pd.Series:
    return models + ", seed " + seeds.astype(str) if several else models


def _worded(text: str) -> Figure:
    figure = new_figure(1.2)
    say(figure.subplots(), text)
    return figure
