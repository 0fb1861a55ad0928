"""Results without Snakemake's records of them: it would trust them whatever has been edited, so the workflow asks."""

from base64 import urlsafe_b64decode
from collections.abc import Sequence
from pathlib import Path

from ehr_attack.errors import UserError

_ANSWERS = {"-F", "--forceall", "--unlock"}
"""Options that do not ask what is stale."""


def check_remembered(run: Path, memory: Path, options: Sequence[str]) -> None:
    """Raise UserError when results are in `run` of which Snakemake, in `memory`, knows nothing.

    memory: the folder `.snakemake`; options: those that Snakemake was called with.
    """
    finished = any((run / "provenance").glob("*.json"))
    if finished and _ANSWERS.isdisjoint(options) and not _knows(memory, run):
        raise UserError(
            f"{run}: holds results, but {memory} does not know what they were made with, and nothing could tell which "
            f"of them are stale. Copy {memory} from where they were made. Or ask `ehr-attack verify {run}` whether "
            "they are of this code; if so, and of this config, take them over: `snakemake --touch --forceall -c 1`."
            " Or make them anew: `snakemake --forceall`."
        )


def _knows(memory: Path, run: Path) -> bool:
    """Whether there is a record of any file of the run, finished or begun; Snakemake names it by the file's path."""
    start = f"{run.as_posix()}/"
    names = (name.name for part in ("metadata", "incomplete") for name in (memory / part).glob("*"))
    return any(_path_of(name).startswith(start) for name in names) or any(memory.glob("*.db"))


def _path_of(name: str) -> str:
    """The path, or how it begins, that Snakemake made the name of a record of: base 64, behind @ where it is long."""
    name = name.removeprefix("@")
    try:
        return urlsafe_b64decode(name[: len(name) // 4 * 4]).decode(errors="replace")
    except ValueError:
        return ""
