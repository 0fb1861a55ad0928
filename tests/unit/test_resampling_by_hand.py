"""Resampling and its intervals on samples small enough to be computed by hand."""

import numpy as np
import pytest

from ehr_attack.resampling import (
    ModelDraws,
    convergence_rates,
    exact_interval,
    m_out_of_n_interval,
    patient_weights,
    resample_sizes,
)


def draws(*values):
    """The draws of one statistic, (draws, 1)."""
    return np.array(values, dtype=float)[:, None]


def test_sizes_of_resamples():
    """1000^0.4 = 15.8, ^0.5 = 31.6, ^0.6 = 63.1, ^0.7 = 125.9; never fewer than two patients."""
    assert resample_sizes(1000) == [16, 32, 63, 126]
    assert resample_sizes(5) == [2, 2, 3, 3]
    assert resample_sizes(1) == [2, 2, 2, 2]


def test_the_rate_comes_from_the_sizes_that_vary():
    """From 4 to 64 patients the distance halves: 16^-b = 1/2, b = 1/4. At 16 patients nothing varied."""
    samples = [draws(0.0, 1.0), draws(0.3, 0.3), draws(0.1, 0.6)]
    assert convergence_rates(samples, [4, 16, 64]) == pytest.approx([0.25])
    assert convergence_rates([samples[1], samples[1], samples[2]], [4, 16, 64]).tolist() == [0.0]


def test_a_rate_lies_between_none_and_that_of_a_maximum():
    """Four times the patients, and 16 times as narrow, or wider: b would be 2, or -1/2."""
    assert convergence_rates([draws(0.0, 1.6), draws(0.0, 0.1)], [4, 16]).tolist() == [1.0]
    assert convergence_rates([draws(0.0, 0.5), draws(0.0, 1.0)], [4, 16]).tolist() == [0.0]


def test_rates_of_several_statistics_are_their_own():
    samples = [np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([[0.0, 0.0], [0.5, 0.25]])]
    assert convergence_rates(samples, [4, 16]) == pytest.approx([0.5, 1.0])


def test_the_interval_of_a_maximum():
    """From 4 to 16 patients the distance halves: b = 1/2, and from 16 to 64 it is halved once more.

    Draws lie 0.5 and 0 below the estimate of 0.6. Percentiles of two values: -0.4875 and -0.0125; median -0.25. Up goes
    half of 0.4875; down, half of what lies above the median, 0.2375.
    """
    samples = [draws(0.0, 1.0), draws(0.1, 0.6)]
    low, high = m_out_of_n_interval(np.array([0.6]), samples, [4, 16], 64)
    assert (low[0], high[0]) == pytest.approx((0.6 - 0.5 * 0.2375, 0.6 + 0.5 * 0.4875))


def test_draws_above_the_estimate_move_the_lower_end_alone():
    """0.1 and 0.3 above: percentiles 0.105 and 0.295."""
    samples = [draws(0.5, 0.9), draws(0.7, 0.9)]
    low, high = m_out_of_n_interval(np.array([0.6]), samples, [4, 16], 64)
    assert (low[0], high[0]) == pytest.approx((0.6 - 0.5 * 0.295, 0.6))


def test_an_interval_ends_at_zero_and_empty_draws_do_not_widen_it():
    """Only one size varies: there is no rate, and the errors are not scaled. A gap counts as the estimate."""
    samples = [draws(0.1, 0.1, 0.1), draws(0.0, 0.0, 0.9)]
    low, high = m_out_of_n_interval(np.array([0.1]), samples, [4, 16], 64)
    assert low[0] == 0.0 and high[0] == pytest.approx(0.1 + 0.1)
    with_gap = [draws(0.1, 0.1, 0.1), draws(0.0, np.nan, 0.2)]
    low, high = m_out_of_n_interval(np.array([0.1]), with_gap, [4, 16], 64)
    # Of -0.1 and 0.1 the percentiles are -0.095 and 0.095; the median of -0.1, 0, 0.1 is 0.
    assert (low[0], high[0]) == pytest.approx((0.005, 0.195))


def test_exact_intervals_of_parts_of_patients():
    """Of ten patients 2.5 count: the ends lie between those of two and of three, by the beta distribution."""
    low, high = exact_interval(0.25, 10)
    assert exact_interval(0.2, 10)[0] < low < exact_interval(0.3, 10)[0]
    assert exact_interval(0.2, 10)[1] < high < exact_interval(0.3, 10)[1]
    assert exact_interval(0.05, 10)[0] > 0.0 and exact_interval(0.95, 10)[1] < 1.0
    assert exact_interval(0.0, 1) == pytest.approx((0.0, 0.975)) and exact_interval(1.0, 1) == pytest.approx((0.025, 1))


def test_all_stays_of_a_patient_are_drawn_together():
    """Patients 3, 7 and 9 with three, one and two stays; three are drawn each time, all alike often."""
    subjects = np.array([7, 3, 9, 3, 9, 3])
    weights = np.stack(list(patient_weights(subjects, 2000, seed=5)))
    assert weights.shape == (2000, 6)
    assert (weights[:, [1, 1, 2]] == weights[:, [3, 5, 4]]).all()
    assert (weights[:, [0, 1, 2]].sum(axis=1) == 3).all()
    assert weights.mean(axis=0) == pytest.approx(np.ones(6), abs=0.08)
    again = np.stack(list(patient_weights(subjects, 3, seed=5)))
    assert (again == weights[:3]).all() and len(set(map(tuple, weights))) > 5
    assert [len(none) for none in patient_weights(np.zeros(0, dtype=np.int64), 2, seed=0)] == [0, 0]


def test_the_seed_decides_the_draws():
    codes = np.arange(20), np.arange(20) % 3, np.arange(20) % 2
    first, again, other = (ModelDraws.drawn(*codes, 5, seed) for seed in (1, 1, 2))
    for name in ("patients", "seeds", "folds", "within"):
        assert (getattr(first, name) == getattr(again, name)).all()
    assert (first.patients != other.patients).any() and (first.within != other.within).any()
