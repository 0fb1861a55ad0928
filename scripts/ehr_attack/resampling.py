"""Bootstrap over patients: all stays of a patient are drawn together."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

INTERVAL_PERCENTILES = (2.5, 97.5)


def patient_weights(subject_ids: npt.NDArray[np.int64], resamples: int, seed: int) -> Iterator[npt.NDArray[np.int64]]:
    """Yield, `resamples` times, how often each row (rows,) is drawn when patients are drawn with replacement."""
    _, patient = np.unique(subject_ids, return_inverse=True)
    patients = int(patient.max()) + 1 if patient.size else 0
    random = np.random.default_rng(seed)
    for _ in range(resamples):
        drawn = np.bincount(random.integers(0, patients, size=patients), minlength=patients)
        yield drawn[patient]


def percentile_interval(
    samples: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The 95 % percentile interval over the first axis, NaN samples left out; NaN where there is none."""
    low, high = np.full(samples.shape[1:], np.nan), np.full(samples.shape[1:], np.nan)
    usable = ~np.isnan(samples).all(axis=0)
    if usable.any():
        bounds = np.nanpercentile(samples[:, usable], INTERVAL_PERCENTILES, axis=0)
        low[usable], high[usable] = bounds
    return low, high
