"""Screening what the workflow has made: `run.json` says all that is needed, and predictions are those of training."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd


def ehr_attack(project, *arguments):
    """Run the command line of the project's own code on its finished run."""
    return subprocess.run(
        [sys.executable, "-m", "ehr_attack.cli", *arguments, "--run", "results/small", "--device", "cpu"],
        cwd=project.folder,
        env=os.environ | {"PYTHONPATH": str(project.folder / "scripts")},
        capture_output=True,
        text=True,
        check=True,
    )


def test_the_description_holds_the_config_and_no_path(finished):
    stored = json.loads((finished.folder / "results/small/run.json").read_text())
    assert (stored["window_hours"], stored["folds"], stored["models"]) == (48, 2, ["lstm"])
    assert stored["modes"] == ["sun2018", "ista"] and stored["attack"]["steps"] == 6
    assert str(finished.folder) not in json.dumps(stored)


def test_held_out_stays_are_predicted_as_in_training(finished, tmp_path):
    ehr_attack(finished, "predict", "--all-held-out", "--out", str(tmp_path / "p.parquet"))
    found = pd.read_parquet(tmp_path / "p.parquet")
    files = (finished.folder / "results/small/models/lstm/seed_0").glob("fold_*/predictions.parquet")
    wanted = pd.concat(pd.read_parquet(path) for path in files).query("split == 'test'").sort_values("stay_id")
    assert found["stay_id"].tolist() == wanted["stay_id"].tolist()
    np.testing.assert_allclose(found["p_death"], wanted["p_death"], atol=1e-6)


def test_a_held_out_stay_is_screened_with_the_ranks_of_the_run(finished, tmp_path):
    stays = pd.read_parquet(finished.folder / "results/small/extract/stays.parquet")["stay_id"]
    chosen = [str(stay) for stay in stays[:4]]
    ehr_attack(finished, "screen", "--stay", *chosen, "--out", str(tmp_path / "out"))
    data = json.loads((tmp_path / "out" / "screen.json").read_text())
    assert sorted(str(stay["stay_id"]) for stay in data["stays"]) == sorted(chosen)
    assert data["population"]["ranks_mode"] == "sun2018"
    assert "no attacks of mode measurement" in data["population"]["missing"]
