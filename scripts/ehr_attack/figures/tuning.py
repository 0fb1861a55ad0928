"""The figure of a hyperparameter search: how the loss fell, and what each hyperparameter did."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ehr_attack.figures import names
from ehr_attack.figures.saving import save_figure
from ehr_attack.figures.style import FAINT, INK, MODEL_COLOUR, MUTED, new_figure, say, use_style
from ehr_attack.storage import read_frames

_LABELS = {"lr": "Learning rate", "weight_decay": "Weight decay", "batch_size": "Batch size"}
_LOGARITHMIC = ("lr", "weight_decay")


def plot_tuning(*, model: str, trials: Sequence[str | Path], out_dir: str | Path, dpi: int, style: str) -> None:
    """Write the figure named by `names.tuning_figures(model)` as SVG and PNG into `out_dir`.

    trials: its TRIALS tables, one a fold and seed. Raises UserError for an unknown style or an unreadable table.
    """
    table = read_frames(trials)
    (stem,) = names.tuning_figures(model)
    with use_style(style):
        save_figure(tuning_figure(table), Path(out_dir), stem, dpi=dpi, title=f"Hyperparameter search, model {model}")


def tuning_figure(trials: pd.DataFrame) -> Figure:
    """Loss by trial with the best so far, and loss by each searched hyperparameter; rings are the chosen trials.

    trials: a TRIALS table of one or more searches, one a fold and seed.
    """
    searched = [name for name in _LABELS if trials[name].notna().any()]
    figure = new_figure(2.8)
    course, *slices = figure.subplots(1, 1 + len(searched), sharey=True, squeeze=False)[0]
    runs = trials.assign(run=trials["seed"].astype(str) + "/" + trials["fold"].astype(str))
    if not np.isfinite(runs["validation_loss"]).any():
        say(course, "Every trial diverged.")
        return figure
    _course(course, runs)
    for axes, name in zip(slices, searched, strict=True):
        _slice(axes, runs, name)
    figure.legend(*course.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def _course(axes: Axes, runs: pd.DataFrame) -> None:
    """The trials of all searches in the order they were made, and the lowest loss so far of each search."""
    _points(axes, runs, "trial")
    for number, (_, run) in enumerate(runs.groupby("run", sort=True)):
        complete = run["validation_loss"].where(run["state"] == "complete")
        label = "lowest so far, a line a fold" if number == 0 else None
        lowest = complete.cummin().ffill()
        axes.step(
            run["trial"],
            lowest,
            where="post",
            color=MODEL_COLOUR,
            alpha=0.6,
            linewidth=0.9,
            label=label,
        )
    axes.set(title="Search", xlabel="Trial", ylabel="Log loss, inner validation")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    # Trials that went wrong would hide the differences between the others.
    complete = runs.loc[runs["state"] == "complete", "validation_loss"]
    low, high = complete.min(), complete.quantile(0.9)
    margin = 0.08 * max(high - low, 1e-3)
    axes.set_ylim(low - margin, high + 3 * margin)


def _slice(axes: Axes, runs: pd.DataFrame, name: str) -> None:
    """The loss of every trial against one hyperparameter."""
    if name in _LOGARITHMIC:
        axes.set_xscale("log")
    else:
        values = sorted(runs[name].dropna().unique())
        axes.set_xscale("log", base=2)
        axes.set_xticks(values, [f"{value:g}" for value in values])
        axes.minorticks_off()
    _points(axes, runs, name)
    axes.set(title=_LABELS[name], xlabel=_LABELS[name])


def _points(axes: Axes, runs: pd.DataFrame, x: str) -> None:
    for state, marker, colour in (("pruned", "x", MUTED), ("complete", "o", MODEL_COLOUR)):
        part = runs[runs["state"] == state]
        axes.plot(part[x], part["validation_loss"], marker, color=colour, markersize=3, alpha=0.6, label=state)
    chosen = runs[runs["chosen"].astype(bool)]
    axes.plot(
        chosen[x], chosen["validation_loss"], "o", markersize=6, markerfacecolor="none", color=INK, label="chosen"
    )
    axes.grid(axis="y", color=FAINT)
