"""The rule of a verdict, and what is computed of the sums of S, against slow or closed forms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import kendalltau, spearmanr

from ehr_attack.resampling import model_weights
from ehr_attack.schemas.verdicts import CANNOT_TELL, NOT_SUPPORTED, SUPPORTED
from ehr_attack.verdicts.question import interval_of
from ehr_attack.verdicts.rule import Bound, Interval, conclusion, number, verdict_of
from ehr_attack.verdicts.statistics import (
    drawn_names,
    hour_slopes,
    last_quarter,
    mean_ratios,
    part_shares,
    rank_correlations,
    top_shares,
)

NAN = float("nan")


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.1, 9.0, SUPPORTED),
        (0.0, 9.0, CANNOT_TELL),
        (-1.0, 5.0, CANNOT_TELL),
        (-1.0, 4.9, NOT_SUPPORTED),  # an effect that matters, 5, is excluded
        (-9.0, -1.0, NOT_SUPPORTED),
        (0.5, 1.0, SUPPORTED),  # small, but all of it on the claimed side
        (NAN, 1.0, CANNOT_TELL),
    ],
)
def test_the_rule_and_its_mirror_image(low, high, verdict):
    assert verdict_of(Interval((low + high) / 2, low, high), Bound(0.0, 5.0)) == verdict
    mirrored = Interval(-(low + high) / 2, -high, -low)
    assert verdict_of(mirrored, Bound(0.0, 5.0, larger=False)) == verdict


def test_without_a_size_that_matters_only_the_sides_count():
    assert verdict_of(Interval(92, 91, 93), Bound(90.0)) == SUPPORTED
    assert verdict_of(Interval(92, 89, 95), Bound(90.0)) == CANNOT_TELL
    assert verdict_of(Interval(85, 80, 89.9), Bound(90.0)) == NOT_SUPPORTED
    assert verdict_of(Interval(3, 2, 4), Bound(5.0, larger=False)) == SUPPORTED


def test_the_words_say_what_the_numbers_say():
    bound = Bound(0.0, 5.0)
    assert conclusion(Interval(2, 1, 3), bound, " %") == "all of the interval lies above 0 %"
    assert conclusion(Interval(-2, -3, -1), bound, " %") == "all of the interval lies below 0 %"
    assert "holds 0 % and ends below 5 %" in conclusion(Interval(1, -1, 3), bound, " %")
    assert "too wide to tell" in conclusion(Interval(1, -9, 9), bound, " %")
    few = Bound(5.0, larger=False)
    assert conclusion(Interval(2, 1, 3), few, " %") == "all of the interval lies below 5 %"
    assert conclusion(Interval(8, 7, 9), few, " %") == "all of the interval lies above 5 %"


def test_numbers_in_sentences():
    assert [number(value) for value in (0.123, -0.5, 1.04, 12.34, 456.7)] == ["0.12", "-0.50", "1.04", "12.3", "457"]
    assert [number(value) for value in (0.0, 5.0, -100.0)] == ["0", "5", "-100"]


def test_intervals_need_nine_of_ten_draws():
    draws = np.append(7.0, np.arange(101.0))
    assert interval_of(draws) == Interval(7.0, 2.5, 97.5)
    draws[2:10] = np.nan
    assert interval_of(draws).known
    draws[10:20] = np.nan
    assert not interval_of(draws).known
    assert not interval_of(np.array([7.0])).known


SUMS = arrays(np.float64, st.tuples(st.integers(1, 4), st.just(8)), elements=st.sampled_from([0.0, 1.0, 2.0, 5.5, NAN]))


@given(sums=SUMS)
def test_slopes_equal_a_least_squares_fit(sums):
    for row, slope in zip(sums, hour_slopes(sums), strict=True):
        known = ~np.isnan(row)
        if known.sum() < 2 or not row[known].sum() > 0:
            assert np.isnan(slope) or known.sum() == 1
            continue
        fitted = np.polyfit(np.arange(8)[known], row[known], 1)[0]
        assert slope == pytest.approx(100 * 10 * fitted / row[known].mean(), abs=1e-9)


def test_a_slope_by_hand():
    """S of hours 0 to 3 is 1, 2, 3, 4: 1 an hour, 10 per 10 hours, four times the mean hour."""
    assert hour_slopes(np.array([[1.0, 2.0, 3.0, 4.0]]))[0] == pytest.approx(400.0)


@given(sums=SUMS)
def test_shares_equal_a_slow_loop(sums):
    part = np.array([True, False] * 4)
    found = part_shares(sums, part), top_shares(sums), mean_ratios(sums, part, ~part)
    for row, share, top, ratio in zip(sums, *found, strict=True):
        known = [value for value in row if not np.isnan(value)]
        if sum(known) == 0:
            assert np.isnan(share) and np.isnan(top)
            continue
        assert top == pytest.approx(100 * sum(sorted(known)[-3:]) / sum(known))
        inside = [value for value, chosen in zip(row, part, strict=True) if chosen and not np.isnan(value)]
        outside = [value for value, chosen in zip(row, part, strict=True) if not chosen and not np.isnan(value)]
        if not inside or not outside:
            assert np.isnan(share)
            continue
        # Both sides have four names: a name without a value counts as the mean of the others on its side.
        filled = [4 * sum(side) / len(side) for side in (inside, outside)]
        assert share == pytest.approx(100 * filled[0] / sum(filled))
        if len(known) == len(row):
            assert share == pytest.approx(100 * sum(inside) / sum(known))
        if sum(outside) > 0:
            assert ratio == pytest.approx((sum(inside) / len(inside)) / (sum(outside) / len(outside)))


def test_the_last_quarter():
    assert last_quarter(48).sum() == 12 and last_quarter(48)[36:].all()
    assert last_quarter(6).tolist() == [False] * 5 + [True]


def test_rank_correlations_equal_scipy():
    random = np.random.default_rng(0)
    sums, scores = random.integers(0, 6, (40, 9)).astype(float), random.integers(0, 5, 9).astype(float)
    draws = drawn_names(40, 9, seed=3)
    assert (draws[0] == np.arange(9)).all()
    for row, drawn, *found in zip(sums, draws, *rank_correlations(sums, scores, draws), strict=True):
        assert found[0] == pytest.approx(spearmanr(row[drawn], scores[drawn]).statistic, nan_ok=True)
        assert found[1] == pytest.approx(kendalltau(row[drawn], scores[drawn]).statistic, nan_ok=True)


def test_unknown_sums_have_no_rank_correlation():
    sums = np.array([[1.0, 2.0, 3.0], [1.0, NAN, 3.0]])
    spearman, kendall = rank_correlations(sums, np.array([1.0, 2.0, 3.0]), np.tile(np.arange(3), (2, 1)))
    assert spearman[0] == kendall[0] == pytest.approx(1.0)
    assert np.isnan([spearman[1], kendall[1]]).all()


def test_the_interval_of_a_rank_correlation_holds_chance_agreement():
    """Fixed sums, as if of endless patients: unrelated rankings of 19 variables are no agreement."""
    random = np.random.default_rng(5)
    excluded = 0
    for _ in range(200):
        ours, scores = random.normal(size=(2, 19))
        draws = rank_correlations(np.tile(ours, (301, 1)), scores, drawn_names(301, 19, seed=1))[0]
        found = interval_of(draws)
        excluded += found.low > 0 or found.high < 0
    assert 0.02 < excluded / 200 < 0.14


def weights_of(seeds, folds, subjects, resamples=4000):
    return np.stack(list(model_weights(*map(np.asarray, (seeds, folds, subjects)), resamples, 1)))


def test_draws_of_models_are_products_of_seeds_folds_and_patients():
    """Two seeds, two folds; patients 1, 2 | 3, 4, 5; patient 2 has two stays."""
    folds, subjects = np.tile([0, 0, 0, 1, 1, 1], 2), np.tile([1, 2, 2, 3, 4, 5], 2)
    weights = weights_of(np.repeat([4, 9], 6), folds, subjects)
    first, second = weights[:, :6], weights[:, 6:]
    assert (first[:, 1] == first[:, 2]).all()
    both = (first.sum(axis=1) > 0) & (second.sum(axis=1) > 0)
    assert 0.4 < both.mean() < 0.6  # one of each seed in half of the draws
    np.testing.assert_array_equal(first[both], second[both])
    assert set(np.unique(first[both][:, [0, 1]].sum(axis=1))) <= {0, 2, 4}  # patients of fold 0, drawn 0, 1 or 2 times
    np.testing.assert_allclose(weights.mean(axis=0), 1.0, atol=0.1)


def test_one_seed_and_one_fold_leave_the_draws_of_patients():
    weights = weights_of([0] * 5, [0] * 5, [1, 1, 2, 3, 4])
    assert (weights[:, [0, 2, 3, 4]].sum(axis=1) == 4).all()
    assert (weights[:, 0] == weights[:, 1]).all()


def test_no_rows_have_no_weights():
    assert weights_of([], [], [], 3).shape == (3, 0)
