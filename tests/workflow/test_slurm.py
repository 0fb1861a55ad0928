"""The workflow on a real Slurm: who holds a GPU, what a cancelled job leads to, and what a failing one says."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import slurm_cluster as slurm
from real_parts import skip_or_fail
from workflow.conftest import Project, copy_project

ON_GPUS = {"train", "attack"}
# Without accounting the queue is asked; the other two only make a small run short.
HERE = (
    *("--workflow-profile", "profiles/slurm", "--default-resources", "slurm_partition=main", "runtime=10"),
    *("--slurm-status-command", "squeue", "--latency-wait", "5", "--slurm-init-seconds-before-status-checks", "6"),
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    if (reason := slurm.why_not()) is not None:
        skip_or_fail(reason)
    with slurm.running_cluster():
        yield


def submitted(project: Project, *arguments: str) -> subprocess.Popen[str]:
    """Snakemake at work on the cluster. Its errors are kept in `run.log`."""
    command = [sys.executable, "-m", "snakemake", *HERE, *arguments]
    with (project.folder / "run.log").open("w") as log:
        return subprocess.Popen(
            command, cwd=project.folder, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=log, stderr=log, text=True
        )


def ended(run: subprocess.Popen[str], seconds: int) -> int:
    """The exit status; a run that takes too long is interrupted, which cancels its jobs."""
    try:
        return run.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        run.send_signal(signal.SIGINT)
        run.wait(timeout=60)
        raise


def rule_of(job: dict[str, str]) -> str:
    """The rule or group of a job; the plugin writes it in the comment."""
    comment = job.get("Comment", "").strip()
    return next((rule for rule in ("train", "attack") if comment.startswith(f"rule_{rule}_")), comment)


@pytest.fixture(scope="module")
def finished_on_slurm(project_dir: Path, cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A run from the tables to the report, one of whose training jobs is cancelled in mid-run."""
    project = copy_project(project_dir, tmp_path_factory.mktemp("slurm") / "project")
    run = submitted(project)

    def training() -> list[dict[str, str]]:
        jobs = slurm.jobs(str(project.folder))
        return [job for job in jobs if rule_of(job) == "train" and job["JobState"] == "RUNNING"]

    first = slurm.wait_for(training, 240)
    if first:
        subprocess.run(["scancel", first[0]["JobId"]], check=True)
    status = ended(run, 600)
    assert status == 0, (project.folder / "run.log").read_text()[-3000:]
    assert first, "no training job was seen"
    return project


def test_the_run_ends_with_a_report_though_a_job_was_cancelled(finished_on_slurm: Project) -> None:
    assert (finished_on_slurm.folder / "results/small/report/index.html").stat().st_size > 10_000
    jobs = [job for job in slurm.jobs(str(finished_on_slurm.folder)) if rule_of(job) == "train"]
    assert Counter(job["JobState"] for job in jobs) == {"COMPLETED": 2, "CANCELLED": 1}


def test_training_and_attacks_hold_one_gpu_each_and_nothing_else_does(finished_on_slurm: Project) -> None:
    jobs = slurm.jobs(str(finished_on_slurm.folder))
    assert {rule_of(job) for job in jobs} > ON_GPUS
    for job in jobs:
        assert job.get("TresPerJob", "").strip() == ("gres:gpu:1" if rule_of(job) in ON_GPUS else ""), job["Comment"]


def test_a_cancelled_job_asks_for_more_memory_when_it_is_tried_again(finished_on_slurm: Project) -> None:
    jobs = [job for job in slurm.jobs(str(finished_on_slurm.folder)) if rule_of(job) == "train"]
    assert sorted(job["MinMemoryNode"] for job in jobs) == ["4000M", "4000M", "8000M"]


def test_results_are_those_of_a_run_without_a_cluster(finished_on_slurm: Project, finished: Project) -> None:
    results = Path("results/small")
    for file in ("report/index.html", "attacks/lstm/ista/seed_0/fold_1/outcomes.parquet"):
        assert (finished_on_slurm.folder / results / file).read_bytes() == (
            finished.folder / results / file
        ).read_bytes()


def test_nothing_is_left_to_do_for_a_plain_run(finished_on_slurm: Project) -> None:
    assert finished_on_slurm.stale_rules() == {}


def test_a_failing_job_ends_the_run_with_a_message_that_names_it(
    project_dir: Path, cluster: None, tmp_path: Path
) -> None:
    project = copy_project(project_dir, tmp_path / "project")
    project.edit_config("cohort.min_age_years", 120)
    assert ended(submitted(project, "--retries", "0"), 300) == 1
    told = (project.folder / "run.log").read_text()
    assert "Error in rule extract" in told and "results/small/logs/extract.log" in told
    last = [line for line in told.splitlines() if line.startswith("ehr-attack: ")][-1]
    assert last.startswith("ehr-attack: extract: ") and "cohort" in last
