"""One process at a time: a lock on a file, which the system lets go of when its holder dies, however it dies."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_RETRY_SECONDS = 0.1


@contextmanager
def turn(file: Path, while_waiting: Callable[[], None] = lambda: None) -> Iterator[int]:
    """Run the block while no other process runs one with this `file`, which is there for that long only.

    Yields the descriptor of the open file. Each try of another process to have the turn adds a byte to it.
    while_waiting: called before every try but the first. A file system that has no locks makes nobody wait.
    """
    lock = _taken(file, while_waiting)
    try:
        yield lock
    finally:
        with suppress(OSError):
            file.unlink()
        os.close(lock)


def _taken(file: Path, while_waiting: Callable[[], None]) -> int:
    file.parent.mkdir(parents=True, exist_ok=True)
    while True:
        lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with suppress(OSError):
                os.write(lock, b"+")
            os.close(lock)
            time.sleep(_RETRY_SECONDS)
            while_waiting()
            continue
        except OSError:
            return lock
        if _is(file, lock):
            return lock
        # The last holder has removed it since it was opened.
        os.close(lock)


def _is(file: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(file.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
