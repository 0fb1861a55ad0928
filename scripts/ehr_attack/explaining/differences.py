"""What changed between the params of a job then and now, in words: config keys, files, packages, source tables."""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import yaml

from ehr_attack.explaining.reasons import ParamsChange

_DIGEST = re.compile(r"(\d+:)?[0-9a-f]{64}")
_PACKAGE, _SOURCE = "package ", "source"
_ABSENT = object()
_LONGEST = 60
# Params whose names are not those of the config keys that they come from.
_OTHERWISE_NAMED = {"resamples": "bootstrap"}


def differences(
    change: ParamsChange, known: Mapping[str, Any], config_keys: Collection[str], table: str = ""
) -> list[str]:
    """What differs, in words, each once.

    known: the job's params as its record tells them, by name; empty where there is no record. config_keys: dotted.
    table: the source table that the job reads, if it reads one.
    """
    told = [
        _in_words(path, old, new, config_keys, table)
        for name, before, now in _pairs(change, known)
        for path, old, new in _leaves((name,) if name else (), before, now)
    ]
    return list(dict.fromkeys(told))


def _pairs(change: ParamsChange, known: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Each value now with the one before that is most like it, under its name where a record tells that."""
    left = list(change.before)
    for now in sorted(change.now, key=lambda value: not isinstance(value, dict)):
        like = max(left, key=lambda before: _likeness(before, now), default=None)
        if like is None or not _likeness(like, now):
            yield "", _ABSENT, now
            continue
        left.remove(like)
        yield next((name for name, value in known.items() if value == like), ""), like, now
    for before in left:
        yield next((name for name, value in known.items() if value == before), ""), before, _ABSENT


def _likeness(before: Any, now: Any) -> float:
    if isinstance(before, dict) and isinstance(now, dict):
        return len(set(before) & set(now)) / max(len(set(before) | set(now)), 1)
    if isinstance(before, dict) or isinstance(now, dict):
        return 0.0
    return 0.5 if type(before) is type(now) else 0.25


def _leaves(path: tuple[str, ...], before: Any, now: Any) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """The places where two values differ, with what stands there."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in [*before, *(key for key in now if key not in before)]:
            yield from _leaves((*path, str(key)), before.get(key, _ABSENT), now.get(key, _ABSENT))
    elif before != now:
        yield path, before, now


def _in_words(path: tuple[str, ...], old: Any, new: Any, config_keys: Collection[str], table: str) -> str:
    last = path[-1] if path else ""
    if last.startswith(_PACKAGE):
        return _come_or_gone(last, old, new) or _was_and_is(last, old, new)
    if any(isinstance(value, str) and _DIGEST.fullmatch(value) for value in (old, new)):
        # A table goes by its name, or is the only one that the job reads; a file of code has an ending.
        file, what = (last, "was edited") if "." in last else (f"source table {_table(last, table)}", "has changed")
        return _come_or_gone(file, old, new) or f"{file} {what}"
    return _was_and_is(config_key(path, config_keys) if path else "a setting", old, new)


def _table(name: str, of_job: str) -> str:
    return of_job if name in ("", _SOURCE) else name


def _come_or_gone(what: str, old: Any, new: Any) -> str:
    """Of what a job uses and did not, or the other way round; empty for what it used then and now."""
    if old is _ABSENT:
        return f"{what} is used now"
    return f"{what} is used no more" if new is _ABSENT else ""


def _was_and_is(what: str, old: Any, new: Any) -> str:
    if old is _ABSENT:
        return f"{what} is new: {_short(new)}"
    if new is _ABSENT:
        return f"{what} is gone: it was {_short(old)}"
    return f"{what} was {_short(old)}, is {_short(new)}"


def config_key(path: tuple[str, ...], config_keys: Collection[str]) -> str:
    """The key of config.yaml that a place in a job's params comes from; the place itself where none is told by it."""
    path = tuple(_OTHERWISE_NAMED.get(part, part) for part in path)
    for dotted in (".".join(path), ".".join(path[1:])):
        if dotted in config_keys:
            return dotted
    for end in (".".join(path[1:]), path[-1]):
        ending = [key for key in config_keys if end and key.endswith(f".{end}")]
        # A param is called as its block, or as the beginning of it: `train` holds keys of `training`.
        of_block = [key for key in ending if key.startswith(path[0])]
        if of_block or len({key.partition(".")[0] for key in ending}) == 1:
            return min(of_block or ending, key=len)
    return ".".join(path)


def _short(value: Any) -> str:
    """A value as it stands in a YAML file, a text without quotes."""
    if isinstance(value, str):
        return value if len(value) <= _LONGEST else value[:_LONGEST] + "…"
    try:
        text = yaml.safe_dump(value, default_flow_style=True, width=10_000)
    except yaml.YAMLError:
        text = repr(value)
    text = text.removesuffix("\n").removesuffix("\n...")
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
