import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehr_attack.attacks.selection import distance_scores, mark_selected, successes


def outcomes(rows, mode="ista"):
    """Rows (stay_id, lambda, linf, n_changed, flipped, feasible)."""
    frame = pd.DataFrame(rows, columns=["stay_id", "lambda", "linf", "n_changed", "flipped", "feasible"])
    return frame.assign(model="lstm", mode=mode, seed=0, fold=0)


def test_the_distance_score_is_the_formula():
    # w = 0.25: sqrt(0.25 * 0.4^2 + 0.75 * (30/100)^2) = sqrt(0.04 + 0.0675)
    frame = outcomes([(1, 0.1, 0.4, 30, True, True)])
    assert distance_scores(frame, 100, 0.25)[0] == pytest.approx(math.sqrt(0.1075))


def test_the_best_successful_row_of_each_stay_is_selected():
    frame = outcomes(
        [
            (1, 0.1, 0.9, 10, True, True),
            (1, 0.2, 0.3, 10, True, True),  # the smallest of stay 1
            (1, 0.3, 0.1, 10, True, False),  # smaller, but not feasible
            (2, 0.1, 0.1, 10, True, False),  # stay 2 has no success
        ]
    )
    assert mark_selected(frame, 100, 0.5).tolist() == [False, True, False, False]


def test_ties_go_to_the_larger_lambda():
    frame = outcomes([(1, 0.1, 0.3, 10, True, True), (1, 0.2, 0.3, 10, True, True)])
    assert mark_selected(frame, 100, 0.5).tolist() == [False, True]


def test_success_is_feasible_but_flipped_in_the_published_mode():
    rows = [(1, 0.1, 0.3, 10, True, False), (1, 0.2, 0.3, 10, False, True)]
    assert successes(outcomes(rows, "ista")).tolist() == [False, True]
    assert successes(outcomes(rows, "sun2018")).tolist() == [True, False]


@given(
    rows=st.lists(
        st.tuples(
            st.integers(1, 4),
            st.integers(0, 999),
            st.sampled_from([0.1, 0.2, 0.5]),
            st.integers(1, 3),
            st.booleans(),
        ),
        unique_by=lambda row: row[:2],
        max_size=25,
    ),
    weight=st.floats(0, 1),
)
def test_selection_equals_a_slow_loop(rows, weight):
    frame = outcomes([(stay, lam / 1000, linf, n, True, good) for stay, lam, linf, n, good in rows])
    best = {}
    for index, (stay, lam, linf, n, good) in enumerate(rows):
        score = math.sqrt(weight * linf**2 + (1 - weight) * (n / 912) ** 2)
        if good and (stay not in best or (score, -lam) < best[stay][0]):
            best[stay] = ((score, -lam), index)
    expected = np.zeros(len(rows), dtype=bool)
    expected[[index for _, index in best.values()]] = True
    assert mark_selected(frame, 912, weight).tolist() == expected.tolist()
