"""How well a model predicts on held-out patients: metrics with intervals over patients, and curves."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn import config_context
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from ehr_attack.resampling import patient_weights, percentile_interval

METRICS = ("auroc", "auprc", "f1", "precision", "recall", "accuracy", "brier")
"""Decisions (f1 to accuracy) are taken at probability 0.5, as the attack does."""

_GRID = np.linspace(0.0, 1.0, 101)
_THRESHOLD = 0.5
_CALIBRATION_BINS = 10
_SEED = 20180819

_Array = npt.NDArray[Any]


def evaluate_predictions(predictions: pd.DataFrame, stays: pd.DataFrame, resamples: int) -> pd.DataFrame:
    """Metrics per seed, for each fold and pooled over folds (fold null), on the held-out (`test`) stays.

    predictions: canonical predictions of one model, all seeds and folds; stays: with `stay_id`, `subject_id`.
    `resamples`: bootstrap resamples of patients for the 95 % intervals. A metric is NaN with one class only.
    Returns a frame with the columns of the METRICS schema.
    """
    held_out = _held_out(predictions, stays)
    rows: list[dict[str, Any]] = []
    for (model, seed), of_seed in held_out.groupby(["model", "seed"], sort=True):
        groups: list[tuple[int | None, pd.DataFrame]] = [(None, of_seed)]
        groups += [(fold, of_seed[of_seed["fold"] == fold]) for fold in sorted(of_seed["fold"].unique())]
        for fold, group in groups:
            counts = {
                "n_stays": len(group),
                "n_patients": group["subject_id"].nunique(),
                "n_deaths": int(group["label"].sum()),
            }
            for metric, (value, low, high) in _measure(group, resamples).items():
                label = {"model": model, "seed": seed, "fold": fold, "metric": metric}
                rows.append(label | {"value": value, "low": low, "high": high} | counts)
    return pd.DataFrame(rows).astype({"fold": "Int32"})


def model_curves(predictions: pd.DataFrame) -> pd.DataFrame:
    """ROC, precision-recall and calibration curves of the pooled held-out predictions of each seed.

    ROC and precision-recall are read on a grid of 101 points, so that no single patient's score can be read off.
    Calibration: observed share of deaths (y) against mean prediction (x) in tenths of the predictions.
    """
    parts: list[pd.DataFrame] = []
    for (model, seed), group in predictions[predictions["split"] == "test"].groupby(["model", "seed"], sort=True):
        labels, p_death = group["label"].to_numpy(), group["p_death"].to_numpy()
        curves = {"calibration": _calibration(labels, p_death)}
        if 0 < labels.sum() < labels.size:
            curves |= {"roc": _roc(labels, p_death), "pr": _precision_recall(labels, p_death)}
        for curve, (x, y) in curves.items():
            parts.append(pd.DataFrame({"model": model, "seed": seed, "curve": curve, "x": x, "y": y}))
    return pd.concat(parts, ignore_index=True)


def _held_out(predictions: pd.DataFrame, stays: pd.DataFrame) -> pd.DataFrame:
    test = predictions[predictions["split"] == "test"]
    return test.merge(stays[["stay_id", "subject_id"]], on="stay_id", validate="many_to_one")


def _measure(group: pd.DataFrame, resamples: int) -> dict[str, tuple[float, float, float]]:
    """Value and 95 % interval of every metric."""
    labels, p_death = group["label"].to_numpy(), group["p_death"].to_numpy()
    if labels.min() == labels.max():
        return dict.fromkeys(METRICS, (np.nan, np.nan, np.nan))
    weights = np.stack(list(patient_weights(group["subject_id"].to_numpy(), resamples, _SEED)))
    values = weighted_metrics(labels, p_death, np.ones((1, labels.size)))[0]
    low, high = percentile_interval(weighted_metrics(labels, p_death, weights))
    return {name: (values[i], low[i], high[i]) for i, name in enumerate(METRICS)}


def weighted_metrics(labels: _Array, p_death: _Array, weights: _Array) -> npt.NDArray[np.float64]:
    """The metrics under each of several weightings of the stays, (weightings, metrics), in the order of METRICS.

    labels, p_death: (stays,); weights: (weightings, stays). NaN where a weighting leaves one class only.
    """
    dead, positive = labels == 1, p_death > _THRESHOLD
    deaths, survivors = weights @ dead, weights @ ~dead
    true_positive, false_positive = weights @ (dead & positive), weights @ (~dead & positive)
    precision = true_positive / np.maximum(true_positive + false_positive, 1)
    recall = true_positive / np.maximum(deaths, 1)
    total = deaths + survivors
    columns = {
        "f1": 2 * true_positive / np.maximum(true_positive + false_positive + deaths, 1),
        "precision": precision,
        "recall": recall,
        "accuracy": (true_positive + survivors - false_positive) / total,
        "brier": weights @ np.square(p_death - labels) / total,
    }
    both = (deaths > 0) & (survivors > 0)
    for name, score in (("auroc", roc_auc_score), ("auprc", average_precision_score)):
        columns[name] = np.full(len(weights), np.nan)
        # Thousands of calls on the same, already checked arrays: the checks would take most of the time.
        with config_context(assume_finite=True, skip_parameter_validation=True):
            columns[name][both] = [score(labels, p_death, sample_weight=weight) for weight in weights[both]]
    table = np.column_stack([columns[name] for name in METRICS])
    table[~both] = np.nan
    return table


def _roc(labels: _Array, p_death: _Array) -> tuple[_Array, _Array]:
    false_positive, true_positive, _ = roc_curve(labels, p_death)
    return _GRID, np.interp(_GRID, false_positive, true_positive)


def _precision_recall(labels: _Array, p_death: _Array) -> tuple[_Array, _Array]:
    precision, recall, _ = precision_recall_curve(labels, p_death)
    # Between two achievable recalls the higher one's precision counts: interpolating a precision is not sound.
    at_least = np.searchsorted(recall[::-1], _GRID, side="left").clip(max=recall.size - 1)
    return _GRID, precision[::-1][at_least]


def _calibration(labels: _Array, p_death: _Array) -> tuple[_Array, _Array]:
    bins = min(_CALIBRATION_BINS, max(1, labels.size // 10))
    parts = np.array_split(np.argsort(p_death, kind="stable"), bins)
    return (
        np.array([p_death[part].mean() for part in parts]),
        np.array([labels[part].mean() for part in parts]),
    )
