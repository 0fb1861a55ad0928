"""Results without Snakemake's records of them: it would trust them whatever has been edited, so the workflow asks."""

import os
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterator
from pathlib import Path

from ehr_attack.errors import UserError

_NO_RESULTS = {"logs", "benchmarks", "provenance"}
"""Folders of a run that no other job reads."""


def check_remembered(run: Path, memory: Path, is_made: Callable[[str], bool]) -> None:
    """Raise UserError when a result lies in `run` of which Snakemake, in `memory`, knows nothing.

    memory: the folder `.snakemake`; is_made: tells of a file whether the workflow makes it, with the present config.
    A database of records (`--persistence-backend db`) is not read: results beside one are taken as known.
    """
    if not run.is_dir() or any(memory.glob("*.db")):
        return
    known = {file for part in ("metadata", "incomplete") for file in _known(memory / part)}
    unknown = [file for file in _files(run) if file not in known and is_made(file)]
    if unknown:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        raise UserError(
            f"{run}: holds results, but {memory} does not know what they were made with ({unknown[0]}{more}), and "
            f"nothing could tell which of them are stale. Copy {memory} from where they were made. Or ask `ehr-attack "
            f"verify {run}` whether they are of this code; if so, and of this config, take them over: `snakemake "
            "--touch --forceall -c 1`. Or make them anew: `snakemake --forceall`. Both with the --configfile of the "
            "run, if it has one. What is still named after that is not needed: delete it."
        )


def _files(run: Path) -> Iterator[str]:
    for folder, folders, names in os.walk(run, followlinks=True):
        if Path(folder) == run:
            folders[:] = sorted(set(folders) - _NO_RESULTS)
        yield from (f"{folder}/{name}" for name in sorted(names))


def _known(records: Path) -> Iterator[str]:
    """The files that there is a record of. Snakemake names it by the file's path, in base 64; long ones in parts."""
    for folder, _, names in os.walk(records):
        parts = Path(folder).relative_to(records).parts
        start = "".join(part.removeprefix("@") for part in parts)
        for name in names:
            try:
                yield urlsafe_b64decode(start + name).decode()
            except ValueError:  # no record: a mark of Snakemake's own
                continue
