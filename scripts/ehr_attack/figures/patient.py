"""The figure of one attacked stay: what was recorded, what the attack changed, and by how much.

It shows a single patient's record and therefore belongs into the run's private folder, for its owner only.
"""

import math
from collections.abc import Sequence
from functools import reduce
from operator import and_
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ehr_attack.attacks.selection import successes
from ehr_attack.directions import DIRECTIONS
from ehr_attack.errors import UserError
from ehr_attack.figures import maps, names
from ehr_attack.figures.saving import save_private_figure
from ehr_attack.figures.style import (
    DIRECTION_COLOURS,
    DIRECTION_LABELS,
    DIVERGING,
    INK,
    MUTED,
    extra_height,
    new_figure,
    say,
    small_font,
    unit_text,
    use_style,
)
from ehr_attack.variables import Variable, load_variables

_KEYS = ["seed", "fold", "stay_id", "lambda"]
_SIZES = ["n_changed", "l1"]
_OF_STAY = ["mode", *_KEYS, "linf", "n_changed", "flipped", "feasible", "selected"]
_TRACE_HEIGHT = 0.62


def plot_patient(
    *,
    model: str,
    mode: str,
    outcomes: Sequence[str | Path],
    perturbations: Sequence[str | Path],
    features: str | Path,
    profile: str,
    kind: str = "mimic3",
    out_dir: str | Path,
    dpi: int,
    style: str,
) -> None:
    """Write the figures named by `names.patient_figures(model, mode)` into `out_dir` (mode 0700, files 0600).

    One figure a direction, of the stay whose selected attack changed the median number of cells. No
    identifier and no date appears in it. outcomes, perturbations: the merged tables of all seeds and folds;
    features: the run's. Raises UserError for an unknown style or profile or an unreadable table.
    """
    variables = load_variables(profile, kind)
    attacks = _read(outcomes, [*_KEYS, "direction", *_SIZES, "p_clean", "p_adversarial"], selected=True)
    with use_style(style):
        stems = names.patient_figures(model, mode)
        for direction, stem in zip(DIRECTIONS, stems, strict=True):
            attack = median_attack(attacks, direction)
            if attack is None:
                figure = _nothing_to_show(direction)
            else:
                # Modes without a lambda leave it null.
                key = {name: attack[name] for name in _KEYS if pd.notna(attack[name])}
                record = _read([features], stay_id=attack["stay_id"])
                stay = {name: attack[name] for name in ("seed", "fold", "stay_id")}
                tries = _read(outcomes, _OF_STAY, **stay)
                found = tries[successes(tries)]
                figure = patient_figure(attack, _read(perturbations, **key), record, found, variables)
            title = f"One attacked stay, {direction}, model {model}, attack {mode}"
            save_private_figure(figure, Path(out_dir), stem, dpi=dpi, title=title)


def median_attack(attacks: pd.DataFrame, direction: str) -> pd.Series | None:
    """The one of the selected `attacks` of `direction` with the median number of changed cells (ties: L1)."""
    rows = attacks[attacks["direction"] == direction]
    if rows.empty:
        return None
    return rows.sort_values([*_SIZES, "seed", "stay_id"]).iloc[(len(rows) - 1) // 2]


def patient_figure(
    attack: pd.Series,
    changes: pd.DataFrame,
    record: pd.DataFrame,
    found: pd.DataFrame,
    variables: Sequence[Variable],
) -> Figure:
    """Draw one attack over the record that it changed, and below it all successful attacks on the stay.

    attack: a row of OUTCOMES; changes: its PERTURBATIONS rows; record: the stay's features; found: the OUTCOMES rows of
    the stay's successful attacks. Colour is the change in scaled units, the thin line the record (dots: recorded hours,
    each row on its own scale), and the text at the right the largest change of a variable in its clinical unit.
    """
    hours = record[record["hour"] >= 0].sort_values("hour").set_index("hour")
    last = int(max(hours.index.max(), changes["hour"].max() if len(changes) else 0))
    hours = hours.reindex(range(last + 1))
    grid = np.zeros((len(variables), last + 1))
    row_of = {variable.name: row for row, variable in enumerate(variables)}
    known = changes[changes["variable"].isin(row_of)]
    grid[known["variable"].map(row_of), known["hour"]] = known["delta_scaled"]
    figure = new_figure(6.0 + extra_height(variables))
    parts = figure.subplot_mosaic([["map", "map"], ["sizes", "key"]], height_ratios=[3.4, 1.15], width_ratios=[1, 1.1])
    axes = parts["map"]
    top = float(np.abs(grid).max()) or 1.0
    image = maps.draw_map(axes, grid, variables, DIVERGING, top=top, bottom=-top)
    for row, variable in enumerate(variables):
        _trace(axes, row, hours[variable.name].to_numpy(dtype=np.float64))
        _largest_change(axes, row, variable, known[known["variable"] == variable.name], hours)
    _above(axes, 1.02, "largest change, at hour h")
    axes.set_xlabel("Hour since ICU admission (dot: recorded in that hour)")
    clean, attacked = attack["p_clean"], attack["p_adversarial"]
    axes.set_title(f"One stay, {DIRECTION_LABELS[attack['direction']]}: predicted risk {clean:.0%} to {attacked:.0%}\n")
    _above(axes, 0.0, f"{len(changes):,} of {grid.size:,} cells changed")
    parts["key"].set_axis_off()
    bar = figure.colorbar(image, cax=parts["key"].inset_axes((0.1, 0.72, 0.8, 0.08)), orientation="horizontal")
    bar.outline.set_visible(False)
    bar.set_label("Change [share of the variable's range]")
    _sizes_over_lambda(parts["sizes"], found, grid.size, DIRECTION_COLOURS[attack["direction"]])
    return figure


def _sizes_over_lambda(axes: Axes, found: pd.DataFrame, n_cells: int, colour: str) -> None:
    """Magnitude against sparsity of the stay's successful attacks, along lambda; the selected one in a ring."""
    found = found.sort_values("lambda")
    share, size = 100 * found["n_changed"] / n_cells, found["linf"]
    axes.plot(share, size, "o-", color=colour, markersize=3, linewidth=0.8)
    chosen = found["selected"].to_numpy(dtype=bool)
    axes.plot(share[chosen], size[chosen], "o", markersize=9, markerfacecolor="none", color=INK, label="selected")
    known = found[found["lambda"].notna()]
    for index in dict.fromkeys([*known.index[:1], *known.index[-1:]]):
        axes.annotate(
            f"λ = {known.loc[index, 'lambda']:.2g}",
            (share[index], size[index]),
            xytext=(5, 5),
            textcoords="offset points",
            fontsize=small_font(),
            color=MUTED,
        )
    axes.set(xlabel="Changed cells, PP [% of all]", ylabel="Largest change, MP\n[scaled units]")
    axes.margins(x=0.12, y=0.25)
    axes.grid()
    axes.legend(loc="best")


def _above(axes: Axes, x: float, text: str) -> None:
    """A remark above the map, from `x` (share of its width) to the right."""
    axes.annotate(
        text, (x, 1.0), xytext=(0, 4), xycoords="axes fraction", textcoords="offset points",
        fontsize=small_font(), color=MUTED, va="bottom",
    )  # fmt: skip


def _trace(axes: Axes, row: int, values: npt.NDArray[np.float64]) -> None:
    """The recorded values of one variable as a thin line inside its row."""
    seen = np.flatnonzero(np.isfinite(values))
    if not len(seen):
        return
    low, high = values[seen].min(), values[seen].max()
    place = 0.5 if high == low else (values[seen] - low) / (high - low)
    height = row - (place - 0.5) * _TRACE_HEIGHT * np.ones(len(seen))
    axes.plot(seen, height, color=MUTED, linewidth=0.5, alpha=0.7)
    axes.plot(seen, height, ".", color=INK, markersize=1.4)


def _largest_change(axes: Axes, row: int, variable: Variable, changes: pd.DataFrame, hours: pd.DataFrame) -> None:
    """`h 46: 1.1 → 1.6 mg/dL` where a value was recorded, `h 46: +0.5 mg/dL (imputed)` where none was."""
    if changes.empty:
        return
    change = changes.iloc[int(changes["delta_scaled"].abs().to_numpy().argmax())]
    digits = max(0, -math.floor(math.log10(variable.precision)))
    hour, delta, unit = int(change["hour"]), float(change["delta_clinical"]), unit_text(variable)
    before = float(hours[variable.name].to_numpy()[hour])
    if math.isfinite(before):
        text = f"h {hour}: {before:.{digits}f} → {before + delta:.{digits}f} {unit}"
    else:
        signed = f"{delta:+.{digits + 1}f} {unit}".strip().replace("-", "\N{MINUS SIGN}")
        text = f"h {hour}: {signed} (imputed)"
    axes.annotate(
        text,
        (1.02, row),
        xycoords=("axes fraction", "data"),
        fontsize=small_font(),
        va="center",
        annotation_clip=False,
    )


def _nothing_to_show(direction: str) -> Figure:
    figure = new_figure(4.1)
    axes = figure.subplots()
    say(axes, "No attack succeeded in this direction:\nthere is no stay to show.")
    axes.set_title(f"One stay, {DIRECTION_LABELS[direction]}")
    return figure


def _read(paths: Sequence[str | Path], columns: list[str] | None = None, **wanted: Any) -> pd.DataFrame:
    """The rows of Parquet files whose columns equal `wanted`; no others are brought into memory."""
    rows = reduce(and_, (pc.field(name) == value for name, value in wanted.items()))
    try:
        parts = [pq.read_table(path, columns=columns, filters=rows, partitioning=None) for path in paths]
    except OSError as error:
        raise UserError(f"{error}: not a readable table. Run snakemake again to make it anew.") from error
    return pd.concat([part.to_pandas() for part in parts], ignore_index=True)
