"""Resampling of patients (all stays of a patient are drawn together), of folds and seeds, and what intervals need."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv

INTERVAL_PERCENTILES = (2.5, 97.5)

_Floats = npt.NDArray[np.float64]
_Floats32 = npt.NDArray[np.float32]
_Counts = npt.NDArray[np.uint16]


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
    missing = np.isnan(samples)
    whole, usable = ~missing.any(axis=0), ~missing.all(axis=0)
    # nanpercentile goes column by column in Python: it is left to those with a gap.
    for columns, percentile in ((whole, np.percentile), (usable & ~whole, np.nanpercentile)):
        if columns.any():
            low[columns], high[columns] = percentile(samples[:, columns], INTERVAL_PERCENTILES, axis=0)
    return low, high


def exact_interval(share: float, n: int) -> tuple[float, float]:
    """The 95 % interval of a share of n independent patients (Clopper & Pearson 1934), share and ends within [0, 1].

    share x n need not be whole: a patient may have several stays, or models.
    """
    tail, count = INTERVAL_PERCENTILES[0] / 100.0, share * n
    low = float(betaincinv(count, n - count + 1.0, tail)) if count > 0 else 0.0
    high = float(betaincinv(count + 1.0, n - count, 1.0 - tail)) if count < n else 1.0
    return low, high


def wider_interval(share: float, n: int, low: float, high: float) -> tuple[float, float]:
    """The interval of a share that holds both the exact one of n patients and one of resampling, from low to high.

    Resampling alone knows no doubt near 0 and 1: where all were flipped, all are in every draw.
    """
    exact = exact_interval(share, n)
    return min(low, exact[0]), max(high, exact[1])


@dataclass(frozen=True)
class ModelDraws:
    """Bootstrap draws of seeds, folds and patients, the same for whatever is measured under them.

    patients: (patients, draws), how often each is drawn, all folds together. seeds: (seeds, draws). folds: (folds,
    draws). pairs: (pairs,) sorted numbers fold * patients + patient of the patients of each fold; within: (pairs,
    draws), how often each is drawn within its fold. All counts are uint16.
    """

    patients: _Counts
    seeds: _Counts
    folds: _Counts
    pairs: npt.NDArray[np.int64]
    within: _Counts

    @classmethod
    def drawn(
        cls,
        patient: npt.NDArray[np.int64],
        seed: npt.NDArray[np.int64],
        fold: npt.NDArray[np.int64],
        draws: int,
        random_seed: int,
    ) -> "ModelDraws":
        """Draw with replacement what the rows are of: patient, seed, fold are (rows,), numbers from 0 without gaps."""
        n_patients, n_seeds, n_folds = (int(codes.max(initial=-1)) + 1 for codes in (patient, seed, fold))
        pairs = np.unique(fold * n_patients + patient)
        sizes = np.bincount(pairs // max(n_patients, 1), minlength=n_folds)
        random = np.random.default_rng(random_seed)
        parts: tuple[list[_Counts], ...] = ([], [], [], [])
        for _ in range(draws):
            for part, sample in zip(parts, (n_patients, n_seeds, n_folds), strict=False):
                part.append(_count_drawn(random, sample))
            parts[3].append(np.concatenate([_count_drawn(random, size) for size in (0, *sizes)]))
        stacked = [np.stack(part, axis=1) for part in parts]
        return cls(stacked[0], stacked[1], stacked[2], pairs, stacked[3])

    def of_patients(self, patient: npt.NDArray[np.int64]) -> _Floats32:
        """(units, draws) float32: how often each unit is drawn with its patient, the models as they are."""
        return self.patients[patient].astype(np.float32)

    def of_models_too(
        self, patient: npt.NDArray[np.int64], seed: npt.NDArray[np.int64], fold: npt.NDArray[np.int64]
    ) -> _Floats32:
        """(units, draws) float32: how often its seed x its fold x its patient within the fold is drawn."""
        weights = self.within[self.pair_of(patient, fold)].astype(np.float32)
        weights *= self.seeds[seed]
        weights *= self.folds[fold]
        return weights

    def pair_of(self, patient: npt.NDArray[np.int64], fold: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
        """(units,) the place of each unit's patient and fold among the pairs."""
        return np.searchsorted(self.pairs, fold * len(self.patients) + patient)


def _count_drawn(random: np.random.Generator, size: int) -> _Counts:
    return np.bincount(random.integers(0, max(size, 1), size=size), minlength=size).astype(np.uint16)


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
    patient, of_seed, of_fold = (np.unique(part, return_inverse=True)[1] for part in (subject_ids, seeds, folds))
    draws = ModelDraws.drawn(patient, of_seed, of_fold, resamples, seed)
    pair = draws.pair_of(patient, of_fold)
    # One draw at a time: all of them, for every row, are gigabytes in a large run.
    for draw in range(resamples):
        weights = draws.within[pair, draw].astype(np.int64)
        yield weights * draws.seeds[of_seed, draw] * draws.folds[of_fold, draw]


SIZE_EXPONENTS = (0.4, 0.5, 0.6, 0.7)
_RANGE = (0.05, 0.95)


def resample_sizes(n: int) -> list[int]:
    """Sizes m of m-out-of-n resamples of n patients: n^0.4 to n^0.7, at least 2, ascending."""
    return [max(2, round(n**exponent)) for exponent in SIZE_EXPONENTS]


def convergence_rates(samples: Sequence[_Floats], sizes: Sequence[int]) -> _Floats:
    """The estimated rate b of a statistic that converges like n^-b, (...,), from its resamples of several sizes.

    samples: of each size, (draws, ...). The distance of the 5 % and 95 % quantiles shrinks like m^-b, so that b is the
    slope of a line through the logarithms (Bertail, Politis & Romano 1999, JASA 94:569; Politis, Romano & Wolf 1999,
    Subsampling, ch. 8). Kept within [0, 1]: 1 is the rate of a maximum at an end of positive density, the fastest of a
    statistic that is not constant. 0, no gain at all and the widest interval, where fewer than two sizes vary.
    """
    with np.errstate(divide="ignore"):
        distance = np.log(np.stack([np.subtract(*np.quantile(sample, _RANGE[::-1], axis=0)) for sample in samples]))
    usable = np.isfinite(distance)
    size = np.where(usable, np.log(np.asarray(sizes, dtype=np.float64)).reshape(-1, *(1,) * (distance.ndim - 1)), 0.0)
    distance = np.where(usable, distance, 0.0)
    count = np.maximum(usable.sum(axis=0), 1)
    away = np.where(usable, size - size.sum(axis=0) / count, 0.0)
    spread = np.square(away).sum(axis=0)
    slope = (away * distance).sum(axis=0) / np.where(spread > 0, spread, 1.0)
    rates: _Floats = np.clip(-slope, 0.0, 1.0)
    return rates


def m_out_of_n_interval(
    estimate: _Floats, samples: Sequence[_Floats], sizes: Sequence[int], n: int
) -> tuple[_Floats, _Floats]:
    """The 95 % interval of a statistic that the ordinary bootstrap fails on, such as a maximum; (...,) each.

    estimate: of all n patients, (...,), not negative. samples: of m patients drawn with replacement, (draws, ...), for
    each size m of `sizes`, the largest last. The errors of the largest size stand for those of n, scaled by (m / n)^b
    with the rate b of `convergence_rates` (Politis, Romano & Wolf 1999, ch. 8; with replacement: Bickel, Götze & van
    Zwet 1997). A maximum is too small, and a smaller sample's is smaller still: that moves the upper end up, but not
    the lower one, which takes the spread of the resamples about their median alone: the bias of a sum of maxima
    vanishes faster than its spread; scaled alike, it would put the whole interval above the estimate. NaN where nothing
    was measured in any draw; single such draws are left out.
    """
    scale = (sizes[-1] / n) ** convergence_rates([_without_gaps(sample, estimate) for sample in samples], sizes)
    low, high = percentile_interval(samples[-1] - estimate)
    middle = np.median(_without_gaps(samples[-1], estimate) - estimate, axis=0)
    below, above = np.maximum(high, high - middle), -np.minimum(low, 0.0)
    return np.clip(estimate - scale * below, 0.0, estimate), estimate + scale * above


def _without_gaps(sample: _Floats, estimate: _Floats) -> _Floats:
    """Draws in which nothing was measured count as the estimate: they tell nothing about the spread."""
    return np.where(np.isnan(sample), np.nan_to_num(estimate), sample)
