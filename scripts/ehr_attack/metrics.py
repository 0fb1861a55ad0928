"""Metrics of predictions under many weightings of the stays at once: what bootstrap intervals are made of."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ehr_attack.calibration import intercepts, logistic_fits, logit

_DISCRIMINATION = ("auroc", "auprc")
_DECISION = ("f1", "precision", "recall", "specificity", "accuracy")
_CALIBRATION = ("brier", "calibration_intercept", "calibration_slope")
AT_HALF, RECALIBRATED = "_half", "_recalibrated"
"""Suffixes: decisions at probability 0.5, and probabilities recalibrated on validation patients."""

METRICS = (
    *_DISCRIMINATION,
    *_DECISION,
    "score1",
    *_CALIBRATION,
    *(f"{name}{RECALIBRATED}" for name in _CALIBRATION),
    *(f"{name}{AT_HALF}" for name in _DECISION),
)
"""Without a suffix, decisions (f1 to accuracy) are taken where F1 was largest on the fold's inner validation patients
and score1 where it was; calibration is that of the model's own probabilities."""

# Weightings measured together: enough to be fast, few enough that the arrays stay in memory.
_BLOCK_CELLS = 2_000_000

_Array = npt.NDArray[Any]
_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scored:
    """Stays with their outcome, predictions and decisions; every array is (stays,).

    labels: 0 or 1; p_death: as the model gave it; p_recalibrated: NaN where it could not be recalibrated; positive,
    positive_score1, positive_half: bool, predicted to die at the threshold of largest F1 and of largest Score1 on
    validation patients and at probability 0.5.
    """

    labels: _Array
    p_death: _Floats
    p_recalibrated: _Floats
    positive: npt.NDArray[np.bool_]
    positive_score1: npt.NDArray[np.bool_]
    positive_half: npt.NDArray[np.bool_]

    def part(self, rows: _Array) -> "Scored":
        """The stays at `rows` (indices or a mask)."""
        return Scored(**{name: values[rows] for name, values in vars(self).items()})


def weighted_metrics(scored: Scored, weights: Iterable[_Array]) -> _Floats:
    """The metrics under each of several weightings of the stays, (weightings, metrics), in the order of METRICS.

    weights: each (stays,), how often each stay counts; taken a block at a time, never all at once. NaN where a
    weighting leaves one class only.
    """
    return np.concatenate([_measure(scored, block) for block in _blocks(weights, len(scored.labels))])


def _blocks(weights: Iterable[_Array], stays: int) -> Iterator[_Floats]:
    rows, left = max(1, _BLOCK_CELLS // max(1, stays)), iter(weights)
    while block := list(itertools.islice(left, rows)):
        yield np.stack(block).astype(np.float64)


def _measure(scored: Scored, weights: _Floats) -> _Floats:
    dead = scored.labels == 1
    columns = dict(zip(_DISCRIMINATION, _rank_metrics(dead, scored.p_death, weights), strict=True))
    columns |= _decision_metrics(dead, scored.positive, weights)
    at_score1 = _decision_metrics(dead, scored.positive_score1, weights)
    columns["score1"] = np.minimum(at_score1["recall"], at_score1["precision"])
    columns |= _with_suffix(_decision_metrics(dead, scored.positive_half, weights), AT_HALF)
    columns |= _calibration_metrics(dead, scored.p_death, weights)
    columns |= _with_suffix(_calibration_metrics(dead, scored.p_recalibrated, weights), RECALIBRATED)
    table = np.column_stack([columns[name] for name in METRICS])
    deaths = weights @ dead
    table[(deaths == 0) | (deaths == weights.sum(axis=1))] = np.nan
    return table


def _rank_metrics(dead: npt.NDArray[np.bool_], p_death: _Floats, weights: _Floats) -> tuple[_Floats, _Floats]:
    """AUROC (ties count half) and average precision, each (weightings,)."""
    order = np.argsort(-p_death, kind="stable")
    last_of_ties = np.append(np.diff(p_death[order]) != 0, True)
    sorted_weights, sorted_dead = weights[:, order], dead[order]
    true_positive = (sorted_weights * sorted_dead).cumsum(axis=1)[:, last_of_ties]
    positive = sorted_weights.cumsum(axis=1)[:, last_of_ties]
    false_positive = positive - true_positive
    found = np.diff(true_positive, axis=1, prepend=0.0)
    missed = np.diff(false_positive, axis=1, prepend=0.0)
    deaths, survivors = true_positive[:, -1], false_positive[:, -1]
    # A survivor is beaten by every death above it, and by half of those that it is tied with.
    pairs = (missed * (true_positive - found / 2)).sum(axis=1)
    precision = true_positive / np.where(positive > 0, positive, 1.0)
    return (
        pairs / np.maximum(deaths * survivors, 1.0),
        (found * precision).sum(axis=1) / np.maximum(deaths, 1.0),
    )


def _decision_metrics(
    dead: npt.NDArray[np.bool_], positive: npt.NDArray[np.bool_], weights: _Floats
) -> dict[str, _Floats]:
    """Metrics of a decision, (weightings,) each; a precision without a predicted death is 0."""
    deaths, survivors = weights @ dead, weights @ ~dead
    true_positive, false_positive = weights @ (dead & positive), weights @ (~dead & positive)
    return {
        "f1": 2 * true_positive / np.maximum(true_positive + false_positive + deaths, 1),
        "precision": true_positive / np.maximum(true_positive + false_positive, 1),
        "recall": true_positive / np.maximum(deaths, 1),
        "specificity": 1.0 - false_positive / np.maximum(survivors, 1),
        "accuracy": (true_positive + survivors - false_positive) / np.maximum(deaths + survivors, 1),
    }


def _calibration_metrics(dead: npt.NDArray[np.bool_], probability: _Floats, weights: _Floats) -> dict[str, _Floats]:
    if np.isnan(probability).any():
        return {name: np.full(len(weights), np.nan) for name in _CALIBRATION}
    labels, score = dead.astype(np.float64), logit(probability)
    return {
        "brier": weights @ np.square(probability - labels) / np.maximum(weights.sum(axis=1), 1),
        "calibration_intercept": intercepts(labels, score, weights),
        "calibration_slope": logistic_fits(labels, score, weights)[1],
    }


def _with_suffix(columns: Mapping[str, _Floats], suffix: str) -> dict[str, _Floats]:
    return {f"{name}{suffix}": values for name, values in columns.items()}
