"""Calibration: logistic recalibration of predicted probabilities, and how far from calibrated they are.

Weak calibration in the sense of Van Calster et al. (BMC Medicine 2019, 17:230): of the model
logit P(death) = a + b logit(p), the slope is b (1 is perfect; below 1 the predictions are too extreme), and the
intercept is a with b held at 1 (0 is perfect; below 0 the predictions are too high). Fits are unpenalised.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit

_Array = npt.NDArray[Any]
_Floats = npt.NDArray[np.float64]

# Far below what a model means by 0 and 1, and far above where a logit in double precision loses its meaning.
_SMALLEST = 1e-15
_ITERATIONS, _TOLERANCE, _CLOSE, _FLAT = 60, 1e-9, 1e-6, 1e-12


def logit(probability: _Array) -> _Floats:
    """Log odds of probabilities, float64; 0 and 1 count as 1e-15 and 1 - 1e-15."""
    inside = np.clip(np.asarray(probability, dtype=np.float64), _SMALLEST, 1.0 - _SMALLEST)
    return np.asarray(np.log(inside) - np.log1p(-inside), dtype=np.float64)


def fit_recalibration(labels: _Array, probability: _Array) -> tuple[float, float]:
    """Intercept and slope of `recalibrated`, by unpenalised maximum likelihood; to be fitted on other patients than
    it is applied to.

    labels (0 or 1), probability: (stays,). NaN when there is no maximum: one class only, or predictions that separate
    the classes or do not differ.
    """
    intercept, slope = logistic_fits(labels, logit(probability), np.ones((1, labels.size)))
    return float(intercept[0]), float(slope[0])


def recalibrated(probability: _Array, intercept: _Array | float, slope: _Array | float) -> _Floats:
    """sigmoid(intercept + slope * logit(probability)), float64; the two may differ from stay to stay."""
    return np.asarray(expit(intercept + slope * logit(probability)), dtype=np.float64)


def logistic_fits(labels: _Array, score: _Floats, weights: _Array) -> tuple[_Floats, _Floats]:
    """Intercept and slope, each (weightings,), of the logistic regression of `labels` on `score`.

    labels, score: (stays,); weights: (weightings, stays), how often each stay counts. Newton's method on all
    weightings at once. NaN where the maximum likelihood is not attained.
    """
    design = np.stack([np.ones_like(score), score])
    squares = np.stack([np.ones_like(score), score, np.square(score)])
    target = weights @ (labels * design).T
    start = np.zeros((len(weights), 2))
    if len(weights) > 1:
        start += np.nan_to_num(
            _newton(target.mean(axis=0)[None], start[:1], weights.mean(axis=0)[None], design, squares)
        )
    fitted = _newton(target, start, weights, design, squares)
    fitted[_separated(labels, score, weights)] = np.nan
    return fitted[:, 0], fitted[:, 1]


def _separated(labels: _Array, score: _Floats, weights: _Array) -> npt.NDArray[np.bool_]:
    """Where (weightings,) one class lies wholly at or above the other, or is missing: no maximum is attained."""
    counted, dead = weights > 0, labels == 1
    lowest, highest = (
        [reduce(np.where(counted & of_class, score, empty), axis=1, initial=empty) for of_class in (dead, ~dead)]
        for reduce, empty in ((np.min, np.inf), (np.max, -np.inf))
    )
    return np.asarray((lowest[0] >= highest[1]) | (lowest[1] >= highest[0]))


def intercepts(labels: _Array, score: _Floats, weights: _Array) -> _Floats:
    """Calibration in the large, (weightings,): the intercept of the same regression with the slope held at 1.

    Arguments as in `logistic_fits`. NaN where a weighting leaves one class only.
    """
    deaths, total = weights @ labels, weights.sum(axis=1)
    both = (deaths > 0) & (deaths < total)
    intercept, step = np.zeros(len(weights)), np.zeros(len(weights))
    for _ in range(_ITERATIONS):
        expected = expit(intercept[:, None] + score)
        gap = deaths - np.einsum("ws,ws->w", weights, expected)
        curvature = np.einsum("ws,ws->w", weights, expected * (1.0 - expected))
        step = np.where(both, gap / np.maximum(curvature, _SMALLEST), 0.0).clip(-1.0, 1.0)
        intercept += step
        if np.abs(step).max(initial=0.0) < _TOLERANCE:
            break
    return np.where(both & (np.abs(step) < _CLOSE), intercept, np.nan)


def _newton(target: _Floats, start: _Floats, weights: _Array, design: _Floats, squares: _Floats) -> _Floats:
    """Coefficients (weightings, 2) of the largest likelihood, by Newton's method with step halving; NaN where none."""
    best, likelihood = start.copy(), np.full(len(start), -np.inf)
    step = np.zeros_like(start)
    flat = np.zeros(len(start), dtype=bool)
    for _ in range(_ITERATIONS):
        candidate = best + step
        linear = candidate @ design
        value = (target * candidate).sum(axis=1) - np.einsum("ws,ws->w", weights, np.logaddexp(0.0, linear))
        # Equal but for rounding is no worse: near the optimum the likelihood no longer tells.
        better = value >= likelihood - 1e-12 * np.abs(likelihood)
        best = np.where(better[:, None], candidate, best)
        likelihood = np.where(better, value, likelihood)
        newton, flat = _newton_step(target, expit(linear), weights, design, squares)
        step = np.where(better[:, None], newton, step / 2)
        if np.abs(step).max(initial=0.0) < _TOLERANCE:
            break
    lost = flat | (np.abs(step).max(axis=1) > _CLOSE * np.maximum(1.0, np.abs(best).max(axis=1)))
    return np.where(lost[:, None], np.nan, best)


def _newton_step(
    target: _Floats, expected: _Floats, weights: _Array, design: _Floats, squares: _Floats
) -> tuple[_Floats, npt.NDArray[np.bool_]]:
    """The full step (weightings, 2), and where (weightings,) the likelihood is too flat to tell one."""
    gradient = target - (weights * expected) @ design.T
    a, b, c = ((weights * (expected * (1.0 - expected))) @ squares.T).T
    determinant = a * c - b * b
    flat = ~(determinant > _FLAT * a * c)
    step = np.stack([c * gradient[:, 0] - b * gradient[:, 1], a * gradient[:, 1] - b * gradient[:, 0]], axis=1)
    return step / np.where(flat, np.inf, determinant)[:, None], flat
