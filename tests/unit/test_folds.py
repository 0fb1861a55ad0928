import numpy as np
import pandas as pd
import pytest

from ehr_attack.errors import UserError
from ehr_attack.folds import assign_folds, inner_validation


def stays(patients=60, stays_a_patient=2, share_dead=0.3, seed=0):
    random = np.random.default_rng(seed)
    subject = np.repeat(np.arange(patients) + 1000, stays_a_patient)
    died = np.repeat(random.random(patients) < share_dead, stays_a_patient)
    return pd.DataFrame({"stay_id": random.permutation(subject.size), "subject_id": subject, "died_in_hospital": died})


def test_every_stay_is_held_out_once_and_patients_never_straddle_folds():
    cohort = stays()
    folds = assign_folds(cohort, 5, seed=0)
    assert sorted(folds["stay_id"]) == sorted(cohort["stay_id"])
    assert set(folds["fold"]) == set(range(5))
    assert cohort.merge(folds).groupby("subject_id")["fold"].nunique().max() == 1


def test_deaths_are_spread_evenly():
    joined = (cohort := stays(patients=200)).merge(assign_folds(cohort, 5, seed=0))
    assert joined.groupby("fold")["died_in_hospital"].mean().std() < 0.05


def test_the_order_of_rows_does_not_matter():
    cohort = stays()
    shuffled = cohort.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(assign_folds(cohort, 4, seed=3), assign_folds(shuffled, 4, seed=3))


def test_another_seed_gives_other_folds():
    cohort = stays()
    assert not assign_folds(cohort, 4, seed=3).equals(assign_folds(cohort, 4, seed=4))


def test_fewer_patients_than_folds_is_refused():
    with pytest.raises(UserError, match=r"folds\.count: 5 folds need at least 5 patients.*has <10\."):
        assign_folds(stays(patients=3), 5, seed=0)


def test_too_few_deaths_for_the_folds_is_refused():
    cohort = stays(patients=40, share_dead=0.0)
    cohort.loc[cohort["subject_id"] == 1000, "died_in_hospital"] = True
    with pytest.raises(UserError, match=r"folds\.count.*<10 deaths and all but <10 survivors"):
        assign_folds(cohort, 5, seed=0)


def test_a_fold_of_one_class_is_refused():
    """Six deaths, but all of one patient: they cannot be spread over three folds."""
    cohort = stays(patients=30, stays_a_patient=6, share_dead=0.0)
    cohort.loc[cohort["subject_id"] == 1000, "died_in_hospital"] = True
    with pytest.raises(UserError, match=r"folds\.count: fold \d of 3 would hold only survivors"):
        assign_folds(cohort, 3, seed=0)


def test_inner_validation_keeps_patients_together_and_holds_both_outcomes():
    cohort = stays(patients=100)
    labels, subjects = cohort["died_in_hospital"].to_numpy(np.int8), cohort["subject_id"].to_numpy()
    inner = inner_validation(labels, subjects, seed=0)
    assert not set(subjects[inner]) & set(subjects[~inner])
    assert 0.05 < inner.mean() < 0.25
    assert 0 < labels[inner].sum() < inner.sum()
