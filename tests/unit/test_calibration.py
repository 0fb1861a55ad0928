"""Recalibration and thresholds against scikit-learn, a root finder, and slow obvious loops."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from ehr_attack.calibration import fit_recalibration, intercepts, logistic_fits, logit, recalibrated
from ehr_attack.thresholds import f1_threshold, score1_threshold


def sample(seed, n=400, slope=0.7, intercept=-0.8):
    """Outcomes drawn from a known recalibration of the predictions."""
    random = np.random.default_rng(seed)
    score = random.normal(0.0, 1.5, n)
    return (random.random(n) < expit(intercept + slope * score)).astype(int), score


@settings(deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(60, 300))
def test_fits_equal_those_of_scikit_learn_for_every_weighting(seed, n):
    labels, score = sample(seed, n)
    weights = np.random.default_rng(seed).integers(0, 4, (3, n))
    intercept, slope = logistic_fits(labels, score, weights)
    for row, weight in enumerate(weights):
        reference = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000)
        reference.fit(score[:, None], labels, sample_weight=weight)
        assert slope[row] == pytest.approx(reference.coef_[0, 0], abs=1e-4)
        assert intercept[row] == pytest.approx(reference.intercept_[0], abs=1e-4)


@given(seed=st.integers(0, 10_000), n=st.integers(20, 200))
def test_calibration_in_the_large_makes_expected_deaths_equal_observed_ones(seed, n):
    labels, score = sample(seed, n)
    weights = np.random.default_rng(seed).integers(0, 4, (3, n))
    for weight, intercept in zip(weights, intercepts(labels, score, weights), strict=True):
        deaths, total = int((weight * labels).sum()), int(weight.sum())
        assume(0 < deaths < total)

        def gap(shift, weight=weight, deaths=deaths):
            return sum(w * expit(shift + s) for w, s in zip(weight, score, strict=True)) - deaths

        assert intercept == pytest.approx(brentq(gap, -50, 50), abs=1e-6)


def test_what_was_planted_is_found_and_undone():
    labels, score = sample(1, 20_000)
    fitted = fit_recalibration(labels, expit(score))
    assert fitted == (pytest.approx(-0.8, abs=0.06), pytest.approx(0.7, abs=0.05))
    again = fit_recalibration(labels, recalibrated(expit(score), *fitted))
    assert again == (pytest.approx(0, abs=1e-6), pytest.approx(1, abs=1e-6))


@pytest.mark.parametrize(
    ("labels", "p_death"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]),
        ([1, 1, 1, 1], [0.1, 0.2, 0.8, 0.9]),
        ([0, 0, 0, 0], [0.1, 0.2, 0.8, 0.9]),
        ([0, 1, 0, 1], [0.3, 0.3, 0.3, 0.3]),
        ([], []),
        ([0, 0, 1, 1], [0.1, 0.5, 0.5, 0.9]),
        ([1, 1, 0, 0], [0.1, 0.2, 0.8, 0.9]),
    ],
)
def test_where_no_maximum_is_attained_there_is_no_fit(labels, p_death):
    assert np.isnan(fit_recalibration(np.array(labels), np.array(p_death))).all()


def test_however_few_stays_overlap_there_is_a_fit():
    """One survivor among the deaths: steep, but finite, and it makes the mean prediction that of the outcomes."""
    labels, p_death = np.array([0, 0, 1, 0, 1, 1]), np.array([0.0, 0.49, 0.5, 0.51, 0.52, 1.0])
    fitted = fit_recalibration(labels, p_death)
    assert np.isfinite(fitted).all() and fitted[1] > 5
    assert recalibrated(p_death, *fitted).sum() == pytest.approx(3)


def test_certain_predictions_have_a_finite_logit():
    assert np.isfinite(logit(np.array([0.0, 1.0]))).all()
    assert logit(np.array([0.25]))[0] == pytest.approx(-np.log(3))
    labels, score = sample(2)
    p_death = expit(score)
    p_death[:3] = 1.0
    assert np.isfinite(fit_recalibration(labels, p_death)).all()


def f1_of(labels, positive):
    true_positive = (labels & positive).sum()
    return 2 * true_positive / (positive.sum() + labels.sum())


def score1_of(labels, positive):
    true_positive = (labels & positive).sum()
    return min(true_positive / labels.sum(), true_positive / positive.sum()) if positive.any() else 0.0


@given(seed=st.integers(0, 10_000), n=st.integers(2, 30))
@pytest.mark.parametrize(("choose", "score"), [(f1_threshold, f1_of), (score1_threshold, score1_of)])
def test_no_other_threshold_is_better_and_the_largest_of_the_best_is_taken(choose, score, seed, n):
    random = np.random.default_rng(seed)
    labels = random.random(n) < 0.4
    labels[0] = True
    p_death = random.random(n).round(1)
    chosen = choose(labels.astype(int), p_death)
    best = score(labels, p_death > chosen)
    others = {cut: score(labels, p_death > cut) for cut in [*np.unique(p_death), -0.01]}
    assert best == pytest.approx(max(others.values()))
    equal = [(p_death > cut).sum() for cut, value in others.items() if value == pytest.approx(best)]
    assert (p_death > chosen).sum() == min(equal)


def test_a_threshold_lies_half_way_between_two_predictions():
    labels, p_death = np.array([1, 0, 1, 0]), np.array([0.9, 0.2, 0.6, 0.4])
    assert f1_threshold(labels, p_death) == score1_threshold(labels, p_death) == pytest.approx(0.5)


def test_without_a_death_there_is_no_threshold():
    assert np.isnan(f1_threshold(np.zeros(3, dtype=int), np.array([0.1, 0.2, 0.3])))


def test_neighbouring_floats_are_still_told_apart():
    high = 0.5
    low = np.nextafter(high, 0.0)
    assert (np.array([high, low]) > f1_threshold(np.array([1, 0]), np.array([high, low]))).tolist() == [True, False]
