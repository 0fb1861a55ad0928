"""Edits while jobs run: a result is never kept as if nothing had happened."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from workflow.conftest import Project

ATTACKS = [(mode, fold) for mode in ("ista", "sun2018") for fold in (0, 1)]
LOGS = [f"results/small/logs/attack_lstm_{mode}_seed_0_fold_{fold}_shard_0.log" for mode, fold in ATTACKS]
SHARDS = [f"results/small/attacks/lstm/{mode}/seed_0/fold_{fold}/shards/0/outcomes.parquet" for mode, fold in ATTACKS]


@contextmanager
def running(project: Project, *arguments: str) -> Iterator[subprocess.Popen]:
    """Snakemake at work in the project, one job at a time; what it prints is read when it ends."""
    command = [sys.executable, "-m", "snakemake", "--cores", "1", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command,
        cwd=project.folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_until(condition: Callable[[], bool], process: subprocess.Popen) -> None:
    while not condition():
        assert process.poll() is None, process.communicate()[0][-4000:]
        time.sleep(0.02)


def outcomes(project: Project) -> dict[str, bytes]:
    return {file: (project.folder / file).read_bytes() for file in SHARDS}


def test_a_key_edited_while_its_job_runs_makes_the_result_stale(project):
    """Jobs go on with the values that they were planned with; the next plan has the new ones."""
    logs = [project.folder / log for log in LOGS]
    for log in logs:
        log.unlink()
    before = outcomes(project)
    with running(project, *SHARDS, "--forcerun", "attack") as process:
        wait_until(lambda: any(log.exists() for log in logs), process)
        project.edit_config("attack.lambdas.low", 0.001)
        output = process.communicate()[0]
        assert process.returncode == 0, output[-4000:]
    assert outcomes(project) == before
    assert project.stale_rules()["attack"] == 4


def test_code_edited_between_the_plan_and_a_job_ends_that_job_even_if_it_is_edited_back(project):
    """Without that, a result of the edited code would be recorded as one of the code that was planned."""
    module = project.folder / "scripts/ehr_attack/attacks/engine.py"
    text = module.read_text()
    logs = [project.folder / log for log in LOGS]
    for log in logs:
        log.unlink()
    before = outcomes(project)
    with running(project, *SHARDS, "--forcerun", "attack") as process:
        # The first job has all that it imports by the time that it says what it attacks.
        wait_until(lambda: any(log.exists() and "held-out" in log.read_text() for log in logs), process)
        module.write_text(text + "raise RuntimeError('this was never planned')\n")
        output = process.communicate()[0]
    assert process.returncode != 0
    assert "scripts/ehr_attack/attacks/engine.py: edited after this run was planned" in output
    assert "never planned" not in output and "Traceback" not in output
    module.write_text(text)
    project.snakemake(*SHARDS)
    assert project.stale_rules(*SHARDS) == {}
    assert outcomes(project) == before
