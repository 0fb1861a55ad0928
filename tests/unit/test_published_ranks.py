"""Intervals of ranks on a published page: by hand, and those over patients as the run's own tables have them."""

import numpy as np
import pytest

from ehr_attack.publishing.ranks import published_intervals
from ehr_attack.schemas.susceptibility import MODELS_TOO, PATIENTS
from ehr_attack.susceptibility.ranking import rank_intervals
from susceptibility_builder import made_run

NAN = float("nan")


def test_ranks_of_a_few_draws_by_hand():
    means = np.array([[2.0, 3.0, 1.0], [1.5, 3.0, NAN], [0.0, 1.0, 2.0]])
    # Ranks: 2, 2, 3 (a mean of 0 is last); 1, 1, 2; 3, -, 1.
    low, high = rank_intervals(means, np.ones(3, dtype=bool))
    assert low.tolist() == [2, 1, 1] and high.tolist() == [3, 2, 3]


def test_those_without_a_rank_take_part_but_have_no_interval():
    low, high = rank_intervals(np.array([[3.0, 2.0, 1.0]]), np.array([False, True, True]))
    assert np.isnan(low[0]) and low[1:].tolist() == high[1:].tolist() == [2, 3]


def test_means_apart_by_rounding_share_the_better_rank():
    low, _ = rank_intervals(np.array([[0.3, 0.1 + 0.2, 0.1]]), np.ones(3, dtype=bool))
    assert low.tolist() == [1, 1, 3]


@pytest.mark.parametrize("seed", range(5))
def test_over_patients_they_are_those_of_the_table(tmp_path, seed):
    run = made_run(np.random.default_rng(seed), 60, n_seeds=2)
    variables = (
        run.analysed(tmp_path, resamples=40)["variables"].query("policy == 'selected'").dropna(subset="rank_low")
    )
    found = published_intervals(tmp_path / "out", PATIENTS)
    keys = [tuple(row) for row in variables[["variable", "direction", "basis"]].itertuples(index=False)]
    assert len(keys) >= 6
    expected = zip(variables["rank_low"], variables["rank_high"], strict=True)
    assert [found[key] for key in keys] == [(int(low), int(high)) for low, high in expected]
    assert set(published_intervals(tmp_path / "out", MODELS_TOO)) == set(found)


def test_too_few_patients_have_none(tmp_path):
    made_run(np.random.default_rng(0), 8).analysed(tmp_path, resamples=10)
    assert published_intervals(tmp_path / "out") == {}
