"""A killed training goes on where it was, and ends with the same bytes; a state that does not fit is left alone."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError, safe_open

import training_builder
from ehr_attack.fitting import Tensors, fit
from ehr_attack.resuming import ResumeFile, discard
from training_builder import LONG, SETTINGS, files_in, made_up_cohort, save, train

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def epochs_in(state: Path) -> int:
    """Finished epochs in a state file; 0 where there is none, or it is being replaced."""
    try:
        with safe_open(state, framework="pt") as opened:
            return len(json.loads(opened.metadata()["state"])["values"]["rows"])
    except (OSError, SafetensorError):
        return 0


def start_training(folder: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, training_builder.__file__, "train", str(folder)],
        env=os.environ | {"PYTHONPATH": str(SCRIPTS)},
        stderr=subprocess.PIPE,
    )


def test_a_training_killed_twice_ends_with_the_bytes_of_an_undisturbed_one(tmp_path):
    state = tmp_path / "killed" / ".resume" / "state.safetensors"
    stopped_at = [0]
    for _ in range(2):
        process = start_training(tmp_path / "killed")
        while epochs_in(state) <= stopped_at[-1] and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        stopped_at.append(epochs_in(state))
    assert 0 < stopped_at[1] < stopped_at[2] < LONG["epochs"]
    assert not any(path.exists() for path in files_in(tmp_path / "killed").values())

    finishing = start_training(tmp_path / "killed")
    assert finishing.wait() == 0, finishing.stderr.read()
    undisturbed = start_training(tmp_path / "undisturbed")
    assert undisturbed.wait() == 0, undisturbed.stderr.read()
    for name, path in files_in(tmp_path / "killed").items():
        assert path.read_bytes() == files_in(tmp_path / "undisturbed")[name].read_bytes(), name
    assert not state.parent.exists()


class Dropping(torch.nn.Module):
    """A model whose training draws random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout, self.layer = torch.nn.Dropout(0.5), torch.nn.Linear(3, 2)
        self.register_buffer("batches", torch.zeros(1))

    def forward(self, inputs, lengths=None):
        self.batches += self.training
        return self.layer(self.dropout(inputs[:, -1]))


class Interruption(Exception):
    pass


def fit_dropping(resume=None, stop_after=None):
    torch.manual_seed(5)
    model, random = Dropping(), np.random.default_rng(0)
    inputs = torch.from_numpy(random.random((40, 2, 3)).astype(np.float32))
    tensors = Tensors(inputs, torch.full((40,), 2), torch.from_numpy(random.integers(0, 2, 40)))

    def after_epoch(epoch, measured):
        if epoch == stop_after:
            raise Interruption

    history, chosen = fit(
        model,
        tensors,
        train=np.arange(30),
        validation=np.arange(30, 40),
        settings=SETTINGS | {"epochs": 12, "weight_decay": 0.0, "class_balance": "oversample"},
        seed=3,
        label="dropping",
        resume=resume,
        after_epoch=after_epoch,
    )
    return history, chosen, model.state_dict()


def test_random_states_optimiser_and_buffers_come_back(tmp_path):
    with pytest.raises(Interruption):
        fit_dropping(ResumeFile(tmp_path, "key"), stop_after=9)
    assert 1 <= epochs_in(tmp_path / "state.safetensors") <= 9
    torch.rand(7)  # what else happened to the generators in between does not matter
    history, chosen, weights = fit_dropping(ResumeFile(tmp_path, "key"))
    expected_history, expected_chosen, expected_weights = fit_dropping()
    assert history.equals(expected_history) and chosen == expected_chosen
    assert all(torch.equal(weights[name], expected_weights[name]) for name in expected_weights)


@pytest.mark.parametrize("damage", ["cut off", "one bit", "no safetensors", "empty"])
def test_a_damaged_state_is_ignored_with_a_line_in_the_log(tmp_path, caplog, damage):
    resume = ResumeFile(tmp_path, "key")
    resume.save({"a": torch.arange(3.0)}, {"rows": [1]})
    assert torch.equal(ResumeFile(tmp_path, "key").load()[0]["a"], torch.arange(3.0))
    file = tmp_path / "state.safetensors"
    content = bytearray(file.read_bytes())
    if damage == "one bit":
        content[-1] ^= 1
    file.write_bytes({"cut off": content[:-3], "no safetensors": b"cos\nsystem\n", "empty": b""}.get(damage, content))
    with caplog.at_level(logging.INFO):
        assert ResumeFile(tmp_path, "key").load() is None
    assert "damaged: starting anew" in caplog.text


def test_a_state_of_other_settings_code_or_data_is_ignored(tmp_path, caplog):
    cohort = made_up_cohort()
    expected = train(cohort, epochs=3)
    train(cohort, epochs=2, resume_folder=tmp_path)
    with caplog.at_level(logging.INFO):
        again = train(cohort, epochs=3, resume_folder=tmp_path)
    assert "of other settings, code or data: starting anew" in caplog.text
    assert again.history.equals(expected.history)


def test_a_training_killed_after_its_last_epoch_is_only_written(tmp_path):
    cohort = made_up_cohort()
    first = save(train(cohort, epochs=1, resume_folder=tmp_path / "state"), tmp_path / "first")
    again = save(train(cohort, epochs=1, resume_folder=tmp_path / "state"), tmp_path / "again")
    assert all(first[name].read_bytes() == again[name].read_bytes() for name in first)
    discard(tmp_path / "state")
    assert not (tmp_path / "state").exists()
