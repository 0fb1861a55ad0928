"""How well a model predicts on held-out patients: metrics with intervals over patients, and curves."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import precision_recall_curve, roc_curve

from ehr_attack.decisions import fit_decisions, scored_stays
from ehr_attack.metrics import METRICS, Scored, weighted_metrics
from ehr_attack.resampling import patient_weights, percentile_interval

_GRID = np.linspace(0.0, 1.0, 101)
_CALIBRATION_BINS = 10
_SEED = 20180819

_Array = npt.NDArray[Any]


def evaluate_predictions(predictions: pd.DataFrame, stays: pd.DataFrame, resamples: int) -> pd.DataFrame:
    """Metrics per seed, for each fold and pooled over folds (fold null), on the held-out (`test`) stays.

    predictions: canonical predictions of one model, all seeds and folds; stays: with `stay_id`, `subject_id`.
    `resamples`: bootstrap resamples of patients for the 95 % intervals. A metric is NaN with one class only.
    Pooled or not, a stay is judged by the thresholds and the recalibration of the fold that holds it out; the
    intervals take these as given. Returns a frame with the columns of the METRICS schema.
    """
    decisions = fit_decisions(predictions)
    rows: list[dict[str, Any]] = []
    for (model, seed), of_seed in held_out_stays(predictions, stays).groupby(["model", "seed"], sort=True):
        scored, folds = scored_stays(of_seed, decisions), of_seed["fold"].to_numpy()
        subjects = of_seed["subject_id"].to_numpy()
        parts: list[tuple[int | None, _Array]] = [(None, np.full(folds.size, True))]
        parts += [(fold, folds == fold) for fold in np.unique(folds)]
        for fold, part in parts:
            label = {"model": model, "seed": seed, "fold": fold}
            rows += [label | row for row in measured(scored.part(part), subjects[part], resamples)]
    return pd.DataFrame(rows).astype({"fold": "Int32"})


def held_out_stays(predictions: pd.DataFrame, stays: pd.DataFrame) -> pd.DataFrame:
    """The `test` rows of the predictions, with the columns of `stays` beside them."""
    test = predictions[predictions["split"] == "test"]
    return test.merge(stays, on="stay_id", validate="many_to_one")


def measured(scored: Scored, subject_ids: _Array, resamples: int) -> list[dict[str, Any]]:
    """One row a metric of METRICS: metric, value, low, high, n_stays, n_patients, n_deaths.

    subject_ids: (stays,); the interval is over patients, see `evaluate_predictions`.
    """
    labels = scored.labels
    counts = {
        "n_stays": labels.size,
        "n_patients": np.unique(subject_ids).size,
        "n_deaths": int(labels.sum()),
    }
    value = low = high = np.full(len(METRICS), np.nan)
    if labels.min() != labels.max():
        value = weighted_metrics(scored, np.ones((1, labels.size)))[0]
        low, high = percentile_interval(weighted_metrics(scored, patient_weights(subject_ids, resamples, _SEED)))
    return [
        {"metric": metric, "value": value[i], "low": low[i], "high": high[i]} | counts
        for i, metric in enumerate(METRICS)
    ]


def model_curves(predictions: pd.DataFrame) -> pd.DataFrame:
    """ROC, precision-recall and calibration curves of the pooled held-out predictions of each seed.

    ROC and precision-recall are read on a grid of 101 points, so that no single patient's score can be read off.
    Calibration: observed share of deaths (y) against mean prediction (x) in tenths of the predictions; `recalibrated`:
    the same after recalibration, left out where a fold could not be recalibrated.
    """
    decisions = fit_decisions(predictions)
    parts: list[pd.DataFrame] = []
    for (model, seed), group in predictions[predictions["split"] == "test"].groupby(["model", "seed"], sort=True):
        scored = scored_stays(group, decisions)
        labels, p_death = scored.labels, scored.p_death
        curves = {"calibration": _calibration(labels, p_death)}
        if not np.isnan(scored.p_recalibrated).any():
            curves["recalibrated"] = _calibration(labels, scored.p_recalibrated)
        if 0 < labels.sum() < labels.size:
            curves |= {"roc": _roc(labels, p_death), "pr": _precision_recall(labels, p_death)}
        for curve, (x, y) in curves.items():
            parts.append(pd.DataFrame({"model": model, "seed": seed, "curve": curve, "x": x, "y": y}))
    return pd.concat(parts, ignore_index=True)


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
