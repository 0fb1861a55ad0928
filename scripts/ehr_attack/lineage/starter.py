"""Which Snakemake has started the jobs of this process, so that they can see whether it is still there.

Its own parent does not tell a job: a shell may stand between, or the parent may be gone before the job looks.
"""

import os
import platform
from pathlib import Path

_STARTER = "EHR_ATTACK_STARTER"
_ENDED = ("Z", "X")


def be_starter() -> None:
    """Tell the jobs that this process starts from now on that it has."""
    os.environ[_STARTER] = " ".join([str(os.getpid()), _begun(os.getpid()) or "", _place()])


def starter_is_gone() -> bool:
    """Whether the process that has started this job has ended. False where none was told, or it is elsewhere."""
    told = os.environ.get(_STARTER)
    if told is None:
        return False
    pid, begun, place = told.split(" ", 2)
    if place != _place():
        return False
    if not begun:
        return not _exists(int(pid))
    try:
        # The number alone may be that of a later process by now.
        return _begun(int(pid)) != begun
    except OSError:
        # Such as too many open files: that tells nothing.
        return False


def _place() -> str:
    """The machine, and where the system tells that, which of its containers: where a process number means the same."""
    try:
        numbers = os.readlink("/proc/self/ns/pid")
    except OSError:
        numbers = ""
    return f"{platform.node()} {numbers}"


def _begun(pid: int) -> str | None:
    """When a process has begun, in a unit of the system; None where it has ended, or the system does not tell."""
    try:
        # Behind the name, which may hold anything: state, ..., and as the 20th of these the time.
        state, *more = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in _ENDED else more[18]


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
