"""What the devices module does to the process that a test can see from outside, and which device it chooses.

There is a GPU on few machines that run the tests: what torch says of one is made up here, and nothing computes on it.
"""

import logging
import os
import platform
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import ehr_attack.device_leases as leases
from ehr_attack.devices import choose_device
from ehr_attack.errors import UserError

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
STEPS = """
import resource, sys, torch
import ehr_attack.device_leases as leases
from ehr_attack.devices import choose_device, reuse_freed_memory
from ehr_attack.errors import UserError
if sys.argv[1] == "reuse":
    reuse_freed_memory()
torch.set_num_threads(1)
def step():
    torch.ones(40 << 20, dtype=torch.uint8) + 1
for _ in range(12):  # glibc finds its final arrangement after a few
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 5)
"""


def page_faults_a_step(choice: str) -> float:
    """Page faults of a step that makes two blocks of 40 MB, in a process that has made them before."""
    done = subprocess.run(
        [sys.executable, "-c", STEPS, choice],
        env=os.environ | {"PYTHONPATH": str(SCRIPTS)},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="what glibc does with large blocks")
def test_large_blocks_are_mapped_once_and_not_in_every_step():
    pages = 2 * (40 << 20) / resource.getpagesize()
    assert page_faults_a_step("default") > 0.9 * pages
    assert page_faults_a_step("reuse") < 0.01 * pages


class Gpus:
    """A machine with GPUs as torch would tell of them; `broken` is what starting CUDA raises."""

    def __init__(self, patch: pytest.MonkeyPatch, folder: Path) -> None:
        self.broken: Exception | None = None
        self.current: int | None = None
        self._patch = patch
        patch.setattr("tempfile.tempdir", str(folder))
        patch.setattr(leases, "_held", [])
        patch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        (folder / "installed" / "0000:65:00.0").mkdir(parents=True)
        patch.setattr(leases, "_INSTALLED", folder / "installed")
        patch.setattr(torch.backends.mps, "is_available", lambda: False)
        self.torch_sees(2)

    def torch_sees(self, count: int, build: str | None = "13.0") -> None:
        self._patch.setattr(torch.version, "cuda", build)
        self._patch.setattr(torch.cuda, "is_available", lambda: count > 0)
        self._patch.setattr(torch.cuda, "device_count", lambda: count)
        self._patch.setattr(torch.cuda, "get_device_name", lambda: f"made up {self.current}")
        self._patch.setattr(torch.cuda, "set_device", self._start)
        self._patch.setattr(torch, "zeros", lambda *_, **__: None)

    def _start(self, index: int) -> None:
        if self.broken:
            raise self.broken
        self.current = index


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Gpus:
    return Gpus(monkeypatch, tmp_path)


@pytest.mark.parametrize("wanted", ["auto", "cuda"])
def test_a_gpu_that_is_free_becomes_the_current_one(wanted, gpus, tmp_path, caplog):
    taken = "import os, time\nfrom ehr_attack.device_leases import lease\nprint(lease(2), flush=True)\ninput()"
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS), "TMPDIR": str(tmp_path)}
    with (
        subprocess.Popen(
            [sys.executable, "-c", taken], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other,
        caplog.at_level(logging.INFO),
    ):
        assert other.stdout.readline() == "0\n"
        assert choose_device(wanted, "training.device") == torch.device("cuda")
        other.kill()
    assert gpus.current == 1 and "device: made up 1" in caplog.text


CPU_BUILD = "a build for the CPU only"
NO_DRIVER = "no GPU that it can use (see `nvidia-smi`)"
NO_START = "CUDA does not start: CUDA error: all CUDA-capable devices are busy"


@pytest.fixture(params=[CPU_BUILD, NO_DRIVER, NO_START])
def trouble(request, gpus):
    """A GPU that is installed and cannot be used."""
    if request.param == NO_START:
        gpus.broken = RuntimeError(f"{NO_START.partition(': ')[2]}\nCUDA kernel errors might be reported later")
    else:
        gpus.torch_sees(0, None if request.param == CPU_BUILD else "13.0")
    return request.param


def test_auto_passes_over_a_gpu_that_cannot_be_used_and_warns(trouble, caplog):
    with caplog.at_level(logging.WARNING):
        assert choose_device("auto", "attack.device") == torch.device("cpu")
    (told,) = [record.getMessage() for record in caplog.records]
    assert told.startswith("attack.device is auto and there is a GPU, but ")
    assert trouble in told and told.endswith("; computing on cpu")


def test_cuda_never_falls_back(trouble):
    with pytest.raises(UserError, match=r"^attack\.device: cuda was asked for, but ") as raised:
        choose_device("cuda", "attack.device")
    assert trouble in str(raised.value) and "Set attack.device to auto or cpu" in str(raised.value)


@pytest.mark.parametrize("hidden", [True, False])
def test_where_no_gpu_is_to_be_used_there_is_no_warning(hidden, gpus, monkeypatch, caplog, tmp_path):
    gpus.torch_sees(0)
    if hidden:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    else:
        (tmp_path / "installed" / "0000:65:00.0").rmdir()
    with caplog.at_level(logging.WARNING):
        assert choose_device("auto", "attack.device") == torch.device("cpu")
    assert not caplog.records


def test_the_cpu_is_taken_where_it_was_asked_for_and_no_gpu_is_held(gpus):
    assert choose_device("cpu", "attack.device") == torch.device("cpu")
    assert gpus.current is None and not leases._held
