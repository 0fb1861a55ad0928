"""A run with a hyperparameter search: what it chose reaches the checkpoint, and more trials continue it."""

import json

MODEL = "results/small/models/lstm/seed_0"
TARGETS = [f"{MODEL}/fold_0/model.json", "results/small/figures/tuning_lstm.svg"]


def test_a_search_feeds_training_and_is_continued_by_more_trials(project):
    project.edit_config("training.tune", True)
    project.edit_config("training.tuning.trials", 2)
    project.snakemake(*TARGETS)
    chosen = json.loads((project.folder / MODEL / "fold_0/hyperparameters.json").read_text())
    details = json.loads((project.folder / MODEL / "fold_0/model.json").read_text())
    assert chosen["trials"] == 2 and details["tuned"] == chosen
    assert {key: details["training"][key] for key in chosen["settings"]} == chosen["settings"]
    assert (project.folder / TARGETS[1]).stat().st_size > 10_000

    project.edit_config("training.tuning.lr", None)
    assert project.stale_rules(*TARGETS)["tune"] == 2
    project.edit_config("training.tuning.lr", [0.0003, 0.01])
    assert project.stale_rules(*TARGETS) == {}
    project.edit_config("training.tuning.trials", 3)
    project.snakemake(*TARGETS)
    log = (project.folder / "results/small/logs/tune_lstm_seed_0_fold_0.log").read_text()
    assert "going on after 2 trials" in log and "trial 3," in log and "INFO trial 2," not in log
    assert json.loads((project.folder / MODEL / "fold_0/hyperparameters.json").read_text())["trials"] == 3
