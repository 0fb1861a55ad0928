"""Sharing work among processes of this machine: results in the order of the work, whoever did it."""

import multiprocessing
import pickle
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from ehr_attack.devices import make_deterministic
from ehr_attack.errors import UserError

Task = TypeVar("Task")
Result = TypeVar("Result")


def shared(work: Callable[[Task], Result], tasks: Iterable[Task], cores: int, seed: int) -> Iterator[Result]:
    """`work` of each of `tasks`, in their order, done by so many processes, each with torch seeded and deterministic.

    Only a few tasks are handed out before their results are asked for, which bounds the memory. Raises UserError when a
    process is killed.
    """
    waiting: deque[Future[Result]] = deque()
    try:
        with _processes(cores, seed) as pool:
            for task in tasks:
                waiting.append(_submitted(pool, work, task))
                if len(waiting) > 2 * cores:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise UserError(
            "a process that shared the work was killed, most likely for lack of memory. Try again with fewer --cores."
        ) from error


def _submitted(pool: ProcessPoolExecutor, work: Callable[[Task], Result], task: Task) -> Future[Result]:
    try:
        return pool.submit(_done, pickle.dumps((work, task)))
    except OSError as error:  # A pool that closes just now, because a process has gone, says so by its closed pipe.
        raise BrokenProcessPool(str(error)) from error


def _done(packed: bytes) -> Any:
    """The work on a task that this process was sent.

    Packed by hand, in memory: torch would send every tensor as an open file of the process that started this one.
    """
    work, task = pickle.loads(packed)
    return work(task)


@contextmanager
def _processes(cores: int, seed: int) -> Iterator[ProcessPoolExecutor]:
    """The processes; an error here, or Ctrl-C, ends them at once and without a word of theirs."""
    spawn = multiprocessing.get_context("spawn")  # a forked process would inherit torch's locked threads
    pool = ProcessPoolExecutor(cores, spawn, make_deterministic, (seed,))
    with _deaf_to_interrupts():  # which the processes inherit
        _submitted(pool, int, 0)
    try:
        yield pool
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()
        _stop_handing_out(pool)
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _stop_handing_out(pool: ProcessPoolExecutor) -> None:
    """End a write to processes that are gone, for which an older Python waits for ever (CPython issue 94777)."""
    if sys.version_info < (3, 11, 5):
        with suppress(OSError):  # closed just now by the pool itself
            pool._call_queue._reader.close()  # type: ignore[attr-defined]


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # Others cannot change it.
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
