"""Training, on a small made-up cohort whose outcome the model can learn."""

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from ehr_attack import training
from ehr_attack.cohort_data import load_cohort
from ehr_attack.devices import make_deterministic
from ehr_attack.errors import UserError
from ehr_attack.models import MODELS
from ehr_attack.training import split_stays
from training_builder import VARIABLES, made_up_cohort, train


@pytest.fixture(scope="module")
def cohort():
    return made_up_cohort()


@pytest.fixture(scope="module")
def trained(cohort):
    return train(cohort)


def test_it_learns_what_there_is_to_learn(trained):
    test = trained.predictions[trained.predictions["split"] == "test"]
    assert roc_auc_score(test["label"], test["p_death"]) > 0.8


def test_the_kept_weights_are_those_of_the_best_validation_epoch(trained):
    history = trained.history
    assert history["chosen"].sum() == 1
    assert history.loc[history["chosen"], "validation_loss"].item() == history["validation_loss"].min()


def test_splits_share_no_patient(cohort):
    split = split_stays(cohort, 2, seed=0)
    assert set(split[cohort.folds == 2]) == {"test"}
    groups = {name: set(cohort.subject_ids[split == name]) for name in ("train", "validation", "test")}
    assert not (groups["train"] & groups["validation"] or groups["train"] & groups["test"])
    assert not groups["validation"] & groups["test"]


def test_the_same_seed_gives_the_same_bits_and_another_one_does_not(cohort, trained):
    again, other = train(cohort), train(cohort, seed=1)
    same = [torch.equal(a, b) for a, b in zip(trained.model.parameters(), again.model.parameters(), strict=True)]
    assert all(same) and trained.predictions.equals(again.predictions)
    assert not trained.predictions["p_death"].equals(other.predictions["p_death"])


def test_nothing_reads_what_was_not_written(cohort, monkeypatch):
    """Every model gives the same bits when new memory is filled with NaN beforehand."""

    def deterministic(seed):
        make_deterministic(seed)
        torch.utils.deterministic.fill_uninitialized_memory = True

    for name in MODELS:
        monkeypatch.undo()
        plain = train(cohort, model_name=name, epochs=2)
        monkeypatch.setattr(training, "make_deterministic", deterministic)
        filled = train(cohort, model_name=name, epochs=2)
        assert torch.utils.deterministic.fill_uninitialized_memory
        assert plain.predictions.equals(filled.predictions), name


def test_held_out_patients_do_not_influence_training(cohort, trained):
    """The values and labels of the held-out fold are replaced by noise; preprocessing and weights stay the same."""
    held_out = cohort.folds == 0
    values, labels = cohort.features.values.copy(), cohort.labels.copy()
    values[held_out] = 1e3
    labels[held_out] = 1 - labels[held_out]
    disturbed = dataclasses.replace(cohort, features=dataclasses.replace(cohort.features, values=values), labels=labels)
    again = train(disturbed)
    assert again.preprocessing.to_dict() == trained.preprocessing.to_dict()
    assert all(torch.equal(a, b) for a, b in zip(trained.model.parameters(), again.model.parameters(), strict=True))


@pytest.mark.parametrize("balance", ["none", "oversample", "weights"])
def test_every_class_balance_trains(cohort, balance):
    assert np.isfinite(train(cohort, class_balance=balance, epochs=2).history["train_loss"]).all()


def test_balancing_raises_the_predicted_risk(cohort):
    """Deaths are the rarer class here, so balancing must push predictions up."""
    assert cohort.labels.mean() < 0.4
    balances = ("none", "oversample", "weights")
    mean = {b: train(cohort, class_balance=b, epochs=2).predictions["p_death"].mean() for b in balances}
    assert mean["oversample"] > mean["none"] and mean["weights"] > mean["none"]


def test_bfloat16_training_comes_close_to_float32(cohort, trained):
    half = train(cohort, precision="bfloat16")
    difference = (half.predictions["p_death"] - trained.predictions["p_death"]).abs()
    assert 0 < difference.mean() < 0.1


def test_a_diverging_training_names_the_learning_rate(cohort):
    with pytest.raises(UserError, match=r"training\.lr.*diverged"):
        train(cohort, lr=1e30, epochs=2)


def test_training_ends_when_patience_does_and_keeps_what_it_would_have_kept(cohort):
    """With the same seed the epochs are the same, so that stopping can only cut the history short."""
    patient, impatient = train(cohort, epochs=40, lr=0.05), train(cohort, epochs=40, lr=0.05, patience=3)
    losses = patient.history["validation_loss"].tolist()
    best, expected = 0, 40
    for epoch, loss in enumerate(losses):
        best = epoch if loss < losses[best] else best
        if epoch - best == 3:
            expected = epoch + 1
            break
    assert expected < 40
    assert impatient.history["validation_loss"].tolist() == losses[:expected]
    assert impatient.history["chosen"].tolist() == [epoch == best for epoch in range(expected)]


def test_weight_decay_shrinks_the_weights(cohort, trained):
    def size(fold):
        return sum(float(weight.detach().square().sum()) for weight in fold.model.parameters())

    decayed, none = train(cohort, weight_decay=1.0), train(cohort, weight_decay=0.0)
    assert size(decayed) < 0.9 * size(trained)
    assert size(none) == size(trained)  # the LSTM brings no weight decay of its own


def test_a_device_that_is_not_there_is_refused(cohort):
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(UserError, match=r"training\.device: cuda was asked for"):
        train(cohort, device="cuda")


def test_tables_of_different_runs_are_not_mixed(tmp_path, cohort):
    import pandas as pd

    from ehr_attack.schemas.cohort import FOLDS, STAYS, features_schema
    from ehr_attack.storage import write_frame

    features = pd.DataFrame({"stay_id": [1, 1, 2, 2], "hour": [0, 1, 0, 1]} | {v.name: 1.0 for v in VARIABLES})
    write_frame(features, tmp_path / "features.parquet", features_schema([v.name for v in VARIABLES]))
    stays = pd.DataFrame({field.name: [None, None] for field in STAYS})
    stays = stays.assign(stay_id=[1, 3], subject_id=[1, 3], died_in_hospital=[True, False])
    write_frame(stays, tmp_path / "stays.parquet", STAYS)
    write_frame(pd.DataFrame({"stay_id": [1, 3], "fold": [0, 1]}), tmp_path / "folds.parquet", FOLDS)
    paths = [tmp_path / f"{name}.parquet" for name in ("features", "stays", "folds")]
    with pytest.raises(UserError, match="do not hold the same stays"):
        load_cohort(*paths, variables=VARIABLES, window_hours=2)
