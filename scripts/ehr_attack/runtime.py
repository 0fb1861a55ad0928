"""What surrounds every job of the workflow: its log, and errors that end in one clear message."""

import errno
import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ehr_attack.errors import UserError

_log = logging.getLogger("ehr_attack")
_FORMAT = "%(asctime)s %(levelname)s %(message)s"


@contextmanager
def job(log_file: str | Path) -> Iterator[None]:
    """Log to `log_file` and to standard error; turn errors into one message and exit status 1.

    A UserError, or a device without space, is a mistake that a user can mend: its message is all that is printed.
    Anything else is a defect: its traceback goes to the log file only, and the message says where that is.
    """
    _start_logging(Path(log_file))
    try:
        yield
    except UserError as error:
        _fail(str(error))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            _fail_unexpectedly(error, log_file)
        _fail(f"{error.filename or 'results'}: no space left on the device. Free some space and run snakemake again.")
    except Exception as error:
        _fail_unexpectedly(error, log_file)


def _start_logging(log_file: Path) -> None:
    log_file.parent.mkdir(parents=True, exist_ok=True)
    handlers: list[logging.Handler] = [
        logging.FileHandler(log_file, mode="w", encoding="utf-8"),
        logging.StreamHandler(sys.stderr),
    ]
    for handler in handlers:
        handler.setFormatter(logging.Formatter(_FORMAT, datefmt="%H:%M:%S"))
        _log.addHandler(handler)
    _log.setLevel(logging.INFO)
    _log.propagate = False


def _fail(message: str) -> None:
    _log.error(message)
    sys.exit(1)


def _fail_unexpectedly(error: Exception, log_file: str | Path) -> None:
    with Path(log_file).open("a", encoding="utf-8") as log:
        traceback.print_exception(error, file=log)
    if os.environ.get("EHR_ATTACK_VERBOSE"):
        traceback.print_exception(error)
    # The message of a foreign exception may quote a patient's values, so only its type is shown here.
    _fail(
        f"unexpected {type(error).__name__}; this is a defect of ehr-attack. The traceback is in {log_file} "
        "(it may quote values of records: read it before you share it)."
    )
