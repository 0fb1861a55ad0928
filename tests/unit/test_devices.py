"""What the devices module does to the process that a test can see from outside."""

import os
import platform
import resource
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
STEPS = """
import resource, sys, torch
from ehr_attack.devices import reuse_freed_memory
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
