"""What the tests share, and which real parts are running."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import postgres_server as postgres
import slurm_cluster as slurm
from real_parts import skip_or_fail

# A shell starts what runs in the background with Ctrl-C ignored, and the programs under test would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How busy the machine is decides no test; all else stays as hypothesis has it, in CI and elsewhere.
settings.register_profile("any machine", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

PROJECT = Path(__file__).resolve().parents[1]


def _shared() -> Path:
    return Path(os.environ.get("EHR_ATTACK_SHARED", PROJECT.parent / "shared"))


def pytest_report_header() -> list[str]:
    shared = _shared()
    real = [
        f"shared data: {'present' if shared.is_dir() else 'absent (set EHR_ATTACK_SHARED)'}",
        f"chromium: {'present' if shutil.which('chromium') or shutil.which('chromium-browser') else 'absent'}",
        f"PostgreSQL: {'present' if postgres.is_installed() else 'absent'}",
        f"Slurm: {slurm.why_not() or 'present'}",
    ]
    return [f"real parts: {', '.join(real)}"]


@pytest.fixture(scope="session")
def project_dir() -> Path:
    return PROJECT


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of real, openly licensed records."""
    shared = _shared()
    if not shared.is_dir():
        skip_or_fail(f"no real data: {shared.name} is absent (EHR_ATTACK_SHARED names its folder)")
    return shared


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.PostgresServer]:
    """A real PostgreSQL server, one a session; each test makes a database or a schema of its own in it."""
    if not postgres.is_installed():
        skip_or_fail("no PostgreSQL server: initdb, postgres and psql are not installed (apt-get install postgresql)")
    with postgres.running_server() as server:
        yield server
