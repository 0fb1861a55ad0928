"""The rerun matrix, read from `rerun_matrix.md`: which rules run again after an edit."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("rerun_matrix.md")
NOTHING, EVERYTHING = "nothing", "everything"
_LATER = " and later"


@dataclass(frozen=True)
class Row:
    """An edit of a run, the rules that run again, and the number of jobs of some of them."""

    edit: str
    run: str
    rules: frozenset[str]
    jobs: dict[str, int]

    @property
    def settings(self) -> dict[str, str]:
        """The config keys that are edited, with their new values as YAML; empty when a file is."""
        parts = (part.split(" = ", 1) for part in self.edit.split("; ") if " = " in part)
        return dict(parts)


@dataclass(frozen=True)
class Matrix:
    """The rows; `pipeline`: by rule, which rules read its results; `lacks`: by run, the rules that it has not."""

    rows: tuple[Row, ...]
    pipeline: dict[str, frozenset[str]]
    lacks: dict[str, frozenset[str]]


def read_matrix() -> Matrix:
    """The matrix of `rerun_matrix.md`."""
    text = FILE.read_text(encoding="utf-8")
    tables = list(_tables(text))
    readers = {rule: frozenset(_items(read_by)) for rule, read_by in tables[0]}
    groups = {name: frozenset(_items(members)) for name, members in re.findall(r"`(\w+)` are ([^.:]+)[.:]", text)}
    lacks = _lacking([(run, missing) for run, _, missing in tables[1]])
    rows = []
    for edit, run, again, jobs in (row for table in tables[2:] for row in table):
        rules = _rules(again, readers, groups, lacks[run])
        numbers = dict(job.rsplit(" ", 1) for job in _items(jobs))
        rows.append(Row(edit.strip("`"), run, rules, {rule: int(number) for rule, number in numbers.items()}))
    return Matrix(tuple(rows), readers, lacks)


def _tables(text: str) -> Iterator[list[list[str]]]:
    """The cells of every table, without its head."""
    for block in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        lines = [line.strip()[1:].removesuffix("|").split("|") for line in block.splitlines()]
        yield [[cell.strip() for cell in line] + [""] * (len(lines[0]) - len(line)) for line in lines[2:]]


def _items(cell: str) -> list[str]:
    return [item.strip() for item in cell.replace(" and ", ", ").split(",") if item.strip()]


def _lacking(cells: list[tuple[str, str]]) -> dict[str, frozenset[str]]:
    lacks: dict[str, frozenset[str]] = {}
    for run, missing in cells:
        parts = (lacks["small"] if part == "as small" else {part} for part in _items(missing))
        lacks[run] = frozenset().union(*parts)
    return lacks


def _rules(
    cell: str, readers: dict[str, frozenset[str]], groups: dict[str, frozenset[str]], lacking: frozenset[str]
) -> frozenset[str]:
    """The rules of a cell; those that the run lacks only where they are named themselves, as an edit may add them."""
    if cell in (NOTHING, EVERYTHING):
        return frozenset(readers if cell == EVERYTHING else ()) - lacking
    rules: set[str] = set()
    for item in map(str.strip, cell.split(",")):
        name = item.removesuffix(_LATER)
        assert name in readers or name in groups, f"{item}: no rule and no group"
        if item.endswith(_LATER):
            rules |= with_later(name, readers) - lacking
        else:
            rules |= groups[name] - lacking if name in groups else {name}
    return frozenset(rules)


def with_later(rule: str, readers: dict[str, frozenset[str]]) -> set[str]:
    """The rule, and all rules that read its results, directly or not."""
    found, waiting = set(), [rule]
    while waiting:
        rule = waiting.pop()
        if rule not in found:
            found.add(rule)
            waiting += readers[rule]
    return found
