"""Every model from training to checkpoint to attack, on a small made-up cohort with stays of unequal length."""

import json

import numpy as np
import pytest
import torch

from ehr_attack.attacks.fold import FoldAttack, Shard, attack_fold
from ehr_attack.attacks.records import AttackTables
from ehr_attack.checkpoint import load_checkpoint, model_code
from ehr_attack.cohort_data import CohortData
from ehr_attack.config import validated_config
from ehr_attack.errors import UserError
from ehr_attack.feature_tensor import FeatureTensor
from ehr_attack.inputs import INPUTS, channel_count, model_inputs
from ehr_attack.models import MODELS
from ehr_attack.training import predict, save_trained, train_fold
from ehr_attack.variables import load_variables

VARIABLES = load_variables()[:4]
DEFAULTS = validated_config({})
TRAINING = DEFAULTS["training"] | {"device": "cpu", "epochs": 3, "batch_size": 16, "lr": 0.01}
ATTACK = DEFAULTS["attack"] | {
    "device": "cpu",
    "lambdas": {"count": 2, "low": 0.0001, "high": 0.001},
    "steps": 15,
    "rate": 0.1,
    "max_stays": 12,
}


@pytest.fixture(scope="module")
def cohort():
    """80 stays of 4 to 6 hours; the last value of variable 0 tells the outcome."""
    random = np.random.default_rng(0)
    values = random.normal(size=(80, 6, 4)).astype(np.float32)
    n_hours = random.integers(4, 7, size=80)
    last = values[np.arange(80), n_hours - 1, 0]
    labels = (last + random.normal(size=80) * 0.2 > 0.3).astype(np.int8)
    values[random.random(values.shape) < 0.3] = np.nan
    values[np.arange(6)[None, :] >= n_hours[:, None]] = np.nan
    stays = np.arange(80)
    return CohortData(
        variable_names=tuple(variable.name for variable in VARIABLES),
        features=FeatureTensor(stays, values, np.full((80, 4), np.nan, dtype=np.float32), n_hours),
        labels=labels,
        subject_ids=stays,
        folds=(stays % 4).astype(np.int32),
    )


def train(cohort, name, **changes):
    settings = TRAINING | changes
    return train_fold(
        cohort=cohort, fold=1, model_name=name, seed=0, imputation="forward", settings=settings, code=model_code(name)
    )


def save_and_load(trained, folder):
    files = {name: str(folder / name) for name in ("weights", "sidecar", "history", "predictions")}
    save_trained(trained, VARIABLES, **files)
    name = trained.details["architecture"]
    return load_checkpoint(
        folder / "weights", folder / "sidecar", model_name=name, variables=VARIABLES
    ), folder / "sidecar"


@pytest.mark.parametrize("name", MODELS)
def test_a_checkpoint_predicts_and_is_attacked_as_trained(cohort, name, tmp_path):
    trained = train(cohort, name, inputs="values_mask")
    checkpoint, sidecar = save_and_load(trained, tmp_path)
    expected = "values_mask_delta" if name in ("grud", "ensemble") else "values_mask"
    assert json.loads(sidecar.read_text())["inputs"] == checkpoint.inputs == expected
    features = cohort.features
    inputs = model_inputs(
        checkpoint.preprocessing, checkpoint.inputs, features.values, features.carry_in, features.n_hours
    )
    p_death = predict(checkpoint.model, torch.from_numpy(inputs), torch.from_numpy(features.n_hours))
    assert np.array_equal(p_death, trained.predictions["p_death"].to_numpy())
    attack = FoldAttack(
        cohort=cohort, checkpoint=checkpoint, variables=VARIABLES, mode_name="ista", seed=0, fold=1,
        shard=Shard(0, 1), settings=ATTACK,
    )  # fmt: skip
    tables = AttackTables.joined(list(attack_fold(attack)))
    table = tables.outcomes.to_pandas()
    assert len(table) > 0 and np.isfinite(table["margin"]).all()
    # float32 at training against float64 when judged: the attack sees what the model was trained on, or it would show.
    clean = trained.predictions.set_index("stay_id")["p_death"].loc[table["stay_id"]]
    np.testing.assert_allclose(table["p_clean"], clean, atol=1e-5)
    changed = tables.perturbations.to_pandas()
    assert set(changed["variable"]) <= {variable.name for variable in VARIABLES}
    assert (changed["hour"].to_numpy() < features.n_hours[changed["stay_id"].to_numpy()]).all()


@pytest.mark.parametrize("name", MODELS)
def test_the_same_seed_gives_the_same_bits(cohort, name):
    states = [train(cohort, name).model.state_dict() for _ in range(2)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize("name", MODELS)
def test_bfloat16_training_works(cohort, name):
    assert np.isfinite(train(cohort, name, precision="bfloat16").predictions["p_death"]).all()


@pytest.mark.parametrize("kind", INPUTS)
def test_a_model_without_inputs_of_its_own_takes_the_configured_ones(cohort, kind):
    model = train(cohort, "lstm", inputs=kind).model
    assert model.lstm.input_size == channel_count(kind, 4)


def test_recorded_or_not_is_learnt_from_masks_only():
    """The outcome is whether variable 1 was recorded at all; its values say nothing."""
    random = np.random.default_rng(1)
    values = random.normal(size=(120, 6, 4)).astype(np.float32)
    labels = random.integers(0, 2, size=120).astype(np.int8)
    values[labels == 0, :, 1] = np.nan
    values[labels == 1, 1:, 1] = np.nan
    values[labels == 1, 0, 1] = 0.0
    stays = np.arange(120)
    carry_in = np.zeros((120, 4), dtype=np.float32)  # so that the imputed values are the same
    features = FeatureTensor(stays, values, carry_in, np.full(120, 6))
    cohort = CohortData(tuple(v.name for v in VARIABLES), features, labels, stays, (stays % 4).astype(np.int32))
    accuracy = {}
    for kind in ("values", "values_mask"):
        test = train(cohort, "gru", inputs=kind, epochs=12).predictions.query("split == 'test'")
        accuracy[kind] = ((test["p_death"] > 0.5) == test["label"]).mean()
    assert accuracy["values_mask"] > 0.95 and accuracy["values"] < 0.75


def test_a_checkpoint_of_other_inputs_is_refused(cohort, tmp_path):
    _, sidecar = save_and_load(train(cohort, "grud", epochs=1), tmp_path)
    sidecar.write_text(sidecar.read_text().replace('"inputs": "values_mask_delta"', '"inputs": "values"', 1))
    with pytest.raises(UserError, match=r"sidecar: inputs 'values' are not what this version gives to a grud model"):
        load_checkpoint(tmp_path / "weights", sidecar, model_name="grud", variables=VARIABLES)
