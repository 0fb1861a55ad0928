"""The Slurm of the tests leaves nothing behind: no daemon, and no configuration that a later Snakemake would find."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import slurm_cluster as slurm
from ehr_attack.paths import PROJECT_DIR
from real_parts import skip_or_fail

KEEP = """
import sys
import slurm_cluster
with slurm_cluster.running_cluster() as cluster:
    cluster.run("sbatch", "--output", "/dev/null", "--wrap", f"srun sh -c 'sleep 600; : {cluster.folder}'")
    print(cluster.folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def possible() -> None:
    if (reason := slurm.why_not()) is not None:
        skip_or_fail(reason)


def processes_that_name(folder: str) -> list[str]:
    """The command lines that hold the folder's name."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(file.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:  # It has just ended.
            continue
    return [command for command in found if folder in command]


@pytest.mark.parametrize("end", ["as planned", "killed"])
def test_daemons_and_jobs_end_with_the_tests_even_if_these_are_killed(end: str) -> None:
    before = sorted(Path("/etc/slurm").glob("*"))
    environment = os.environ | {"PYTHONPATH": f"{PROJECT_DIR / 'tests'}:{PROJECT_DIR / 'scripts'}"}
    with subprocess.Popen(
        [sys.executable, "-c", KEEP], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as tests:
        assert tests.stdin and tests.stdout
        folder = tests.stdout.readline().strip()
        assert slurm.wait_for(lambda: [name for name in processes_that_name(folder) if "/sh -c sleep" in name], 60)
        assert sorted(Path("/etc/slurm").glob("*")) == before
        if end == "killed":
            tests.send_signal(signal.SIGKILL)
        tests.stdin.close()
        tests.wait(timeout=60)
    assert slurm.wait_for(lambda: not processes_that_name(folder), 60)
    assert sorted(Path("/etc/slurm").glob("*")) == before


def test_two_clusters_run_side_by_side() -> None:
    with slurm.running_cluster() as one, slurm.running_cluster() as other:
        one.run("sbatch", "--wrap", "true", "--output", "/dev/null")
        assert len(one.jobs()) == 1 and other.jobs() == []
