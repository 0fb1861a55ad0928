"""Training and checkpoints, on a small made-up cohort whose outcome the model can learn."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from ehr_attack.checkpoint import load_checkpoint
from ehr_attack.cohort_data import CohortData, load_cohort
from ehr_attack.errors import UserError
from ehr_attack.feature_tensor import FeatureTensor
from ehr_attack.training import predict, save_trained, split_stays, train_fold
from ehr_attack.variables import load_variables

VARIABLES = load_variables()[:4]
SETTINGS = {
    "epochs": 8, "batch_size": 16, "lr": 0.01, "class_balance": "weights", "inputs": "values", "tune": False,
    "device": "cpu", "precision": "float32",
}  # fmt: skip


@pytest.fixture(scope="module")
def cohort():
    """160 stays of 80 patients, 6 hours, 4 variables; the last hours of variable 0 decide the outcome."""
    random = np.random.default_rng(0)
    values = random.normal(size=(160, 6, 4)).astype(np.float32)
    labels = (values[:, 4:, 0].mean(axis=1) > 0.5).astype(np.int8)
    values[random.random(values.shape) < 0.2] = np.nan
    features = FeatureTensor(
        stay_ids=np.arange(160),
        values=values,
        carry_in=np.full((160, 4), np.nan, dtype=np.float32),
        n_hours=np.full(160, 6),
    )
    subjects = np.repeat(np.arange(80), 2)
    return CohortData(
        variable_names=tuple(variable.name for variable in VARIABLES),
        features=features,
        labels=labels,
        subject_ids=subjects,
        folds=(subjects % 4).astype(np.int32),
    )


def train(cohort, seed=0, fold=0, **changes):
    return train_fold(
        cohort=cohort,
        fold=fold,
        model_name="lstm",
        seed=seed,
        imputation="forward",
        settings=SETTINGS | changes,
    )


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


def test_a_device_that_is_not_there_is_refused(cohort):
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(UserError, match=r"training\.device: cuda was asked for"):
        train(cohort, device="cuda")


@pytest.fixture
def files(trained, tmp_path):
    paths = {
        "weights": tmp_path / "model.safetensors",
        "sidecar": tmp_path / "model.json",
        "history": tmp_path / "history.parquet",
        "predictions": tmp_path / "predictions.parquet",
    }
    save_trained(trained, VARIABLES, **{name: str(path) for name, path in paths.items()})
    return paths


def test_a_checkpoint_comes_back_with_the_same_predictions(cohort, trained, files):
    checkpoint = load_checkpoint(files["weights"], files["sidecar"], VARIABLES)
    features = cohort.features
    inputs = checkpoint.preprocessing.apply(features.values, features.carry_in, features.n_hours)
    p_death = predict(checkpoint.model, torch.from_numpy(inputs), torch.from_numpy(features.n_hours))
    assert np.array_equal(p_death, trained.predictions["p_death"].to_numpy())
    assert json.loads(files["sidecar"].read_text())["units"]["heart_rate"] == "bpm"


def test_a_checkpoint_that_does_not_fit_is_refused(files):
    with pytest.raises(UserError, match=r"model\.json: trained on the variables heart_rate"):
        load_checkpoint(files["weights"], files["sidecar"], load_variables()[:5])
    content = bytearray(files["weights"].read_bytes())
    content[-1] ^= 1
    files["weights"].write_bytes(content)
    with pytest.raises(UserError, match=r"the weights are not those that"):
        load_checkpoint(files["weights"], files["sidecar"], VARIABLES)
    files["sidecar"].write_text("{}")
    with pytest.raises(UserError, match=r"not a checkpoint description"):
        load_checkpoint(files["weights"], files["sidecar"], VARIABLES)


def test_tables_of_different_runs_are_not_mixed(tmp_path, cohort):
    import pandas as pd

    from ehr_attack.schemas import FOLDS, STAYS, features_schema
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
