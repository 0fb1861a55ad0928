"""One process at a time: a lock on a file, which the system lets go of when its holder dies, however it dies."""

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ehr_attack.errors import UserError

_RETRY_SECONDS = 0.1
# What file systems without locks say, such as Lustre without `-o flock`, or NFS whose lock service is down.
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)


@dataclass(frozen=True)
class Turn:
    """The descriptor of the open file, and whether other processes wait: not so where a file system has no locks."""

    descriptor: int
    locked: bool


@contextmanager
def turn(file: Path, while_waiting: Callable[[], None] = lambda: None) -> Iterator[Turn]:
    """Run the block while no other process runs one with this `file`, which is there for that long only.

    Each try of another process to have the turn adds a byte to the file. while_waiting: called before every try but the
    first. A file system that has no locks makes nobody wait: see `Turn.locked`. Raises UserError when another user's
    file, or folder, is in the way.
    """
    taken = _taken(file, while_waiting)
    try:
        yield taken
    finally:
        with suppress(OSError):
            file.unlink()
        with suppress(OSError):
            os.close(taken.descriptor)


def _taken(file: Path, while_waiting: Callable[[], None]) -> Turn:
    while True:
        descriptor = _opened(file)
        locked = None if descriptor is None else _locked(descriptor)
        if descriptor is not None:
            if locked is None:
                _ask_for_it(descriptor)
                return Turn(descriptor, locked=False)
            # Else the last holder has removed it since it was opened.
            if locked and _is(file, descriptor):
                return Turn(descriptor, locked=True)
            if not locked:
                _ask_for_it(descriptor)
            os.close(descriptor)
        time.sleep(_RETRY_SECONDS)
        while_waiting()


def _opened(file: Path) -> int | None:
    """The descriptor; None where a server has lost the file meanwhile, and another try may do."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # For all whom the umask lets write: those who share a folder must be able to take what a killed job left.
        return os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    except PermissionError as error:
        raise UserError(
            f"{file}: cannot be opened ({error.strerror}). Expected a folder that this user may write to, and no lock "
            "of another user. If nobody is at work there, delete the file; those who share a folder need `umask 002`."
        ) from error
    except OSError as error:
        if error.errno != errno.ESTALE:
            raise
        return None


def _locked(descriptor: int) -> bool | None:
    """Whether the lock was to be had; None where there are no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return None
        if error.errno not in (errno.EAGAIN, errno.EACCES, errno.ESTALE):
            raise
        return False
    return True


def _ask_for_it(descriptor: int) -> None:
    with suppress(OSError):
        os.write(descriptor, b"+")


def _is(file: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(file.stat(), os.fstat(descriptor))
    except OSError:
        return False
