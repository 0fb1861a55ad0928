"""What surrounds the workflow and each of its jobs: logs, and errors that end in one clear message."""

import atexit
import errno
import importlib
import logging
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ehr_attack.errors import UserError

_log = logging.getLogger("ehr_attack")
_FORMAT, _TIME = "%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"
_LINE_START = re.compile(r"^\d\d:\d\d:\d\d (DEBUG|INFO|WARNING|ERROR) ", flags=re.MULTILINE)
_VERBOSE = "EHR_ATTACK_VERBOSE"
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_PROBE_BYTES = 1 << 16
# Imported by name: what is recorded of a result does not decide what it is, so an edit there makes no result stale.
_RECORDS, _SOLE_JOB = "ehr_attack.lineage.records", "ehr_attack.lineage.sole_job"
_ANNOUNCED = "ehr_attack.announced"


def set_verbosity(verbose: bool) -> None:
    """Make `snakemake --verbose` known to this process and its jobs; it is also on where EHR_ATTACK_VERBOSE is set."""
    if verbose:
        os.environ[_VERBOSE] = "1"
    # On a full device, each line of Snakemake's own log would bury the message under a traceback of `logging`.
    logging.raiseExceptions = _verbose()


def import_in_jobs(folder: str) -> None:
    """Let the jobs of this process import from `folder` before anything that is installed."""
    inherited = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [folder, inherited]))


@contextmanager
def clear_errors() -> Iterator[None]:
    """Exit with status 1 and one message, `ehr-attack: ...`, when the block raises what a user can mend.

    The traceback is shown too when verbose. Any other error passes through.
    """
    try:
        yield
    except Exception as error:
        message = mendable(error)
        if message is None:
            raise
        _show_traceback(error)
        sys.exit(f"ehr-attack: {message}")


@contextmanager
def job(task: Any) -> Iterator[None]:
    """Run the block as the job `task`, logged as by `logged`; then record what it was made by, see `lineage.records`.

    No other process is at the same job meanwhile, see `lineage.sole_job`; its code is as planned, see `announced`.
    task: what the workflow tells a script: its rule, log, input, output, params and wildcards.
    """
    log_file = Path(str(task.log[0]))
    with logged(log_file):
        records = importlib.import_module(_RECORDS)
        with importlib.import_module(_SOLE_JOB).alone(log_file, [*task.output, records.record_file(log_file)]):
            importlib.import_module(_ANNOUNCED).check_code(getattr(task.params, "code", {}))
            yield
            records.write_record(task)


@contextmanager
def logged(log_file: str | Path) -> Iterator[None]:
    """Log to `log_file` and to standard error; turn errors into one message, the last of the log, and exit status 1.

    For what a user can mend (see `mendable`) the message is all that is printed. Anything else is a defect: its
    traceback goes to the log file only, and the message says where that is. The traceback is shown when verbose.
    """
    try:
        _start_logging(Path(log_file))
        yield
    except (Exception, KeyboardInterrupt) as error:
        message = mendable(error) or _report_defect(error, Path(log_file))
        _show_traceback(error)
        _log.error(message)
        sys.exit(1)


def mendable(error: BaseException) -> str | None:
    """The message for what a user can mend: a UserError, no space, no memory, an interruption. None for the rest."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return "interrupted. Run snakemake again to go on: finished steps are kept."
    if isinstance(error, OSError) and error.errno in _NO_SPACE:
        return (
            f"{error.filename or 'results'}: no space left on the device. Expected enough for this run (`ehr-attack "
            "estimate` tells how much it needs): free some space there, or work on another device with `snakemake "
            "--directory <folder>`; then run snakemake again. Finished steps are kept."
        )
    if isinstance(error, MemoryError):
        return (
            "there is not enough memory for this job. Run fewer jobs at once (`snakemake --cores 1`), close other "
            "programs, or use a machine with more memory; then run snakemake again. Finished steps are kept."
        )
    return None


def check_folder(folder: Path) -> None:
    """Raise UserError when `folder`, or one that it is to lie in, is something else; nothing is written."""
    for part in (folder, *folder.parents):
        if (part.exists() or part.is_symlink()) and not part.is_dir():
            raise _not_writable(part, "not a folder, nor a link to one")


def check_writable(folder: Path) -> None:
    """Write a small file to `folder`, which is made when missing, and remove it.

    Raises UserError when that is not possible, and OSError with the folder's name when the device is full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".", dir=folder) as scratch:
            Path(scratch, "probe").write_bytes(bytes(_PROBE_BYTES))
    except OSError as error:
        if error.errno in _NO_SPACE:
            error.filename = str(folder)
            raise
        raise _not_writable(folder, error.strerror) from error


def check_results_writable(folder: Path) -> None:
    """As `check_writable`, and ask of every folder below whether this user may write there.

    Snakemake itself removes and makes files there before each job, and where it may not, it fails with a traceback.
    """
    check_writable(folder)
    for part, _, _ in os.walk(folder):
        if not os.access(part, os.W_OK | os.X_OK):
            raise _not_writable(Path(part), "it is read-only for this user")


def failures(log_folder: Path, since: float) -> list[str]:
    """`<job>: <message>` of each log in `log_folder` that was written since then and ends in an error.

    since: seconds since 1970. Jobs that failed with the same message are told in one.
    """
    jobs_of: dict[str, list[str]] = {}
    for log in sorted(log_folder.glob("*.log")):
        if log.stat().st_mtime >= since and (message := _last_error(log.read_text(encoding="utf-8", errors="replace"))):
            jobs_of.setdefault(message, []).append(log.stem)
    return [f"{_named(jobs)}: {message}" for message, jobs in jobs_of.items()]


def show_failures(log_folder: Path, since: float) -> None:
    """Print the `failures` when this process ends: below all that Snakemake has to say."""
    if told := failures(log_folder, since):
        atexit.register(print, "\n".join(f"ehr-attack: {failure}" for failure in told), file=sys.stderr)


class _JobLog(logging.FileHandler):
    """A log file that does without the lines it cannot take, on a full device; standard error has them all."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Say nothing; the handler of standard error speaks up where the line itself is at fault."""


def _start_logging(log_file: Path) -> None:
    _log.setLevel(logging.INFO)
    _log.propagate = False
    _add(logging.StreamHandler(sys.stderr))
    try:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        log_file.unlink(missing_ok=True)
        # Appended to, so that the log's end stays the end when a defect's traceback is written to it as well.
        _add(_JobLog(log_file, mode="a", encoding="utf-8"))
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise
        raise _not_writable(log_file.parent, error.strerror) from error


def _add(handler: logging.Handler) -> None:
    handler.setFormatter(logging.Formatter(_FORMAT, datefmt=_TIME))
    _log.addHandler(handler)


def _report_defect(error: BaseException, log_file: Path) -> str:
    # The message of a foreign exception may quote a patient's values, so only its type is shown.
    defect = f"unexpected {type(error).__name__}; this is a defect of ehr-attack."
    caution = "it may quote values of records: read it before you share it"
    try:
        with log_file.open("a", encoding="utf-8") as log:
            traceback.print_exception(error, file=log)
    except OSError as failure:
        return f"{defect} {log_file}: no traceback here ({failure.strerror}); `--verbose` prints it ({caution})."
    return f"{defect} The traceback is in {log_file} ({caution})."


def _verbose() -> bool:
    return bool(os.environ.get(_VERBOSE))


def _show_traceback(error: BaseException) -> None:
    if _verbose():
        traceback.print_exception(error)


def _not_writable(folder: Path, reason: str | None) -> UserError:
    return UserError(
        f"{folder}: cannot write here ({reason}). Expected a folder that this user may write to; check its owner and "
        "permissions, or choose another folder with `snakemake --directory <folder>`."
    )


def _last_error(log: str) -> str | None:
    """The message, of one or more lines, of a log's last entry if that is an error."""
    entries = list(_LINE_START.finditer(log))
    if not entries or entries[-1][1] != "ERROR":
        return None
    return log[entries[-1].end() :].strip()


def _named(jobs: list[str]) -> str:
    more = len(jobs) - 1
    return jobs[0] if not more else f"{jobs[0]} (and {more} other job{'s' if more > 1 else ''})"
