"""How well a model predicts on held-out patients: metrics with intervals over patients, and curves."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    brier_score_loss,
    f1_score,
    precision_recall_curve,
    precision_score,
    recall_score,
    roc_auc_score,
    roc_curve,
)

from ehr_attack.resampling import patient_weights, percentile_interval

_GRID = np.linspace(0.0, 1.0, 101)
_THRESHOLD = 0.5
_CALIBRATION_BINS = 10
_SEED = 20180819

_Array = npt.NDArray[Any]
_Metric = Callable[[_Array, _Array, _Array | None], float]


def _of_decision(score: Callable[..., float], **options: Any) -> _Metric:
    def metric(labels: _Array, p_death: _Array, weight: _Array | None) -> float:
        return float(score(labels, p_death > _THRESHOLD, sample_weight=weight, **options))

    return metric


def _of_score(score: Callable[..., float]) -> _Metric:
    def metric(labels: _Array, p_death: _Array, weight: _Array | None) -> float:
        return float(score(labels, p_death, sample_weight=weight))

    return metric


METRICS: Mapping[str, _Metric] = {
    "auroc": _of_score(roc_auc_score),
    "auprc": _of_score(average_precision_score),
    "f1": _of_decision(f1_score, zero_division=0.0),
    "precision": _of_decision(precision_score, zero_division=0.0),
    "recall": _of_decision(recall_score),
    "accuracy": _of_decision(accuracy_score),
    "brier": _of_score(brier_score_loss),
}
"""Metrics of (labels, probability of death, weights). Decisions are taken at probability 0.5, as the attack does."""


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
        groups += [(int(fold), part) for fold, part in of_seed.groupby("fold", sort=True)]
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
    labels, p_death = group["label"].to_numpy(), group["p_death"].to_numpy()
    if labels.min() == labels.max():
        return dict.fromkeys(METRICS, (np.nan, np.nan, np.nan))
    samples = np.full((resamples, len(METRICS)), np.nan)
    for index, weight in enumerate(patient_weights(group["subject_id"].to_numpy(), resamples, _SEED)):
        drawn = weight > 0
        if labels[drawn].min() < labels[drawn].max():
            samples[index] = [m(labels[drawn], p_death[drawn], weight[drawn]) for m in METRICS.values()]
    low, high = percentile_interval(samples)
    values = (metric(labels, p_death, None) for metric in METRICS.values())
    return {
        name: (value, float(low[i]), float(high[i]))
        for i, (name, value) in enumerate(zip(METRICS, values, strict=True))
    }


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
