"""Figures of one model: ROC, precision-recall, calibration and training curves."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ehr_attack.figures import names
from ehr_attack.figures.saving import save_figure
from ehr_attack.figures.style import FAINT, INK, MODEL_COLOUR, MUTED, RECALIBRATED_COLOUR, new_figure, say, use_style
from ehr_attack.figures.subgroups import subgroups_figure
from ehr_attack.storage import read_frame, read_frames
from ehr_attack.suppression import MINIMUM

_SMALL_SQUARE = (3.4, 0.45)
_SEED_LINES = ("-", "--", "-.", ":")
_REFERENCE: dict[str, Any] = {"color": MUTED, "linestyle": (0, (4, 3)), "linewidth": 0.8}


@dataclass(frozen=True)
class _Curve:
    """A kind of curve: its name in MODEL_CURVES, its labels, and the metric that sums it up."""

    name: str
    title: str
    x_label: str
    y_label: str
    metric: str
    metric_label: str
    marker: str | None = None
    colour: str = MODEL_COLOUR


_ROC = _Curve(
    "roc",
    "ROC curve",
    "False positive rate",
    "True positive rate (recall)",
    metric="auroc",
    metric_label="AUROC",
)
_PR = _Curve("pr", "Precision and recall", "Recall", "Precision", metric="auprc", metric_label="AUPRC")
_CALIBRATION = _Curve(
    "calibration",
    "Calibration",
    "Predicted probability of death",
    "Observed share of deaths",
    metric="brier",
    metric_label="Brier score",
    marker="o",
)
_RECALIBRATED = replace(
    _CALIBRATION,
    name="recalibrated",
    metric="brier_recalibrated",
    metric_label="recalibrated: Brier score",
    marker="s",
    colour=RECALIBRATED_COLOUR,
)


def plot_model(
    *,
    model: str,
    metrics: str | Path,
    subgroups: str | Path,
    curves: str | Path,
    histories: Sequence[str | Path],
    out_dir: str | Path,
    dpi: int,
    style: str,
) -> None:
    """Write the figures named by `names.model_figures(model)` as SVG and PNG into `out_dir`.

    metrics, subgroups, curves, histories: its METRICS, SUBGROUPS, MODEL_CURVES and (one a fold and seed) HISTORY
    tables. Raises UserError for an unknown style or an unreadable table.
    """
    scores, lines = read_frame(metrics), read_frame(curves)
    history = read_frames(histories) if histories else pd.DataFrame()
    with use_style(style):
        figures = (
            (roc_figure(lines, scores), "ROC curve"),
            (pr_figure(lines, scores), "Precision-recall curve"),
            (calibration_figure(lines, scores), "Calibration"),
            (subgroups_figure(read_frame(subgroups)), "Quality by subgroup"),
            (training_figure(history), "Training curves"),
        )
        for stem, (figure, title) in zip(names.model_figures(model), figures, strict=True):
            save_figure(figure, Path(out_dir), stem, dpi=dpi, title=f"{title}, model {model}")


def roc_figure(curves: pd.DataFrame, metrics: pd.DataFrame) -> Figure:
    """ROC curve of the pooled held-out predictions, one line a seed, with AUROC and its 95 % interval."""
    return _curve_figure(_ROC, curves, metrics, lambda axes: _diagonal(axes, "chance"))


def pr_figure(curves: pd.DataFrame, metrics: pd.DataFrame) -> Figure:
    """Precision against recall of the pooled held-out predictions; chance is the share of deaths."""
    deaths, stays = _outcomes(metrics)
    return _curve_figure(
        _PR,
        curves,
        metrics,
        lambda axes: axes.axhline(deaths / stays, label="chance (mortality)", **_REFERENCE),
    )


def calibration_figure(curves: pd.DataFrame, metrics: pd.DataFrame) -> Figure:
    """Observed share of deaths against the predicted probability in bins of at least ten held-out stays, before and
    after recalibration on validation patients."""
    return _curve_figure(_CALIBRATION, curves, metrics, lambda axes: _diagonal(axes, "perfect"), _RECALIBRATED)


def training_figure(history: pd.DataFrame) -> Figure:
    """Loss and validation AUROC over epochs: faint lines are folds, bold their mean, dots chosen epochs."""
    figure = new_figure(2.8)
    loss, auroc = figure.subplots(1, 2)
    if history.empty:
        say(loss, "This model is not trained in epochs.")
        auroc.set_axis_off()
        return figure
    runs = history.assign(run=history["seed"].astype(str) + "/" + history["fold"].astype(str))
    _epoch_lines(loss, runs, "train_loss", MUTED, "training (mean over folds)")
    _epoch_lines(loss, runs, "validation_loss", MODEL_COLOUR, "inner validation (mean over folds)")
    loss.set(title="Loss", xlabel="Epoch", ylabel="Class-balanced log loss")
    if runs["validation_auroc"].notna().any():
        _epoch_lines(auroc, runs, "validation_auroc", MODEL_COLOUR, "")
        auroc.set(title="Discrimination", xlabel="Epoch", ylabel="AUROC, inner validation")
    else:
        say(auroc, "AUROC undefined:\none class only in the inner validation.")
    figure.legend(*loss.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _epoch_lines(axes: Axes, runs: pd.DataFrame, column: str, colour: str, label: str) -> None:
    for _, run in runs.groupby("run", sort=True):
        axes.plot(run["epoch"], run[column], color=colour, alpha=0.3, linewidth=0.7)
    mean = runs.groupby("epoch")[column].mean()
    axes.plot(mean.index, mean, color=colour, label=label)
    if column != "train_loss":
        chosen = runs[runs["chosen"].astype(bool)]
        axes.plot(chosen["epoch"], chosen[column], "o", color=colour, markersize=3.5, label="chosen epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y")


def _curve_figure(
    curve: _Curve,
    curves: pd.DataFrame,
    metrics: pd.DataFrame,
    reference: Callable[[Axes], object],
    beside: _Curve | None = None,
) -> Figure:
    """Draw one kind of curve, and another `beside` it on the same axes; `reference` draws what a model without
    skill, or a perfect one, would show."""
    points = curves[curves["curve"] == curve.name].dropna(subset=["x", "y"])
    deaths, stays = _outcomes(metrics)
    if points.empty or deaths in (0, stays):
        return _worded(curve.title, "Undefined: the held-out stays\nhold one outcome only.")
    if min(deaths, stays - deaths) < MINIMUM:
        return _worded(curve.title, f"Fewer than {MINIMUM} deaths or survivors:\nwithheld to protect patients.")
    figure = new_figure(*_SMALL_SQUARE)
    axes = figure.subplots()
    reference(axes)
    for drawn in (curve, beside) if beside else (curve,):
        _seed_lines(axes, drawn, curves, metrics)
    axes.set(title=curve.title, xlabel=curve.x_label, ylabel=curve.y_label, aspect="equal")
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axes.grid()
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center")
    return figure


def _seed_lines(axes: Axes, curve: _Curve, curves: pd.DataFrame, metrics: pd.DataFrame) -> None:
    """One line a seed, with its score in the legend."""
    points = curves[curves["curve"] == curve.name].dropna(subset=["x", "y"])
    for (seed, line), dashes in zip(points.groupby("seed", sort=True), cycle(_SEED_LINES), strict=False):
        label = _score(metrics, curve, seed)
        axes.plot(line["x"], line["y"], color=curve.colour, linestyle=dashes, marker=curve.marker, label=label)


def _diagonal(axes: Axes, label: str) -> None:
    axes.plot([0, 1], [0, 1], label=label, **_REFERENCE)


def _score(metrics: pd.DataFrame, curve: _Curve, seed: object) -> str:
    """`AUROC 0.86 (0.83 to 0.89)` of the pooled held-out stays; the interval only where there is one."""
    rows = metrics[metrics["fold"].isna() & (metrics["metric"] == curve.metric) & (metrics["seed"] == seed)]
    several = f"seed {seed}: " if metrics["seed"].nunique() > 1 else ""
    if rows.empty or pd.isna(rows["value"].iloc[0]):
        return f"{several}{curve.metric_label} undefined"
    row = rows.iloc[0]
    interval = "" if pd.isna(row["low"]) else f" ({row['low']:.2f} to {row['high']:.2f})"
    return f"{several}{curve.metric_label} {row['value']:.2f}{interval}"


def _outcomes(metrics: pd.DataFrame) -> tuple[int, int]:
    """Deaths and stays among the pooled held-out stays."""
    pooled = metrics[metrics["fold"].isna()]
    return (0, 0) if pooled.empty else (int(pooled["n_deaths"].max()), int(pooled["n_stays"].max()))


def _worded(title: str, text: str) -> Figure:
    figure = new_figure(*_SMALL_SQUARE)
    axes = figure.subplots()
    say(axes, text)
    axes.set_title(title, color=INK)
    axes.patch.set_edgecolor(FAINT)
    return figure
