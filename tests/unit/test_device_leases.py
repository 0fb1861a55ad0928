"""One process a GPU: leases between real processes. They need no GPU, only its name."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yte

from ehr_attack.device_leases import device_names, lease, visible_names
from ehr_attack.errors import UserError
from ehr_attack.paths import PROJECT_DIR

HOLD = """
import logging, sys, time
from ehr_attack.device_leases import lease
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
print("leased", lease(int(sys.argv[1])), flush=True)
sys.stdin.read()
"""
# Each writes who it is when it has a device, and again just before it ends.
PASS = """
import os, sys, time
from ehr_attack.device_leases import lease
def note(what):
    os.write(file, f"{what} {device}\\n".encode())
file = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
device = lease(int(sys.argv[1]))
note("begin")
time.sleep(0.1)
note("end")
"""


class Jobs:
    """Processes that hold a lease until they are told to end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: list[subprocess.Popen[str]] = []

    def start(self, devices: int, program: str = HOLD, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        hidden = ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID")
        environment = {name: value for name, value in os.environ.items() if name not in hidden}
        environment |= {"PYTHONPATH": str(PROJECT_DIR / "scripts"), "TMPDIR": str(self.folder)} | variables
        command = [sys.executable, "-c", program, str(devices), *arguments]
        job = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.running.append(job)
        return job


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    started = Jobs(tmp_path)
    yield started
    for job in started.running:
        job.kill()
        job.communicate()


def said(job: subprocess.Popen[str]) -> str:
    """The next line that a job prints."""
    assert job.stdout is not None
    return job.stdout.readline().strip()


def test_jobs_at_once_take_different_devices_and_the_next_waits_for_one_that_dies(jobs: Jobs) -> None:
    first, second = jobs.start(2), jobs.start(2)
    devices = {said(first): first, said(second): second}
    assert set(devices) == {"leased 0", "leased 1"}
    third = jobs.start(2)
    assert said(third) == "waiting for a GPU: other jobs of yours compute on all that this one sees (2)"
    time.sleep(1.5)
    assert third.poll() is None
    devices["leased 1"].send_signal(signal.SIGKILL)
    assert said(third) == "leased 1"


def test_a_device_has_one_process_at_a_time_however_many_there_are(jobs: Jobs, tmp_path: Path) -> None:
    started = [jobs.start(3, PASS, str(tmp_path / "notes")) for _ in range(12)]
    assert [job.wait(timeout=120) for job in started] == [0] * 12
    held: set[str] = set()
    used: list[str] = []
    for what, device in (line.split() for line in (tmp_path / "notes").read_text().splitlines()):
        if what == "begin":
            assert device not in held
            held.add(device)
            used.append(device)
        else:
            held.remove(device)
    assert len(used) == 12 and set(used) == {"0", "1", "2"}


def test_devices_are_told_apart_by_name_wherever_they_stand(jobs: Jobs) -> None:
    one = jobs.start(2, CUDA_VISIBLE_DEVICES="GPU-4a6b,MIG-7c1d/2/0")
    assert said(one) == "leased 0"
    other_way_round = jobs.start(2, CUDA_VISIBLE_DEVICES="MIG-7c1d/2/0,GPU-4a6b")
    assert said(other_way_round) == "leased 0"
    assert said(jobs.start(1, CUDA_VISIBLE_DEVICES="MIG-7c1d/2/0")).startswith("waiting")
    assert said(jobs.start(1, CUDA_VISIBLE_DEVICES="GPU-9e9e")) == "leased 0"


def test_jobs_of_a_scheduler_that_both_see_a_device_0_do_not_wait_for_each_other(jobs: Jobs) -> None:
    """Slurm numbers the devices that it gives to a job from 0."""
    for job_id in ("17", "18"):
        assert said(jobs.start(1, CUDA_VISIBLE_DEVICES="0", SLURM_JOB_ID=job_id)) == "leased 0"
    assert said(jobs.start(1, CUDA_VISIBLE_DEVICES="0", SLURM_JOB_ID="17")).startswith("waiting")


def test_a_process_that_asks_again_gets_the_same(jobs: Jobs) -> None:
    program = "from ehr_attack.device_leases import lease\nprint(lease(2), lease(2), flush=True)\ninput()"
    assert said(jobs.start(2, program)) == "0 0"
    assert said(jobs.start(2, program)) == "1 1"


def test_a_folder_of_locks_that_another_put_there_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"ehr-attack-gpus-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="expected a folder of yours"):
        lease(1)
    assert not list((tmp_path / "elsewhere").iterdir())


# As CUDA reads it: names up to the first that is none.
READ = {"0,1": ["0", "1"], "1": ["1"], "": [], "-1": [], "2, 3": ["2", "3"], "0,-1,1": ["0"], "GPU-4a6b": ["GPU-4a6b"]}


@pytest.mark.parametrize("value", READ)
def test_the_variable_is_read_as_by_cuda(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert visible_names() == READ[value]
    # torch counts those that it can use: one fewer than named here, say.
    usable = max(len(READ[value]) - 1, 0)
    assert device_names(usable) == READ[value][:usable]


@pytest.mark.parametrize("value", READ)
def test_the_profile_lets_as_many_jobs_run_as_there_are_devices(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    profile = yte.process_yaml((PROJECT_DIR / "profiles" / "default" / "config.yaml").read_text())
    assert profile["resources"] == [f"gpu={len(READ[value]) or 1000}"]


def test_without_the_variable_devices_are_numbered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_names() is None and device_names(3) == ["0", "1", "2"]


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / f"ehr-attack-gpus-{os.getuid()}").touch()
    with pytest.raises(UserError, match="expected a folder of yours"):
        lease(1)
