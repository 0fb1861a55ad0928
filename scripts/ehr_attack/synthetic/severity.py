"""The latent course of every stay: drifting severity, deviations of all variables, liability to die."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ehr_attack.synthetic.truth import PLANTED_WEIGHTS, WINDOW_HOURS, Planted, planted_hours

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

FIRST_HOUR, LAST_HOUR = -24, 60
"""The span that is charted at most, in hours from ICU admission; the window of the study lies well inside."""

# Severity = baseline + trend + drift, three independent parts with these standard deviations. The more of
# it is baseline, the more any hour tells of any other: `late` and `early` would grow alike.
_BASELINE_SD, _TREND_SD, _DRIFT_SD = 0.60, 0.25, 0.76
_CORRELATION_HOURS = 12.0
# The part of a variable's own course that lasts the whole stay (a chronic kidney, a habitual pressure).
_CHRONIC_SHARE = 0.5
# Correlation between the planted average of severity and the liability to die. It sets how well death can be
# foretold: with 0.92 the study's LSTM reaches a held-out AUROC of about 0.86.
_DETERMINISM = 0.92
# The part of a planted variable's course that lasts all its deciding hours, so that a value of any of them tells.
_PLANTED_SHARE = 0.8


@dataclass(frozen=True)
class Course:
    """The latent courses of a block of stays, on an hourly grid from FIRST_HOUR to LAST_HOUR.

    `baseline`: (stays,), the lasting part of severity, standard normal; `severity`: (stays, grid), unit
    variance; `deviations`: variable name -> float32 (stays, grid), standard normal at each hour.
    """

    baseline: FloatArray
    severity: FloatArray
    deviations: Mapping[str, npt.NDArray[np.float32]]

    def deviation(self, variable: str, stay: IntArray, hours: FloatArray) -> FloatArray:
        """Deviation of `variable` at rows of (stay index, hours since intime), in between by a line."""
        position = np.clip(hours, FIRST_HOUR, LAST_HOUR) - FIRST_HOUR
        left = np.minimum(position.astype(np.int64), LAST_HOUR - FIRST_HOUR - 1)
        fraction = position - left
        path = self.deviations[variable]
        between: FloatArray = path[stay, left] * (1.0 - fraction) + path[stay, left + 1] * fraction
        return between


def draw_course(rng: np.random.Generator, stays: int, planted: Planted | None = None) -> Course:
    """Draw the latent courses of `stays` independent stays.

    planted: its variable has nothing to do with severity, and in its deciding hours takes a course of its own, which
    is independent of that in all other hours.
    """
    baseline = rng.standard_normal(stays)
    slope = rng.standard_normal(stays)
    drift = _drift(rng, (1, stays))[0]
    severity = _BASELINE_SD * baseline[:, None] + _TREND_SD * np.outer(slope, _trend()) + _DRIFT_SD * drift
    severity /= _standard_deviation()
    lasting = rng.standard_normal((len(PLANTED_WEIGHTS), stays, 1))
    passing = _drift(rng, (len(PLANTED_WEIGHTS), stays))
    own = math.sqrt(_CHRONIC_SHARE) * lasting + math.sqrt(1 - _CHRONIC_SHARE) * passing
    deviations = {
        name: (weight * severity + math.sqrt(1 - weight**2) * path).astype(np.float32)
        for (name, weight), path in zip(PLANTED_WEIGHTS.items(), own, strict=True)
    }
    if planted is not None:
        place = list(PLANTED_WEIGHTS).index(planted.variable)
        deviations[planted.variable] = _with_planted(rng, own[place], planted).astype(np.float32)
    return Course(baseline, severity, deviations)


def draw_liability(rng: np.random.Generator, course: Course, signal: str, planted: Planted | None = None) -> FloatArray:
    """The liability of each stay to end in death: (stays,), standard normal, the higher the likelier.

    It is the planted average of severity plus noise, in proportions that keep the variance at 1, so that
    the stays above a threshold are a known share whatever the signal (the liability-threshold model).
    Signal `none` is noise alone. With a planted truth it is the average deviation of its variable in its hours plus
    noise, whatever the signal. Raises UserError for an unknown signal.
    """
    noise = rng.standard_normal(course.baseline.size)
    if planted is not None:
        return _DETERMINISM * _planted_average(course, planted) + math.sqrt(1 - _DETERMINISM**2) * noise
    weights = planted_hours(signal)
    if not weights.any():
        return noise
    window = slice(-FIRST_HOUR, -FIRST_HOUR + WINDOW_HOURS)
    average_sd = math.sqrt(weights @ _correlation()[window, window] @ weights)
    average: FloatArray = course.severity[:, window] @ weights / average_sd
    return _DETERMINISM * average + math.sqrt(1 - _DETERMINISM**2) * noise


def _deciding(planted: Planted) -> slice:
    """The places of the deciding hours in the grid; the end of the last one is the hour after it."""
    return slice(planted.first_hour - FIRST_HOUR, planted.last_hour - FIRST_HOUR + 2)


def _with_planted(rng: np.random.Generator, usual: FloatArray, planted: Planted) -> FloatArray:
    """The course `usual` (stays, grid) with its deciding hours drawn anew, standard normal at each hour."""
    stays = len(usual)
    level, drift = rng.standard_normal((stays, 1)), _drift(rng, (1, stays))[0]
    path, deciding = usual.copy(), _deciding(planted)
    path[:, deciding] = math.sqrt(_PLANTED_SHARE) * level + math.sqrt(1 - _PLANTED_SHARE) * drift[:, deciding]
    return path


def _planted_average(course: Course, planted: Planted) -> FloatArray:
    """The mean deviation of the planted variable over its deciding hours, standardised, (stays,)."""
    deciding = _deciding(planted)
    path = course.deviations[planted.variable][:, deciding].astype(np.float64)
    hours = _grid()[deciding]
    drift = np.exp(-np.abs(hours[:, None] - hours[None, :]) / _CORRELATION_HOURS).mean()
    average: FloatArray = path.mean(axis=1) / math.sqrt(_PLANTED_SHARE + (1 - _PLANTED_SHARE) * drift)
    return average


def _grid() -> FloatArray:
    return np.arange(FIRST_HOUR, LAST_HOUR + 1, dtype=np.float64)


def _trend() -> FloatArray:
    """A line from -1 at hour 0 to 1 at the end of the window, level outside it."""
    return np.clip(2.0 * _grid() / WINDOW_HOURS - 1.0, -1.0, 1.0)


def _drift(rng: np.random.Generator, shape: tuple[int, int]) -> FloatArray:
    """Stationary Ornstein-Uhlenbeck paths of unit variance: (*shape, grid)."""
    keep = math.exp(-1.0 / _CORRELATION_HOURS)
    paths = rng.standard_normal((*shape, _grid().size))
    paths[..., 1:] *= math.sqrt(1 - keep**2)
    for step in range(1, paths.shape[-1]):
        paths[..., step] += keep * paths[..., step - 1]
    return paths


def _covariance() -> FloatArray:
    """Covariance between the hours of the grid of severity before it is standardised, (grid, grid)."""
    grid, trend = _grid(), _trend()
    drift = np.exp(-np.abs(grid[:, None] - grid[None, :]) / _CORRELATION_HOURS)
    total: FloatArray = _BASELINE_SD**2 + _TREND_SD**2 * np.outer(trend, trend) + _DRIFT_SD**2 * drift
    return total


def _standard_deviation() -> FloatArray:
    return np.sqrt(np.diag(_covariance()))


def _correlation() -> FloatArray:
    """Correlation of severity between the hours of the grid, (grid, grid)."""
    scale = _standard_deviation()
    return _covariance() / np.outer(scale, scale)
