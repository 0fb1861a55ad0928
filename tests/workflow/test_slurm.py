"""The quick preset on a real Slurm: who holds a GPU, what a cancelled job leads to, and what a failing one says."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

import slurm_cluster as slurm
from real_parts import skip_or_fail
from slurm_cluster import SlurmCluster
from workflow.conftest import Project, copy_project

ON_GPUS = {"train", "attack"}
QUICK = ("--configfile", "workflow/presets/quick.yaml")
RESULTS = "results/quick"
# Without accounting the queue is asked; the last two only make a small run short.
HERE = (
    *("--workflow-profile", "profiles/slurm", "--default-resources", "slurm_partition=main", "runtime=10"),
    *("--slurm-status-command", "squeue", "--latency-wait", "5", "--slurm-init-seconds-before-status-checks", "8"),
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[SlurmCluster]:
    if (reason := slurm.why_not()) is not None:
        skip_or_fail(reason)
    with slurm.running_cluster() as running:
        yield running


def quick_project(source: Path, folder: Path) -> Project:
    """A copy of the project with its own config, not that of the other tests."""
    project = copy_project(source, folder / "project")
    shutil.copy2(source / "config.yaml", project.folder)
    return project


def submitted(project: Project, cluster: SlurmCluster, *arguments: str) -> subprocess.Popen[str]:
    """Snakemake at work on the cluster. What it prints is kept in `run.log`."""
    command = [sys.executable, "-m", "snakemake", *HERE, *QUICK, *arguments]
    environment = os.environ | cluster.environment | {"OMP_NUM_THREADS": "1"}
    with (project.folder / "run.log").open("w") as log:
        return subprocess.Popen(command, cwd=project.folder, env=environment, stdout=log, stderr=log, text=True)


def ended(run: subprocess.Popen[str], seconds: int) -> int:
    """The exit status; a run that takes too long is interrupted, which cancels its jobs."""
    try:
        return run.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        run.send_signal(signal.SIGINT)
        run.wait(timeout=60)
        raise


def told(project: Project) -> str:
    return (project.folder / "run.log").read_text()


def rule_of(job: dict[str, str]) -> str:
    """The rule or group of a job, which the plugin writes in the comment."""
    comment = job.get("Comment", "").strip()
    return next((rule for rule in ON_GPUS if comment.startswith(f"rule_{rule}_")), comment)


def of_rule(jobs: list[dict[str, str]], rule: str) -> list[dict[str, str]]:
    return [job for job in jobs if rule_of(job) == rule]


@pytest.fixture(scope="module")
def locally(project_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Where the same run is made without a cluster."""
    return quick_project(project_dir, tmp_path_factory.mktemp("local"))


@pytest.fixture(scope="module")
def on_slurm(
    project_dir: Path, cluster: SlurmCluster, locally: Project, tmp_path_factory: pytest.TempPathFactory
) -> Project:
    """A run from the tables to the report, one of whose training jobs is cancelled in mid-run."""
    project = quick_project(project_dir, tmp_path_factory.mktemp("slurm"))
    run = submitted(project, cluster)
    try:
        training = slurm.wait_for(
            lambda: [job for job in of_rule(cluster.jobs(project.folder), "train") if job["JobState"] == "RUNNING"], 900
        )
        assert training, f"no training job was seen: {told(project)[-3000:]}"
        cluster.run("scancel", training[0]["JobId"])
        # Meanwhile, since most of a run on a cluster is waiting.
        locally.snakemake(*QUICK, "--cores", "1")
        status = ended(run, 1500)
    finally:
        if run.poll() is None:
            run.send_signal(signal.SIGINT)
    assert status == 0, told(project)[-3000:]
    return project


def test_the_run_ends_with_a_report_though_a_job_was_cancelled(on_slurm: Project, cluster: SlurmCluster) -> None:
    assert (on_slurm.folder / RESULTS / "report/index.html").stat().st_size > 10_000
    training = of_rule(cluster.jobs(on_slurm.folder), "train")
    assert Counter(job["JobState"] for job in training) == {"COMPLETED": 2, "CANCELLED": 1}


def test_training_and_attacks_hold_one_gpu_each_and_nothing_else_does(on_slurm: Project, cluster: SlurmCluster) -> None:
    jobs = cluster.jobs(on_slurm.folder)
    assert len(of_rule(jobs, "train")) == 3 and len(of_rule(jobs, "attack")) == 4
    for job in jobs:
        assert job.get("TresPerJob", "").strip() == ("gres:gpu:1" if rule_of(job) in ON_GPUS else ""), job["Comment"]


def test_there_are_never_more_jobs_on_gpus_than_gpus(on_slurm: Project, cluster: SlurmCluster) -> None:
    jobs = [job for job in cluster.jobs(on_slurm.folder) if rule_of(job) in ON_GPUS]
    begun = [datetime.fromisoformat(job["StartTime"]) for job in jobs]
    over = [datetime.fromisoformat(job["EndTime"]) for job in jobs]
    at_once = [sum(start <= moment < end for start, end in zip(begun, over, strict=True)) for moment in begun]
    assert max(at_once) == slurm.GPUS


def test_a_cancelled_job_asks_for_more_memory_when_it_is_tried_again(on_slurm: Project, cluster: SlurmCluster) -> None:
    training = of_rule(cluster.jobs(on_slurm.folder), "train")
    assert sorted(job["MinMemoryNode"] for job in training) == ["4000M", "4000M", "8000M"]


def test_small_jobs_go_in_groups(on_slurm: Project, cluster: SlurmCluster) -> None:
    (planned,) = re.findall(r"^total +(\d+)$", told(on_slurm), flags=re.MULTILINE)
    submissions = cluster.jobs(on_slurm.folder)
    assert len(submissions) - 1 < int(planned) / 2
    # A dozen tables and figures at once do not ask for a dozen times the memory: those of two jobs at most.
    (late,) = [job for job in submissions if "plot_cohort" in rule_of(job)]
    assert int(late["MinMemoryNode"].removesuffix("M")) <= 2 * 4000


def test_results_are_to_the_byte_those_of_a_run_without_a_cluster(on_slurm: Project, locally: Project) -> None:
    here, there = (results_of(project) for project in (locally, on_slurm))
    assert len(here) > 100 and here.keys() == there.keys()
    assert [name for name in here if here[name] != there[name]] == []


def results_of(project: Project) -> dict[str, bytes]:
    """Every result by name: not the logs, and not what tells how long a job took."""
    folder = project.folder / RESULTS
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {
        name: path.read_bytes()
        for name, path in files.items()
        if not name.startswith(("logs/", "benchmarks/")) and "/." not in name
    }


def test_nothing_is_left_to_do_for_a_plain_run(on_slurm: Project) -> None:
    assert on_slurm.stale_rules(*QUICK) == {}


@pytest.fixture
def to_break(on_slurm: Project, tmp_path: Path) -> Project:
    """A copy of the finished run, to be run again when something is wrong with it."""
    shutil.copytree(on_slurm.folder, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project")


def last_message(project: Project) -> str:
    """What is told below all that Snakemake has to say, of one line or more."""
    return told(project).rpartition("ehr-attack: ")[2].strip()


def test_a_failing_job_ends_the_run_with_a_message_that_names_it(to_break: Project, cluster: SlurmCluster) -> None:
    to_break.edit_config("cohort.min_age_years", 120)
    assert ended(submitted(to_break, cluster, "--retries", "0"), 600) == 1
    assert "Error in rule extract" in told(to_break) and f"{RESULTS}/logs/extract.log" in told(to_break)
    rule, _, message = last_message(to_break).partition(": ")
    assert rule == "extract" and "age below 120 years" in message
    assert (to_break.folder / RESULTS / "logs/extract.log").read_text().strip().endswith(message)


def test_so_does_a_job_in_a_group(to_break: Project, cluster: SlurmCluster) -> None:
    (to_break.folder / RESULTS / "susceptibility/lstm/ista/hours.parquet").write_bytes(b"PAR1 and no more")
    assert ended(submitted(to_break, cluster, "--retries", "0"), 600) == 1
    assert "Error in group" in told(to_break)
    assert re.match(r"\w+: .*hours\.parquet", last_message(to_break))
