"""A run killed in mid-training, with all its jobs, is taken up again and ends with the bytes of an undisturbed one."""

import os
import shutil
import signal
import subprocess
import sys
import time

from workflow.conftest import Project

FOLD = "results/small/models/lstm/seed_0/fold_0"
TARGETS = [f"{FOLD}/model.safetensors", FOLD.replace("fold_0", "fold_1") + "/model.safetensors"]
FILES = ("model.safetensors", "model.json", "history.parquet", "predictions.parquet")


def kill_in_mid_training(project):
    """Start the run in a session of its own, wait for a kept state, and kill the whole session."""
    state = project.folder / FOLD / ".resume" / "state.safetensors"
    process = subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--cores", "1", *TARGETS],
        cwd=project.folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while not state.exists() and process.poll() is None:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    return state


def test_a_run_killed_in_mid_training_ends_with_the_same_bytes(project, tmp_path):
    project.edit_config("training.epochs", 300)
    shutil.copytree(project.folder, tmp_path / "undisturbed", symlinks=True)
    undisturbed = Project(tmp_path / "undisturbed")
    undisturbed.snakemake(*TARGETS)  # two cores

    state = kill_in_mid_training(project)
    assert state.exists() and not (project.folder / FOLD / "model.safetensors").exists()
    project.snakemake("--unlock")
    project.snakemake("--cores", "1", *TARGETS)
    log = (project.folder / "results/small/logs/train_lstm_seed_0_fold_0.log").read_text()
    assert "where an earlier run was interrupted" in log
    assert not state.parent.exists()
    for fold in (FOLD, FOLD.replace("fold_0", "fold_1")):
        for file in FILES:
            assert (project.folder / fold / file).read_bytes() == (undisturbed.folder / fold / file).read_bytes(), file
