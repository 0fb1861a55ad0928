"""What the tests share, and which real parts are running."""

import os
import shutil
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]


def _shared() -> Path:
    return Path(os.environ.get("EHR_ATTACK_SHARED", PROJECT.parent / "shared"))


def pytest_report_header() -> list[str]:
    shared = _shared()
    real = [
        f"shared data: {'present' if shared.is_dir() else 'absent (set EHR_ATTACK_SHARED)'}",
        f"chromium: {'present' if shutil.which('chromium') or shutil.which('chromium-browser') else 'absent'}",
    ]
    return [f"real parts: {', '.join(real)}"]


def skip_or_fail(reason: str) -> None:
    """Skip a test whose real part is missing; a failure where all of them are required (`.ci/run`)."""
    if os.environ.get("EHR_ATTACK_REQUIRE_ALL"):
        pytest.fail(f"{reason}; EHR_ATTACK_REQUIRE_ALL is set, so this may not be skipped")
    pytest.skip(reason)


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
