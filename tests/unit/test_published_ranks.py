"""Intervals of ranks on a published page: by hand, and those over patients as the run's own tables have them."""

import numpy as np
import pandas as pd
import pytest

from ehr_attack.publishing.ranks import rank_intervals, ranks_in_draws
from ehr_attack.schemas.susceptibility import MODELS_TOO, PATIENTS
from susceptibility_builder import made_run


def test_ranks_of_a_few_draws_by_hand():
    sums = pd.DataFrame({"a": [4.0, 3.0, 0.0], "b": [3.0, 3.0, 1.0], "c": [1.0, np.nan, 2.0], "unmeasured": [9.0] * 3})
    cells = pd.Series({"a": 2, "b": 1, "c": 1})
    # Means: a 2, 1.5, 0; b 3, 3, 1; c 1, -, 2. Ranks: a 2, 2, 3 (a sum of 0 is last); b 1, 1, 2; c 3, -, 1.
    assert ranks_in_draws(sums, cells) == {"a": (2, 3), "b": (1, 2), "c": (1, 3)}


def test_sums_apart_by_rounding_share_the_better_rank():
    sums = pd.DataFrame({"a": [0.3], "b": [0.1 + 0.2], "c": [0.1]})
    assert ranks_in_draws(sums, pd.Series({"a": 1, "b": 1, "c": 1})) == {"a": (1, 1), "b": (1, 1), "c": (3, 3)}


@pytest.mark.parametrize("seed", range(5))
def test_over_patients_they_are_those_of_the_table(tmp_path, seed):
    run = made_run(np.random.default_rng(seed), 60, n_seeds=2)
    variables = (
        run.analysed(tmp_path, resamples=40)["variables"].query("policy == 'selected'").dropna(subset="rank_low")
    )
    found = rank_intervals(tmp_path / "out", PATIENTS)
    keys = [tuple(row) for row in variables[["variable", "direction", "basis"]].itertuples(index=False)]
    assert len(keys) >= 6
    expected = zip(variables["rank_low"], variables["rank_high"], strict=True)
    assert [found[key] for key in keys] == [(int(low), int(high)) for low, high in expected]
    assert set(rank_intervals(tmp_path / "out", MODELS_TOO)) == set(found)


def test_too_few_patients_have_none(tmp_path):
    made_run(np.random.default_rng(0), 8).analysed(tmp_path, resamples=10)
    assert rank_intervals(tmp_path / "out") == {}
