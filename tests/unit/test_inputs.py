"""What a model sees: values, masks and times since the last record."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ehr_attack.inputs import INPUTS, channel_count, model_inputs, since_last_recorded
from ehr_attack.preprocessing import Preprocessing

NAN = np.nan


def wide(n_variables):
    """Preprocessing by which 0 to 10 clinical units become 0 to 1; the median is 5."""
    ones = np.ones(n_variables)
    names = tuple(f"v{i}" for i in range(n_variables))
    return Preprocessing("forward", names, 0 * ones, 10 * ones, 5 * ones, ones.astype(bool))


def test_one_stay_by_hand():
    """Hours 0 to 4; the stay ends after hour 3. Recorded: variable 0 at hours 1 and 2, variable 1 never."""
    values = np.array([[[NAN, NAN], [2, NAN], [4, NAN], [NAN, NAN], [NAN, NAN]]], dtype=np.float32)
    carry_in = np.array([[NAN, 8]], dtype=np.float32)
    seen = model_inputs(wide(2), "values_mask_delta", values, carry_in, np.array([4]))[0]
    expected = [
        # values    masks  hours since the last record, of 5
        [0.5, 0.8, 0, 0, 0 / 5, 0 / 5],
        [0.2, 0.8, 1, 0, 1 / 5, 1 / 5],
        [0.4, 0.8, 1, 0, 1 / 5, 2 / 5],
        [0.4, 0.8, 0, 0, 1 / 5, 3 / 5],
        [0, 0, 0, 0, 0, 0],
    ]
    np.testing.assert_allclose(seen, expected, atol=1e-7)
    assert seen.dtype == np.float32


@pytest.mark.parametrize("kind", INPUTS)
def test_the_first_channels_are_the_preprocessed_values_whatever_the_kind(kind):
    random = np.random.default_rng(0)
    values = np.where(random.random((7, 6, 3)) < 0.5, NAN, random.uniform(-2, 12, (7, 6, 3)))
    carry_in, n_hours = np.full((7, 3), NAN), np.array([6, 6, 1, 2, 3, 4, 5])
    seen = model_inputs(wide(3), kind, values, carry_in, n_hours)
    assert seen.shape == (7, 6, channel_count(kind, 3))
    assert np.array_equal(seen[..., :3], wide(3).apply(values, carry_in, n_hours))
    assert seen.min() >= 0 and seen.max() <= 1
    assert all((stay[hours:] == 0).all() for stay, hours in zip(seen, n_hours, strict=True))


@given(recorded=hnp.arrays(bool, st.tuples(st.just(2), st.integers(1, 9), st.just(2))))
def test_delta_follows_its_definition_step_by_step(recorded):
    """Che et al. (2018): 0 in the first hour; else 1 after a recorded hour, and one more than before after another."""
    delta = np.zeros(recorded.shape)
    for hour in range(1, recorded.shape[1]):
        delta[:, hour] = np.where(recorded[:, hour - 1], 1.0, 1.0 + delta[:, hour - 1])
    assert np.array_equal(since_last_recorded(recorded), delta)
