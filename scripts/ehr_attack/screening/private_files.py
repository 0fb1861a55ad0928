"""Files about single patients: for their owner only, under their name only when they are whole."""

import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ehr_attack.errors import UserError
from ehr_attack.storage import atomic_path

_log = logging.getLogger(__name__)
_FOLDER, _FILE, _OTHERS = 0o700, 0o600, 0o077


def make_private(folder: Path) -> None:
    """Make `folder`, and what is missing of the path to it, for the owner only; one that is there stays as it is.

    Raises UserError when that is not possible, or nothing can be written there.
    """
    try:
        for path in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
            path.mkdir(mode=_FOLDER)
        with tempfile.NamedTemporaryFile(prefix=".", dir=folder):
            pass
        if folder.stat().st_mode & _OTHERS:
            _log.warning("%s is open to other users; the files written there are for their owner only.", folder)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be made or written to ({error.strerror}). Choose another folder with --out."
        ) from error


def write_private(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` write a temporary file in a folder of mode 0700; then rename it to `path`, mode 0600."""
    with atomic_path(path) as temporary:
        os.close(os.open(temporary, os.O_CREAT | os.O_WRONLY, _FILE))
        write(temporary)
        os.chmod(temporary, _FILE)
