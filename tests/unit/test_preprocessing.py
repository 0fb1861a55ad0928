import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ehr_attack.errors import UserError
from ehr_attack.preprocessing import Preprocessing

NAN = np.nan
CELLS = st.one_of(st.just(NAN), st.floats(-50, 150, width=32))


def fitted(values, imputation="forward", low=None, high=None):
    preprocessing = Preprocessing.fit(np.asarray(values, dtype=np.float32), ["a"], imputation)
    if low is not None:
        preprocessing = Preprocessing(
            imputation, ("a",), np.array([low]), np.array([high]), preprocessing.median, preprocessing.seen
        )
    return preprocessing


def series(*cells):
    """One stay with one variable."""
    return np.array(cells, dtype=np.float32).reshape(1, -1, 1)


def imputed(cells, imputation, carry_in=NAN, median=50.0):
    """Imputed values of one stay on a scale where scaled and clinical units are the same."""
    stored = Preprocessing(imputation, ("a",), np.array([0.0]), np.array([1.0]), np.array([median]), np.array([True]))
    wide = Preprocessing(imputation, ("a",), np.array([0.0]), np.array([1e6]), stored.median, stored.seen)
    values = series(*cells)
    scaled = wide.apply(values, np.array([[carry_in]], dtype=np.float32), np.array([values.shape[1]]))
    return (scaled.ravel() * 1e6).round(2).tolist()


def test_forward_imputation_carries_forward_and_starts_with_the_median():
    assert imputed([NAN, 10, NAN, NAN, 40, NAN], "forward") == pytest.approx([50, 10, 10, 10, 40, 40], abs=0.1)


def test_carry_in_fills_the_first_hours_only():
    assert imputed([NAN, 10, NAN], "forward", carry_in=7) == pytest.approx([7, 10, 10], abs=0.1)


def test_linear_imputation_lies_on_the_line_inside_and_is_flat_outside():
    assert imputed([NAN, 10, NAN, NAN, 40, NAN], "linear") == pytest.approx([10, 10, 20, 30, 40, 40], abs=0.1)


def test_a_stay_with_nothing_recorded_holds_the_training_median():
    assert imputed([NAN, NAN, NAN], "forward") == pytest.approx([50, 50, 50], abs=0.1)
    assert imputed([NAN, NAN, NAN], "linear") == pytest.approx([50, 50, 50], abs=0.1)


def test_scaling_maps_the_training_percentiles_to_the_box_and_winsorises_beyond():
    training = series(*np.linspace(0, 100, 101))  # 1st percentile 1, 99th percentile 99, median 50
    preprocessing = fitted(training)
    assert (preprocessing.low[0], preprocessing.high[0], preprocessing.median[0]) == (1, 99, 50)
    scaled = preprocessing.apply(series(-500, 1, 50, 99, 10_000), np.full((1, 1), NAN), np.array([5]))
    assert scaled.ravel() == pytest.approx([0, 0, 0.5, 1, 1])


def test_hours_after_the_end_of_a_stay_are_zero_and_hold_nothing():
    preprocessing = fitted(series(*np.linspace(0, 100, 101)))
    scaled = preprocessing.apply(series(80, NAN, NAN, NAN), np.full((1, 1), NAN), np.array([2]))
    assert scaled.ravel()[:2] == pytest.approx([79 / 98, 79 / 98])
    assert scaled.ravel()[2:].tolist() == [0, 0]


def test_a_variable_that_training_never_saw_is_constant_for_every_stay():
    preprocessing = fitted(series(NAN, NAN))
    assert not preprocessing.seen[0]
    scaled = preprocessing.apply(series(3, 999), np.full((1, 1), NAN), np.array([2]))
    assert scaled.ravel().tolist() == [0, 0]


def test_a_variable_without_spread_stays_finite():
    preprocessing = fitted(series(7, 7, 7))
    scaled = preprocessing.apply(series(6, 7, 8), np.full((1, 1), NAN), np.array([3]))
    assert scaled.ravel().tolist() == [0, 0, 0]


def test_unknown_imputation_names_the_key():
    with pytest.raises(UserError, match=r"features\.imputation.*'magic'"):
        Preprocessing.fit(series(1, 2), ["a"], "magic")


def test_a_stored_object_comes_back_the_same():
    preprocessing = fitted(series(1, 2, NAN, 9), "linear")
    again = Preprocessing.from_dict(preprocessing.to_dict())
    assert again.to_dict() == preprocessing.to_dict()


def slow_imputation(cells, carry_in, median, imputation):
    """The rules in words, one cell at a time."""
    known = [(-1, carry_in)] if not np.isnan(carry_in) else []
    known += [(hour, cell) for hour, cell in enumerate(cells) if not np.isnan(cell)]
    result = []
    for hour in range(len(cells)):
        before = [pair for pair in known if pair[0] <= hour]
        after = [pair for pair in known if pair[0] >= hour]
        if imputation == "forward":
            result.append(before[-1][1] if before else median)
        elif before and after:
            (h0, v0), (h1, v1) = before[-1], after[0]
            result.append(v0 if h0 == h1 else v0 + (v1 - v0) * (hour - h0) / (h1 - h0))
        else:
            result.append(before[-1][1] if before else (after[0][1] if after else median))
    return result


@given(
    cells=arrays(np.float32, st.integers(1, 12), elements=CELLS),
    carry_in=CELLS,
    imputation=st.sampled_from(["forward", "linear"]),
)
def test_imputation_equals_the_slow_obvious_one(cells, carry_in, imputation):
    preprocessing = Preprocessing(
        imputation, ("a",), np.array([-50.0]), np.array([150.0]), np.array([42.0]), np.array([True])
    )
    fast = preprocessing.apply(cells.reshape(1, -1, 1), np.array([[carry_in]]), np.array([cells.size])).ravel()
    slow = (np.array(slow_imputation(cells, carry_in, 42.0, imputation)) + 50.0) / 200.0
    np.testing.assert_allclose(fast, slow, atol=1e-6)


@given(values=arrays(np.float32, (3, 5, 1), elements=CELLS), hour=st.integers(0, 4))
def test_forward_inputs_up_to_an_hour_do_not_know_what_comes_later(values, hour):
    preprocessing = fitted(np.linspace(0, 100, 30).reshape(1, -1, 1))
    carry_in, n_hours = np.full((3, 1), NAN), np.full(3, 5)
    changed = values.copy()
    changed[:, hour + 1 :] = 77
    now, then = (preprocessing.apply(v, carry_in, n_hours)[:, : hour + 1] for v in (values, changed))
    assert np.array_equal(now, then)


def test_fitting_on_other_patients_is_what_changes_the_scale():
    """Statistics come from the rows that are passed, and from nothing else."""
    random = np.random.default_rng(0)
    training, held_out = random.normal(size=(2, 20, 4, 1)).astype(np.float32)
    alone = Preprocessing.fit(training, ["a"], "forward")
    together = Preprocessing.fit(np.concatenate([training, held_out * 100]), ["a"], "forward")
    assert alone.to_dict() != together.to_dict()
