"""Checkpoints: what is stored, and that what does not fit is refused with the reason, whatever the files hold."""

import json
import struct

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save, save_file

from ehr_attack.checkpoint import load_checkpoint
from ehr_attack.errors import UserError
from ehr_attack.storage import file_digest
from ehr_attack.training import predict
from ehr_attack.variables import load_variables
from training_builder import VARIABLES, made_up_cohort, train
from training_builder import save as save_training


@pytest.fixture(scope="module")
def cohort():
    return made_up_cohort()


@pytest.fixture(scope="module")
def trained(cohort):
    return train(cohort, epochs=2)


@pytest.fixture
def files(trained, tmp_path):
    return save_training(trained, tmp_path)


def loaded(files, model_name="lstm", variables=VARIABLES, data=None):
    return load_checkpoint(files["weights"], files["sidecar"], model_name=model_name, variables=variables, data=data)


def rewrite(files, **changes):
    """Change the sidecar; the weights' digest is kept right where the weights have changed."""
    details = json.loads(files["sidecar"].read_text()) | {"weights_sha256": file_digest(files["weights"])} | changes
    files["sidecar"].write_text(json.dumps(details))


def test_a_checkpoint_comes_back_with_the_same_predictions(cohort, trained, files):
    checkpoint = loaded(files, data=cohort.file_digests)
    features = cohort.features
    inputs = checkpoint.preprocessing.apply(features.values, features.carry_in, features.n_hours)
    p_death = predict(checkpoint.model, torch.from_numpy(inputs), torch.from_numpy(features.n_hours))
    assert np.array_equal(p_death, trained.predictions["p_death"].to_numpy())


def test_the_sidecar_says_what_the_model_is_and_what_made_it(files):
    details = json.loads(files["sidecar"].read_text())
    assert details["units"]["heart_rate"] == "bpm"
    assert details["weights"]["lstm.weight_hh_l0"] == ["float32", 512, 128]
    assert (details["architecture"], details["seed"], details["fold"], details["device"]) == ("lstm", 0, 0, "cpu")
    assert details["data"] == {"features": "a", "stays": "b", "folds": "c"}
    assert {"scripts/ehr_attack/models/lstm.py", "scripts/ehr_attack/preprocessing.py"} <= set(details["code"])
    assert details["weights_sha256"] == file_digest(files["weights"])
    assert details["training"]["epochs"] == 2


def test_another_model_other_variables_units_code_or_data_are_refused(cohort, files):
    with pytest.raises(UserError, match=r"model\.json: a model 'lstm', but 'gru' is expected"):
        loaded(files, model_name="gru")
    with pytest.raises(UserError, match=r"model\.json: trained on the variables heart_rate"):
        loaded(files, variables=load_variables()[:5])
    with pytest.raises(UserError, match=r"another version of the data \(features\)"):
        loaded(files, data=cohort.file_digests | {"features": "z"})
    details = json.loads(files["sidecar"].read_text())
    rewrite(files, code=details["code"] | {"scripts/ehr_attack/models/lstm.py": "0"})
    with pytest.raises(UserError, match=r"another version of the code \(scripts/ehr_attack/models/lstm\.py\)"):
        loaded(files)
    rewrite(files, code=details["code"], units=details["units"] | {"heart_rate": "Hz"})
    with pytest.raises(UserError, match="other units"):
        loaded(files)


def test_weights_that_do_not_belong_to_the_sidecar_are_refused(files):
    content = bytearray(files["weights"].read_bytes())
    content[-1] ^= 1
    files["weights"].write_bytes(content)
    with pytest.raises(UserError, match=r"the weights are not those that"):
        loaded(files)
    files["weights"].unlink()
    with pytest.raises(UserError, match="cannot be read"):
        loaded(files)


@pytest.mark.parametrize("change", ["type", "shape", "missing", "more", "nan"])
def test_weights_of_another_shape_or_type_are_refused_though_their_digest_is_right(files, change):
    weights = load_file(files["weights"])
    bias = weights["output.bias"]
    if change == "missing":
        del weights["output.bias"]
    elif change == "more":
        weights["output.more"] = bias.clone()
    else:
        weights["output.bias"] = {"type": bias.double(), "shape": bias[:1].clone(), "nan": bias * float("nan")}[change]
    save_file(weights, files["weights"])
    rewrite(files)
    with pytest.raises(UserError, match="not finite" if change == "nan" else "not the weights of a lstm model"):
        loaded(files)


HOSTILE_SIDECARS = {
    "empty": b"",
    "no JSON": b"{",
    "no text": b"\xff\xfe\x00",
    "a list": b"[]",
    "a number": b"1",
    "nothing in it": b"{}",
    "nested too deep": b"[" * 100_000,
    "a huge number": b'{"model": 1' + b"0" * 10_000 + b"}",
}


@pytest.mark.parametrize("content", HOSTILE_SIDECARS.values(), ids=HOSTILE_SIDECARS)
def test_a_hostile_sidecar_ends_in_a_clear_error(files, content):
    files["sidecar"].write_bytes(content)
    with pytest.raises(UserError, match=r"model\.json: not a"):
        loaded(files)


HOSTILE_WEIGHTS = {
    "empty": b"",
    "a pickle": b"cos\nsystem\n(S'touch owned'\ntR.",
    "an endless header": struct.pack("<Q", 2**63) + b"{}",
    "no JSON": struct.pack("<Q", 3) + b"{{{",
    "offsets outside": struct.pack("<Q", 65) + b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,99999999999]}}  ',
    "others": save({"a": torch.zeros(1)}),
}


@pytest.mark.parametrize("content", HOSTILE_WEIGHTS.values(), ids=HOSTILE_WEIGHTS)
def test_hostile_weights_end_in_a_clear_error_though_their_digest_is_right(files, content, monkeypatch):
    monkeypatch.chdir(files["weights"].parent)
    files["weights"].write_bytes(content)
    rewrite(files)
    with pytest.raises(UserError, match=r"model\.safetensors: not"):
        loaded(files)
    assert not (files["weights"].parent / "owned").exists()


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=6,
)
KEYS = ["architecture", "inputs", "weights", "weights_sha256", "code", "data", "units", "preprocessing"]
PARTS = ["imputation", "variable_names", "low", "high", "median", "seen"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.sampled_from([*KEYS, *PARTS]), value=PLAIN)
def test_a_sidecar_with_anything_in_place_of_one_part_never_loads(files, key, value):
    before = files["sidecar"].read_text()
    details = json.loads(before)
    part = details["preprocessing"] if key in PARTS else details
    if part[key] == value or (key == "seen" and value == [True] * 4) or key == "imputation":
        return
    part[key] = value
    files["sidecar"].write_text(json.dumps(details))
    try:
        with pytest.raises(UserError, match=r"model\."):
            loaded(files, data={"features": "a"})
    finally:
        files["sidecar"].write_text(before)
