"""Thresholds on the predicted probability, chosen on inner validation patients: never on those that are scored."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

HALF = 0.5
"""The threshold of the attack: a stay is predicted to die when the probability of death exceeds it."""

_Array = npt.NDArray[Any]


def f1_threshold(labels: _Array, probability: _Array) -> float:
    """The threshold with the largest F1; see `_best_cut`."""
    return _best_cut(labels, probability, lambda tp, fp, deaths: 2 * tp / (tp + fp + deaths))


def score1_threshold(labels: _Array, probability: _Array) -> float:
    """The threshold with the largest Score1 = min(sensitivity, precision) of the PhysioNet/CinC Challenge 2012."""
    return _best_cut(labels, probability, lambda tp, fp, deaths: np.minimum(tp / deaths, tp / (tp + fp)))


def _best_cut(labels: _Array, probability: _Array, score: Callable[[_Array, _Array, int], _Array]) -> float:
    """The best threshold t of the decision p > t, half-way between two neighbouring predictions.

    labels (0 or 1), probability: (stays,). Of equally good ones the largest, which predicts the fewest deaths. NaN
    without a death.
    """
    deaths = int(labels.sum())
    if not deaths:
        return float("nan")
    values, place = np.unique(probability, return_inverse=True)
    dead = np.bincount(place, weights=labels, minlength=values.size)[::-1].cumsum()
    positive = np.bincount(place, minlength=values.size)[::-1].cumsum()
    best = values.size - 1 - int(np.argmax(score(dead, positive - dead, deaths)))
    lowest = 0.0 if values[0] > 0 else -1.0
    below = values[best - 1] if best else lowest
    between = (values[best] + below) / 2
    # Two neighbouring floats have nothing between them.
    return float(between if between < values[best] else below)
