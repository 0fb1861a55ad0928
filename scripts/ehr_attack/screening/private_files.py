"""Files about single patients: for their owner only, under their name only when they are whole."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ehr_attack.errors import UserError
from ehr_attack.storage import atomic_path

_FOLDER, _FILE = 0o700, 0o600


def make_private(folder: Path) -> None:
    """Make `folder`, or make it its owner's alone. Raises UserError when that is not possible."""
    try:
        folder.mkdir(mode=_FOLDER, parents=True, exist_ok=True)
        os.chmod(folder, _FOLDER)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be made a folder for its owner only ({error.strerror}). Choose another one with --out."
        ) from error


def write_private(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` write a temporary file in a folder of mode 0700; then rename it to `path`, mode 0600."""
    with atomic_path(path) as temporary:
        os.close(os.open(temporary, os.O_CREAT | os.O_WRONLY, _FILE))
        write(temporary)
        os.chmod(temporary, _FILE)
