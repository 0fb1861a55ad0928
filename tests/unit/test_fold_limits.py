"""Folds at the edge of what can be split: as few patients, deaths and survivors as there are parts, and one fewer."""

import numpy as np
import pandas as pd
import pytest

from ehr_attack.errors import UserError
from ehr_attack.folds import assign_folds, folds_by_set, inner_validation


def cohort(*outcomes, sets=None):
    """A patient a text, a stay a letter: `d` died, `s` survived. sets: the set of each patient."""
    rows = [(patient, letter == "d") for patient, stays in enumerate(outcomes) for letter in stays]
    frame = pd.DataFrame(rows, columns=["subject_id", "died_in_hospital"])
    frame = frame.assign(stay_id=100 + np.arange(len(frame)))
    return frame if sets is None else frame.assign(source_set=frame["subject_id"].map(dict(enumerate(sets))))


def test_as_many_patients_as_folds_are_enough():
    folds = assign_folds(cohort("ds", "sd", "ds"), 3, seed=0)
    assert folds["fold"].iloc[::2].tolist() == folds["fold"].iloc[1::2].tolist()
    assert sorted(folds["fold"]) == [0, 0, 1, 1, 2, 2]


def test_as_many_deaths_as_folds_are_enough_and_one_fewer_is_not():
    folds = assign_folds(stays := cohort("d", "d", "d", *"sssss"), 3, seed=0)
    assert sorted(folds["fold"][stays["died_in_hospital"]]) == [0, 1, 2]
    with pytest.raises(UserError, match="deaths and all but <10 survivors, too few to spread over 3 parts"):
        assign_folds(cohort("d", "d", *"s" * 30), 3, seed=0)


def test_the_last_fold_is_looked_at_too_and_lacking_survivors_are_named():
    """All three survivors are one patient's: wherever they go, the other two folds hold deaths alone."""
    with pytest.raises(UserError, match=r"folds\.count: fold [01] of 3 would hold only deaths"):
        assign_folds(cohort("sss", *"d" * 12), 3, seed=0)
    # The patient with both deaths is dealt out first, to fold 0.
    with pytest.raises(UserError, match=r"fold 1 of 2 would hold only survivors"):
        assign_folds(cohort("dd", *"s" * 8), 2, seed=0)


def test_stays_come_back_by_id_in_whole_numbers():
    folds = assign_folds(cohort("ds", "sd", "ds").iloc[::-1], 3, seed=0)
    assert folds["stay_id"].tolist() == list(range(100, 106))
    assert folds.dtypes.astype(str).tolist() == ["int64", "int32"]


def test_a_held_out_set_leaves_both_outcomes_to_train_on():
    """Of three sets c and b are held out in turn; a is trained on only."""
    stays = cohort("d", "s", "d", "s", "d", "s", sets="aabbcc")
    folds = folds_by_set(stays.iloc[::-1], ["c", "b"])
    assert folds["fold"].tolist() == [-1, -1, 1, 1, 0, 0] and folds["fold"].dtype == np.int32
    with pytest.raises(UserError, match="with set b held out, what is left to train on would hold only deaths"):
        folds_by_set(cohort("d", "d", "d", "s", sets="aabb"), ["b"])
    with pytest.raises(UserError, match="with set b held out, what is left to train on would hold no stay"):
        folds_by_set(cohort("d", "s", sets="bb"), ["b"])


def test_sets_share_no_patient():
    stays = cohort("ds", "ds", "ds", sets="abc")
    assert folds_by_set(stays, ["a", "b"])["fold"].tolist() == [0, 0, 1, 1, -1, -1]
    stays.loc[1, "source_set"] = "c"
    with pytest.raises(UserError, match="needs sets that share no patient, but some patients have stays in two sets"):
        folds_by_set(stays, ["a", "b"])


def inner(outcomes, seed=0):
    stays = cohort(*outcomes)
    labels, subjects = stays["died_in_hospital"].to_numpy(np.int8), stays["subject_id"].to_numpy()
    return inner_validation(labels, subjects, seed), labels


def test_an_eighth_is_held_out_for_validation():
    """80 patients, 16 deaths: eight parts of ten patients and two deaths each."""
    held_out, labels = inner(["d"] * 16 + ["s"] * 64)
    assert held_out.sum() == 10 and labels[held_out].sum() == 2


def test_the_seed_decides_who_is_held_out():
    outcomes = ["d"] * 16 + ["s"] * 64
    first, again, other = (inner(outcomes, seed)[0].tolist() for seed in (3, 3, 4))
    assert first == again and first != other


@pytest.mark.parametrize(("deaths", "survivors"), [(3, 30), (30, 3), (2, 40)])
def test_with_few_of_an_outcome_each_part_still_holds_one(deaths, survivors):
    """As many parts as the rarer outcome has stays."""
    held_out, labels = inner(["d"] * deaths + ["s"] * survivors)
    rarer = labels == (deaths < survivors)
    assert held_out[rarer].sum() == 1
    assert held_out[~rarer].sum() == pytest.approx(max(deaths, survivors) / min(deaths, survivors), abs=1)


def test_with_few_patients_there_are_as_many_parts():
    """Four patients of ten stays each, five of them deaths: a part is one patient."""
    held_out, _ = inner(["dsdsdsdsds"] * 4)
    assert held_out.sum() == 10


@pytest.mark.parametrize("deaths", [0, 1])
def test_without_two_deaths_nothing_can_be_trained_and_validated_on(deaths):
    with pytest.raises(UserError, match="too few to spread over 2 parts"):
        inner(["d"] * deaths + ["s"] * 30)
