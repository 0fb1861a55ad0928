"""A job is alone at its outputs: one that has outlived its Snakemake ends, and what killed ones left is cleared away.

Without that, a job of a run whose Snakemake alone was killed would go on, and could replace the results of the next
run with those of an older config.
"""

import logging
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ehr_attack.lineage.starter import starter_is_gone
from ehr_attack.lineage.turns import turn
from ehr_attack.storage import clear_scratch

_log = logging.getLogger(__name__)
_LOOK_SECONDS = 0.5


@contextmanager
def alone(log_file: Path, outputs: Iterable[Path]) -> Iterator[None]:
    """Run the block while no other process runs the job of this log.

    An older one that does is asked to end, and waited for. This process ends in its turn, with status 1, as soon as a
    later one asks for that, or the process that has started it is gone. What killed ones left beside `outputs` is
    cleared away. A file system without locks makes nobody wait, so nothing is cleared away there: it may be in use.
    """
    parent = os.getppid()
    waiting = _Waiting(parent)
    with turn(log_file.with_name(f".{log_file.name}.lock"), waiting) as mine:
        if mine.locked:
            clear_scratch(outputs)
        _end_with(parent)
        ended = threading.Event()
        watch = threading.Thread(target=_watch, args=(mine.descriptor, parent, ended), daemon=True)
        watch.start()
        try:
            yield
        finally:
            ended.set()
            watch.join()


class _Waiting:
    """Says once what is waited for, and ends the process when nobody waits for it in turn."""

    def __init__(self, parent: int) -> None:
        self._parent, self._told = parent, False

    def __call__(self) -> None:
        if not self._told:
            _log.info("the same job of an earlier run is still at work: waiting for it to give way")
            self._told = True
        _end_with(self._parent)


def _watch(lock: int, parent: int, ended: threading.Event) -> None:
    size = _size(lock)
    while not ended.wait(_LOOK_SECONDS):
        _end_with(parent)
        if None not in (size, now := _size(lock)) and now != size:
            _end("another run has begun this job anew: giving way")


def _size(descriptor: int) -> int | None:
    """None where a server has lost the file: that says nothing of another run."""
    try:
        return os.fstat(descriptor).st_size
    except OSError:
        return None


def _end_with(parent: int) -> None:
    if os.getppid() != parent or starter_is_gone():
        _end("the process that started this job is gone: giving up")


def _end(reason: str) -> None:
    """End as if killed: outputs are written whole or not at all, and nothing here may wait for the job's own work."""
    _log.warning(reason)
    os._exit(1)
