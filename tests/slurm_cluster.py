"""A real Slurm on this machine for tests: started by `integration/slurm-local.sh` as root, with two fake GPUs."""

import importlib.util
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_SCRIPT = Path(__file__).parent / "integration" / "slurm-local.sh"
# More CPUs than there are: what is tested is scheduling, and most of a small job is waiting.
_SETTINGS = {"SLURM_LOCAL_CPUS": "8", "SLURM_LOCAL_GPUS": "2"}
PROGRAMS = ("slurmctld", "slurmd", "munged")


def why_not() -> str | None:
    """Why no cluster can be started here; None when one can."""
    missing = [name for name in PROGRAMS if not shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")]
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        return "no executor plugin for Slurm (pip install 'ehr-attack[slurm]')"
    if missing:
        return f"no Slurm: {', '.join(missing)} not installed (apt-get install slurm-wlm munge)"
    return None if os.geteuid() == 0 else "a Slurm for tests is started as root only"


@contextmanager
def running_cluster() -> Iterator[None]:
    """Start the daemons, or take those that run; stop them at the end only if they were started here."""
    before = _script("status").returncode == 0
    started = _script("start")
    assert started.returncode == 0, started.stderr
    try:
        yield
    finally:
        if not before:
            _script("stop")


def jobs(run: str | None = None) -> list[dict[str, str]]:
    """All jobs that the scheduler remembers, as `scontrol show job` tells them; of one folder with `run`."""
    told = subprocess.run(["scontrol", "show", "job", "-o"], capture_output=True, text=True, check=True).stdout
    found = [dict(re.findall(r"(\w+)=(.*?)(?= \w[\w/:]*=|$)", line)) for line in told.splitlines() if "JobId=" in line]
    return [job for job in found if run is None or job["WorkDir"] == run]


def wait_for(condition: Callable[[], object], seconds: float) -> object:
    """What `condition` returns as soon as it is true; None when it is not in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if result := condition():
            return result
        time.sleep(0.2)
    return None


def _script(action: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | _SETTINGS
    return subprocess.run([str(_SCRIPT), action], env=environment, capture_output=True, text=True, check=False)
