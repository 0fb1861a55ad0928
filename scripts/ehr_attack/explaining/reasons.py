"""Snakemake's reason for a job, taken apart: what it says of files, and the params before and now.

The only place that knows the wording of Snakemake's reasons (9.27). What is not understood is passed on as it is.
"""

import ast
import re
from dataclasses import dataclass
from typing import Any

_UPDATED_BY_JOB = "Input files updated by another job: "
_PARAMS = "Params have changed since last execution: "
_ENVIRONMENT = "Software environment definition has changed since last execution"
_WITH_FILES = {
    "Missing output files: ": ("{0} is missing", "{0} and {1} more are missing"),
    "Incomplete output files: ": ("interrupted: {0} is incomplete", "interrupted: {0} and {1} more are incomplete"),
    "Updated input files: ": ("{0} has changed", "{0} and {1} more have changed"),
}
_IN_WORDS = {
    "Set of input files has changed since last execution": "it reads other files than before",
    "Code has changed since last execution": "its script has changed",
    _ENVIRONMENT: "its conda environment has changed",
    "Forced execution": "it is forced",
}
_STARTS = "|".join(map(re.escape, [_UPDATED_BY_JOB, *_WITH_FILES, *_IN_WORDS]))
_BETWEEN = re.compile(rf"; (?={_STARTS})")
_LONGEST = 300


@dataclass(frozen=True)
class ParamsChange:
    """The values that differ, without their names, for so Snakemake keeps them."""

    before: list[Any]
    now: list[Any]


@dataclass(frozen=True)
class Reason:
    """Why a job would run: `follows` another one that makes its inputs anew, `words`, and changed params."""

    follows: bool
    words: tuple[str, ...]
    params: ParamsChange | None


def read_reason(text: str) -> Reason:
    """Take a reason apart."""
    # The values of params may hold anything; nothing but a change of environment stands behind them.
    head, found, values = text.strip().partition(_PARAMS)
    environment = [_ENVIRONMENT] if values.endswith(_ENVIRONMENT) else []
    values = values.removesuffix(f"; {_ENVIRONMENT}")
    params = _read_params(values)
    unread = [found + values] if found and params is None else []
    parts = [*_BETWEEN.split(head.removesuffix("; ")), *unread, *environment]
    follows = any(part.startswith(_UPDATED_BY_JOB) for part in parts)
    words = [_in_words(part) for part in parts if part and not part.startswith(_UPDATED_BY_JOB)]
    return Reason(follows, tuple(words), params)


def _in_words(part: str) -> str:
    if part in _IN_WORDS:
        return _IN_WORDS[part]
    for start, (one, several) in _WITH_FILES.items():
        if part.startswith(start):
            files = sorted(part.removeprefix(start).split(", "))
            return (one if len(files) == 1 else several).format(files[0], len(files) - 1)
    return part if len(part) <= _LONGEST else part[:_LONGEST] + "…"


def _read_params(part: str) -> ParamsChange | None:
    """Snakemake writes `... before: <values> now: <values>`, each value as Python shows it; None if it is not so."""
    _, found, rest = part.partition("before: ")
    if not found:
        return None
    # A value may hold the word itself, so every place is tried.
    for place in re.finditer(r" now: ", rest):
        before, now = _values(rest[: place.start()]), _values(rest[place.end() :])
        if before is not None and now is not None:
            return ParamsChange(before, now)
    return None


def _values(text: str) -> list[Any] | None:
    if text.strip() == "<nothing exclusive>":
        return []
    try:
        values = ast.literal_eval(f"[{text.strip()}]")
    except (ValueError, SyntaxError):
        return None
    return list(values)
