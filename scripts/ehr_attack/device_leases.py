"""One process a GPU: each leases the device that it computes on, until it ends.

A lease is a lock on a file of the user's, one a device. The kernel gives it back when the process ends, whatever ends
it. Processes that see the same devices by different names (a number here, a UUID there) do not know of each other.
Standard library only; which of several devices a job takes decides no result.
"""

import fcntl
import logging
import os
import stat
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from ehr_attack.errors import UserError

_log = logging.getLogger(__name__)

# A scheduler numbers the devices of each of its jobs anew, so that two jobs may both have a device 0.
_SCHEDULER_JOBS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID")
_INSTALLED = Path("/proc/driver/nvidia/gpus")
_SECONDS_BETWEEN_LOOKS = 0.5

# The index and the open file of the one lease that this process holds.
_held: list[tuple[int, int]] = []


def lease(count: int) -> int:
    """The index of a device that no other process of this user holds, of the `count` that this one sees.

    Waits, with a line in the log, while all are taken. A process that asks again gets the same. Raises UserError when
    the folder of the locks is not the user's own.
    """
    if not _held:
        files = [_lock_folder() / _file_name(name) for name in device_names(count)]
        _held.append(_first_free(files))
    return _held[0][0]


def device_names(count: int) -> list[str]:
    """The names of the first `count` devices: those of CUDA_VISIBLE_DEVICES (numbers, UUIDs), or else their numbers."""
    named = visible_names()
    return named[:count] if named is not None and len(named) >= count else [str(index) for index in range(count)]


def visible_names() -> list[str] | None:
    """What CUDA_VISIBLE_DEVICES names, up to the first that is none, as CUDA reads it; None where it is not set."""
    value = os.environ.get("CUDA_VISIBLE_DEVICES")
    if value is None:
        return None
    names = [name.strip() for name in value.split(",")]
    ends = [index for index, name in enumerate(names) if name in ("", "-1")]
    return names[: ends[0]] if ends else names


def is_gpu_there() -> bool:
    """Whether this machine has an NVIDIA GPU that is not hidden from this process."""
    installed = _INSTALLED.is_dir() and any(_INSTALLED.iterdir())
    return installed and visible_names() != []


def _first_free(files: Sequence[Path]) -> tuple[int, int]:
    told = False
    while True:
        for index, file in enumerate(files):
            if (lock := _locked(file)) is not None:
                return index, lock
        if not told:
            _log.info("waiting for a GPU: other jobs of yours compute on all that this one sees (%d)", len(files))
            told = True
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def _locked(file: Path) -> int | None:
    """The open file with the lock on it; None when another process has that."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError as error:
        _log.warning("no locks in %s (%s): two jobs may compute on one GPU", file.parent, error.strerror)
    return descriptor


def _lock_folder() -> Path:
    folder = Path(tempfile.gettempdir(), f"ehr-attack-gpus-{os.getuid()}")
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    # Everybody may write beside it: another user could have put a folder or a link there.
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise UserError(
            f"{folder}: expected a folder of yours, where jobs note which GPU they take. Remove it, or set TMPDIR to a "
            "folder of your own; then run snakemake again."
        )
    return folder


def _file_name(device: str) -> str:
    jobs = [os.environ[variable] for variable in _SCHEDULER_JOBS if os.environ.get(variable)]
    return quote(" ".join([*jobs, device]), safe="") + ".lock"
