"""The hyperparameter search: nested, deterministic, taken up again after a kill, and handed on to training."""

import dataclasses
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
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

import training_builder
from ehr_attack.errors import UserError
from ehr_attack.figures.tuning import plot_tuning, tuning_figure
from ehr_attack.hyperparameters import load_chosen
from ehr_attack.training import train_fold
from training_builder import SETTINGS, TUNING, made_up_cohort, train, tune

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture(scope="module")
def cohort():
    return made_up_cohort()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("search")


@pytest.fixture(scope="module")
def tuned(cohort, folder):
    return tune(cohort, folder)


def test_the_chosen_trial_is_the_one_with_the_smallest_validation_loss(tuned):
    trials = tuned.trials
    complete = trials[trials["state"] == "complete"]
    assert len(trials) == TUNING["trials"] and set(trials["state"]) == {"complete", "pruned"}
    best = complete.loc[complete["validation_loss"].idxmin()]
    assert trials["chosen"].sum() == 1 and bool(best["chosen"])
    assert tuned.chosen["settings"] == {key: best[key] for key in ("lr", "weight_decay", "batch_size")}
    assert (trials.loc[trials["state"] == "pruned", "epochs"] < 6).all() and (complete["epochs"] == 6).all()
    assert trials["lr"].between(*TUNING["lr"]).all() and set(trials["batch_size"]) == {16, 32}


def test_held_out_patients_have_no_say(cohort, tuned, tmp_path):
    """The values and labels of the held-out fold are replaced by noise; every trial is the same to the bit."""
    held_out = cohort.folds == 0
    values, labels = cohort.features.values.copy(), cohort.labels.copy()
    values[held_out] = np.random.default_rng(1).normal(50, 20, values[held_out].shape)
    labels[held_out] = 1 - labels[held_out]
    disturbed = dataclasses.replace(cohort, features=dataclasses.replace(cohort.features, values=values), labels=labels)
    again = tune(disturbed, tmp_path)
    assert again.trials.equals(tuned.trials) and again.chosen == tuned.chosen


def test_other_training_patients_have_one(cohort, tuned, tmp_path):
    assert not tune(cohort, tmp_path, fold=1).trials["validation_loss"].equals(tuned.trials["validation_loss"])


def test_training_with_the_chosen_settings_repeats_the_chosen_trial(cohort, tuned, folder):
    trained = train_fold(
        cohort=cohort,
        fold=0,
        model_name="lstm",
        seed=0,
        imputation="forward",
        settings=SETTINGS | {"epochs": 6},
        code={},
        tuned=load_chosen(folder / "hyperparameters"),
    )
    assert trained.history["validation_loss"].min() == tuned.chosen["validation_loss"]
    assert trained.details["training"]["lr"] == tuned.chosen["settings"]["lr"] != SETTINGS["lr"]
    assert trained.details["tuned"] == tuned.chosen


def test_more_trials_continue_the_search_and_make_none_again(cohort, tuned, folder, tmp_path, caplog):
    (tmp_path / "study.journal").write_bytes((folder / "study.journal").read_bytes())
    with caplog.at_level(logging.INFO):
        longer = tune(cohort, tmp_path, tuning={"trials": 15})
    assert "going on after 12 trials" in caplog.text
    assert [record.message.split(",")[0] for record in caplog.records if record.message.startswith("trial ")] == [
        "trial 13",
        "trial 14",
        "trial 15",
    ]
    columns = [name for name in longer.trials if name != "chosen"]
    assert longer.trials[columns][:12].equals(tuned.trials[columns])


def test_other_settings_or_data_begin_a_study_of_their_own(cohort, folder, tmp_path):
    (tmp_path / "study.journal").write_bytes((folder / "study.journal").read_bytes())
    once = tune(cohort, tmp_path, tuning={"trials": 1}, class_balance="none")
    other = tune(dataclasses.replace(cohort, file_digests={"features": "z"}), tmp_path, tuning={"trials": 1})
    assert len(once.trials) == len(other.trials) == 1
    assert once.chosen["study"] != other.chosen["study"]


def finished_trials(journal: Path) -> int:
    """Trials that the journal calls finished; 0 where there is no journal yet."""
    if not journal.exists():
        return 0
    storage = JournalStorage(JournalFileBackend(str(journal)))
    studies = storage.get_all_studies()
    trials = storage.get_all_trials(studies[0]._study_id) if studies else []
    return sum(trial.state.is_finished() for trial in trials)


def start_search(folder: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, training_builder.__file__, "tune", str(folder)],
        env=os.environ | {"PYTHONPATH": str(SCRIPTS)},
        stderr=subprocess.PIPE,
    )


def test_a_search_killed_in_mid_trial_ends_with_the_trials_of_an_undisturbed_one(tmp_path):
    killed = tmp_path / "killed"
    process = start_search(killed)
    while finished_trials(killed / "study.journal") < 7 and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    done = finished_trials(killed / "study.journal")
    assert 7 <= done < TUNING["trials"] and not (killed / "trials").exists()
    for folder in (killed, tmp_path / "undisturbed"):
        process = start_search(folder)
        assert process.wait() == 0, process.stderr.read()
    for name in ("trials", "hyperparameters"):
        assert (killed / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes()


def test_an_entry_cut_short_is_written_again(cohort, folder, tuned, tmp_path):
    content = (folder / "study.journal").read_bytes()
    (tmp_path / "study.journal").write_bytes(content[:-7])
    again = tune(cohort, tmp_path)
    assert again.trials.equals(tuned.trials) and again.chosen == tuned.chosen
    assert finished_trials(tmp_path / "study.journal") >= TUNING["trials"]


def test_fewer_trials_than_were_made_are_the_first_ones(cohort, folder, tuned, tmp_path):
    (tmp_path / "study.journal").write_bytes((folder / "study.journal").read_bytes())
    fewer, alone = tune(cohort, tmp_path, tuning={"trials": 5}), tune(cohort, tmp_path / "alone", tuning={"trials": 5})
    assert fewer.trials.equals(alone.trials) and fewer.chosen == alone.chosen


@pytest.mark.parametrize("content", [b"{\n", b"\x80\x04cos\nsystem\n", b'{"op_code": 0}\n{"op_code": 99}\n'])
def test_a_damaged_study_is_begun_anew(cohort, tmp_path, caplog, content):
    (tmp_path / "study.journal").write_bytes(content)
    (tmp_path / "study.journal.lock").symlink_to("nowhere")
    with caplog.at_level(logging.INFO):
        assert len(tune(cohort, tmp_path, tuning={"trials": 1}).trials) == 1
    assert "damaged: starting anew" in caplog.text


def test_what_is_not_searched_stays_as_configured(cohort, tmp_path):
    tuned = tune(cohort, tmp_path, tuning={"trials": 2, "lr": None, "weight_decay": None})
    assert set(tuned.chosen["settings"]) == {"batch_size"}
    assert tuned.trials["lr"].isna().all() and tuned.trials["weight_decay"].isna().all()


def test_a_search_in_which_all_diverge_names_the_key(cohort, tmp_path):
    with pytest.raises(UserError, match=r"training\.tuning: none of 2 trials"):
        tune(cohort, tmp_path, tuning={"trials": 2, "lr": [1e29, 1e30]})


@pytest.mark.parametrize("content", ["[]", '{"settings": {"epochs": 3}}', '{"settings": 1}', "{"])
def test_a_result_that_is_none_is_refused(tmp_path, content):
    file = tmp_path / "hyperparameters.json"
    file.write_text(content)
    with pytest.raises(UserError, match=r"hyperparameters\.json: not"):
        load_chosen(file)


def test_the_figure_shows_every_trial_and_each_searched_hyperparameter(tuned, folder, tmp_path):
    plot_tuning(model="lstm", trials=[folder / "trials"], out_dir=tmp_path, dpi=40, style="paper")
    assert {path.name for path in tmp_path.iterdir()} == {"tuning_lstm.svg", "tuning_lstm.png"}
    course, *slices = tuning_figure(tuned.trials).axes
    assert [axes.get_title(loc="left") or axes.get_title() for axes in slices] == [
        "Learning rate",
        "Weight decay",
        "Batch size",
    ]
    for axes in (course, *slices):
        points = {line.get_label(): line for line in axes.lines}
        shown = len(points["complete"].get_xdata()) + len(points["pruned"].get_xdata())
        assert shown == TUNING["trials"]
        assert points["chosen"].get_ydata().tolist() == [tuned.chosen["validation_loss"]]


def test_the_search_is_recorded_for_other_tools(folder):
    """Optuna reads the study, and its values are plain JSON."""
    lines = (folder / "study.journal").read_text().splitlines()
    assert all(isinstance(json.loads(line), dict) for line in lines)
    assert finished_trials(folder / "study.journal") == TUNING["trials"]


def test_an_untuned_training_says_so(cohort):
    assert train(cohort, epochs=1).details["tuned"] is None
