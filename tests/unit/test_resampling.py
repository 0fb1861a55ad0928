"""Resampling: who is drawn together, and intervals of maxima, which the ordinary bootstrap does not cover."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from ehr_attack.resampling import (
    ModelDraws,
    convergence_rates,
    exact_interval,
    m_out_of_n_interval,
    percentile_interval,
    resample_sizes,
    wider_interval,
)

UNITS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2)), min_size=1, max_size=12)


def dense(values):
    return np.unique(values, return_inverse=True)[1]


@given(units=UNITS, random_seed=st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_a_unit_weighs_as_often_as_its_seed_fold_and_patient_are_drawn(units, random_seed):
    """Patients 0 to 5 lie in fold patient % 2."""
    patient, seed = (dense(part) for part in np.array(units).T)
    fold = dense(np.array(units)[:, 0] % 2)
    draws = ModelDraws.drawn(patient, seed, fold, 20, random_seed)
    assert (draws.patients.sum(axis=0) == patient.max() + 1).all()
    assert (draws.seeds.sum(axis=0) == seed.max() + 1).all() and (draws.folds.sum(axis=0) == fold.max() + 1).all()
    alone, together = draws.of_patients(patient), draws.of_models_too(patient, seed, fold)
    for row, (p, s, f) in enumerate(zip(patient, seed, fold, strict=True)):
        assert (alone[row] == draws.patients[p]).all()
        pair = draws.pairs.tolist().index(f * (patient.max() + 1) + p)
        assert (together[row] == 1.0 * draws.seeds[s] * draws.folds[f] * draws.within[pair]).all()
    for f in range(fold.max() + 1):
        inside = draws.pairs // (patient.max() + 1) == f
        assert (draws.within[inside].sum(axis=0) == len(np.unique(patient[fold == f]))).all()


def test_every_patient_is_drawn_with_the_same_chance():
    draws = ModelDraws.drawn(np.arange(40), np.zeros(40, int), np.arange(40) % 4, 4000, 3)
    for counts in (draws.patients, draws.within):
        assert counts.mean(axis=1) == pytest.approx(np.ones(40), abs=0.08)
        assert counts.var(axis=1).mean() == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("n", [1, 10, 37])
def test_exact_intervals_are_those_of_scipy(n):
    for count in range(n + 1):
        wanted = binomtest(count, n).proportion_ci(0.95, method="exact")
        assert exact_interval(count / n, n) == pytest.approx((wanted.low, wanted.high))


def test_of_two_intervals_of_a_share_the_wider_one_counts_at_each_end():
    assert wider_interval(1.0, 10, 1.0, 1.0) == pytest.approx((0.025**0.1, 1.0))
    assert wider_interval(0.0, 10, 0.0, 0.0) == pytest.approx((0.0, 1 - 0.025**0.1))
    assert wider_interval(0.5, 1000, 0.2, 0.51) == pytest.approx((0.2, exact_interval(0.5, 1000)[1]))


def test_percentile_intervals_leave_gaps_out():
    samples = np.random.default_rng(0).random((50, 4))
    samples[3, 1] = np.nan
    samples[:, 2] = np.nan
    low, high = percentile_interval(samples)
    for column in (0, 1, 3):
        values = samples[:, column][~np.isnan(samples[:, column])]
        assert (low[column], high[column]) == pytest.approx(np.percentile(values, [2.5, 97.5]))
    assert np.isnan([low[2], high[2]]).all()


@pytest.mark.parametrize("rate", [0.25, 0.5, 1.0])
def test_the_rate_is_the_slope_of_the_spread(rate):
    """Samples that are a fixed shape times m^-rate have exactly this rate."""
    sizes = resample_sizes(1000)
    shape = np.random.default_rng(1).random((200, 3))
    rates = convergence_rates([shape * m**-rate for m in sizes], sizes)
    assert rates == pytest.approx(np.full(3, rate))


def test_without_spread_there_is_no_rate_and_an_interval_of_no_width():
    sizes = resample_sizes(100)
    samples = [np.full((20, 2), [0.3, np.nan]) for _ in sizes]
    assert convergence_rates([np.nan_to_num(sample) for sample in samples], sizes).tolist() == [0.0, 0.0]
    low, high = m_out_of_n_interval(np.array([0.3, np.nan]), samples, sizes, 100)
    assert (low[0], high[0]) == (0.3, 0.3) and np.isnan([low[1], high[1]]).all()


def maximum(values):
    return values.max(axis=1)


def maximum_times_share(values):
    return values.max(axis=1) * (values > 0).mean(axis=1)


def summed_over_cells(values):
    return (values.max(axis=1) * (values > 0).mean(axis=1)).sum(axis=-1)


def coverage(statistic, truth, share, shape, repetitions, draws=200):
    """Share of the intervals, ours and the ordinary bootstrap's, that hold the truth: uniform changes of a share."""
    random = np.random.default_rng(4)
    ours = ordinary = 0
    n = shape[0]
    sizes = resample_sizes(n)
    for _ in range(repetitions):
        values = np.where(random.random(shape) < share, random.random(shape), 0.0)
        samples = [statistic(values[random.integers(0, n, (draws, m))])[:, None] for m in sizes]
        (low,), (high,) = m_out_of_n_interval(statistic(values[None]), samples, sizes, n)
        ours += low <= truth <= high
        low, high = np.percentile(statistic(values[random.integers(0, n, (draws, n))]), [2.5, 97.5])
        ordinary += low <= truth <= high
    return ours / repetitions, ordinary / repetitions


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_intervals_of_a_maximum_cover_it_where_the_ordinary_bootstrap_never_does(share):
    """Uniform on [0, 1]: the maximum of the population is 1, which no resample of a sample reaches."""
    ours, ordinary = coverage(maximum, 1.0, share, (400,), repetitions=200)
    assert ordinary == 0.0
    assert ours >= 0.9


def test_intervals_of_susceptibility_cover_it():
    """S = 1 x 0.3: its error is mostly that of the share, so that its rate is that of a mean."""
    ours, _ = coverage(maximum_times_share, 0.3, 0.3, (400,), repetitions=200)
    assert ours >= 0.9


def test_intervals_of_a_sum_of_maxima_cover_it_where_the_ordinary_bootstrap_fails():
    """Forty cells: each maximum is a little too small, and all of them together by more than the sum scatters."""
    ours, ordinary = coverage(summed_over_cells, 4.0, 0.1, (200, 40), repetitions=60, draws=100)
    assert ordinary < 0.7
    assert ours >= 0.93
