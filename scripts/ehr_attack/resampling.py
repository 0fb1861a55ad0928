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


def model_weights(
    seeds: npt.NDArray[np.int64],
    folds: npt.NDArray[np.int64],
    subject_ids: npt.NDArray[np.int64],
    resamples: int,
    seed: int,
) -> Iterator[npt.NDArray[np.int64]]:
    """Yield, `resamples` times, how often each row (rows,) is drawn when models are drawn too.

    Seeds are drawn with replacement, so are folds, and so are the patients of each fold; a row counts as often as the
    product says.
    """
    (_, of_seed), (_, of_fold) = (np.unique(part, return_inverse=True) for part in (seeds, folds))
    patients, of_patient = np.unique(np.stack([folds, subject_ids], axis=1), axis=0, return_inverse=True)
    members = [np.flatnonzero(patients[:, 0] == fold) for fold in np.unique(folds)]
    n_seeds, n_folds = int(of_seed.max(initial=-1)) + 1, len(members)
    random = np.random.default_rng(seed)
    for _ in range(resamples):
        drawn_seeds, drawn_folds = (
            np.bincount(random.integers(0, count, size=count) if count else [], minlength=count)
            for count in (n_seeds, n_folds)
        )
        drawn_patients = np.zeros(len(patients), dtype=np.int64)
        for places in members:
            drawn_patients[places] = np.bincount(random.integers(0, len(places), len(places)), minlength=len(places))
        yield drawn_seeds[of_seed] * drawn_folds[of_fold] * drawn_patients[of_patient.ravel()]
