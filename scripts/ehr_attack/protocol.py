"""The protocol of Sun et al. (KDD 2018) as far as it is known, and how a run's configuration differs from it."""

import csv
from collections.abc import Mapping
from functools import cache
from typing import Any

import yaml

from ehr_attack.models import settings_of
from ehr_attack.paths import DATA_DIR

SAME, DIFFERS, NOT_TOLD = "as in the paper", "differs", "not told"
PROTOCOL_FILE = DATA_DIR / "sun2018_protocol.csv"


def protocol_rows(config: Mapping[str, Any]) -> list[dict[str, str]]:
    """Every known aspect of the paper's protocol beside a run's: aspect, key, paper, this_run, status, note.

    config: a checked configuration, of which only the keys of `protocol_config` are read. `status`: `as in the paper`,
    `differs`, or `not told` where the paper and its authors' code leave it open. Aspects without a key are fixed in
    this project.
    """
    return [_row(aspect, config) for aspect in _protocol()]


def protocol_config(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The part of a configuration that the protocol speaks of, as it is for the LSTM, for rule params."""
    training = config["training"]
    blocks = {**config, "training": training | settings_of("lstm", training)}
    part: dict[str, dict[str, Any]] = {}
    for aspect in _protocol():
        block, _, name = aspect["key"].partition(".")
        if name:
            part.setdefault(block, {})[name] = blocks[block][name]
    return part


@cache
def _protocol() -> list[dict[str, str]]:
    """`sun2018_protocol.csv`: `paper` and `same` (further values that mean the same) as YAML, empty where not told."""
    with PROTOCOL_FILE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _row(aspect: Mapping[str, str], config: Mapping[str, Any]) -> dict[str, str]:
    row = {name: aspect[name] for name in ("aspect", "key", "paper", "this_run", "status", "note")}
    if not aspect["key"]:
        return row | {"paper": row["paper"] or NOT_TOLD}
    block, _, name = aspect["key"].partition(".")
    value = config[block][name]
    alike = _alike(aspect)
    status = NOT_TOLD if not alike else SAME if value in alike else DIFFERS
    paper = " or ".join(map(_text, alike)) or NOT_TOLD
    return row | {"paper": paper, "this_run": _text(value), "status": row["status"] or status}


def _alike(aspect: Mapping[str, str]) -> list[Any]:
    """The values that are the paper's; none where it tells none."""
    return [yaml.safe_load(aspect["paper"]), *yaml.safe_load(aspect["same"] or "[]")] if aspect["paper"] else []


def _text(value: Any) -> str:
    """A value as YAML writes it; a null in brackets, since tables take the bare word for an empty cell."""
    if value is None:
        return "(null)"
    dumped: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1000)
    return dumped.removesuffix("\n...\n").strip()
