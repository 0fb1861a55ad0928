"""The audit of item ids: what each of a run's codes holds in this source, and whether that is what its variable means.

Label and fluid come from the source's own dictionaries where it has them. A code of the wrong fluid, a limit, a value
set on a device: such findings stop the run, unless the config acknowledges them by name.
"""

import csv
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from ehr_attack.errors import UserError
from ehr_attack.extraction import item_table, register
from ehr_attack.paths import DATA_DIR, SQL_DIR
from ehr_attack.schemas.audit import ITEM_AUDIT
from ehr_attack.sources import SOURCES
from ehr_attack.sources.duck import create_views, read_sql, session
from ehr_attack.storage import atomic_path, read_parquet, write_parquet
from ehr_attack.variables import Variable

_log = logging.getLogger(__name__)
_DICTIONARY_OF = {"d_items": "chartevents", "d_labitems": "labevents"}
_FOREIGN_SHARE = 0.01


@dataclass(frozen=True)
class Finding:
    """Something about a code that does not fit its variable; `name` is what the config acknowledges it by."""

    name: str
    text: str
    fails: bool


@dataclass(frozen=True)
class Meaning:
    """What a dictionary says about a code; empty where it does not tell."""

    label: str = ""
    fluid: str = ""


def audit(
    *,
    kind: str,
    tables: Mapping[str, Path | Sequence[Path]],
    dictionaries: Mapping[str, Path],
    variables: Sequence[Variable],
    acknowledged: Sequence[str],
    out: Path,
    threads: int,
    memory_limit_gb: float = 2.0,
) -> None:
    """Write the ITEM_AUDIT table of all codes of `variables` in a source of `kind`, exact numbers in it.

    tables: staged tables by view; dictionaries: staged `d_items` and `d_labitems`, where the source has them.
    acknowledged: names of findings that would stop the run and shall not. Raises UserError, and writes nothing, when
    a code fails that is not acknowledged. The file does not depend on `acknowledged`.
    """
    coded = item_table(variables, kind)
    with atomic_path(out) as temporary:
        with session(scratch=temporary.parent, threads=threads, memory_limit_gb=memory_limit_gb) as connection:
            create_views(connection, tables)
            register(connection, "items", coded)
            connection.execute(f"CREATE VIEW recorded AS {read_sql(SOURCES[kind].sql_dir, 'audit')}")
            counted = connection.sql(read_sql(SQL_DIR / "common", "item_audit")).to_arrow_table().to_pylist()
        found = {(row["variable"], row["code"]): row for row in counted}
        meanings = _meanings(dictionaries)
        by_name = {variable.name: variable for variable in variables}
        lines, failing = [], []
        for item in coded.to_pylist():
            code, variable = str(item.get("item_id", item.get("parameter"))), by_name[item["variable"]]
            meaning = meanings.get((variable.table, code), Meaning())
            row = found.get((variable.name, code), {})
            unit = "degF" if item.get("fahrenheit") else variable.unit
            findings = list(_findings(code, variable, unit, meaning, row))
            lines.append(_line(code, variable, unit, meaning, row, findings))
            failing += [(code, variable, meaning, finding) for finding in findings if finding.fails]
        _stop_unless_acknowledged(failing, acknowledged)
        write_parquet(pa.Table.from_pylist(lines, schema=ITEM_AUDIT), temporary, ITEM_AUDIT)
    warnings = sum(bool(line["findings"]) for line in lines)
    _log.info("item ids: %d audited, %d with a warning", len(lines), warnings)


def _findings(code: str, variable: Variable, unit: str, meaning: Meaning, row: Mapping[str, Any]) -> Iterator[Finding]:
    """What does not fit; row: of item_audit.sql, empty for a code without values."""
    fluid, expected = meaning.fluid.strip(), variable.fluid
    if fluid and expected and fluid.lower() != expected.lower():
        yield Finding(f"fluid:{code}", f"its fluid is {fluid}; expected {expected}", fails=True)
    if not expected:
        for check in _table("item_checks.csv"):
            if re.search(check["pattern"], meaning.label, flags=re.IGNORECASE):
                yield Finding(f"{check['check']}:{code}", f"it is {check['meaning']}", fails=check["fails"] == "yes")
    yield from _unit_findings(code, unit, row)


def _unit_findings(code: str, unit: str, row: Mapping[str, Any]) -> Iterator[Finding]:
    """A warning when the usual unit, or that of more than a hundredth of the values, is not a spelling of `unit`."""
    accepted = _spellings().get(unit)
    told = [(name, n) for name, n in zip(row.get("units", ()), row.get("unit_rows", ()), strict=True) if name]
    if accepted is None or not told:
        return
    foreign = [(name, n) for name, n in told if name.lower() not in accepted]
    share = sum(n for _, n in foreign) / row["n_rows"]
    if foreign and (foreign[0] == told[0] or share > _FOREIGN_SHARE):
        extent = "usually" if foreign[0] == told[0] else "sometimes"
        yield Finding(f"unit:{code}", f"its unit is {extent} {foreign[0][0]}; expected {unit}", fails=False)


def _line(
    code: str,
    variable: Variable,
    unit: str,
    meaning: Meaning,
    row: Mapping[str, Any],
    findings: Sequence[Finding],
) -> dict[str, Any]:
    told = [(name, n) for name, n in zip(row.get("units", ()), row.get("unit_rows", ()), strict=True) if name]
    rows = row.get("n_rows", 0)
    return {
        "variable": variable.name,
        "variable_label": variable.label,
        "table_name": variable.table,
        "code": code,
        "label": meaning.label,
        "fluid": meaning.fluid,
        "unit": told[0][0] if told else "",
        "expected_unit": unit,
        "n_rows": rows,
        "n_other_unit": rows - told[0][1] if told else 0,
        "n_patients": row.get("patients", 0),
        "n_outside": row.get("outside", 0),
        **{name: row.get(name) for name in ("q05", "median", "q95")},
        "findings": "; ".join(finding.text for finding in findings),
        "failing": ", ".join(finding.name for finding in findings if finding.fails),
    }


def _stop_unless_acknowledged(
    failing: Sequence[tuple[str, Variable, Meaning, Finding]], acknowledged: Sequence[str]
) -> None:
    known = {finding.name for *_, finding in failing}
    for name in acknowledged:
        if name not in known:
            _log.warning("source.acknowledged: no item-id audit %s fails here; is the name right?", name)
    open_ones = [parts for parts in failing if parts[-1].name not in acknowledged]
    for *_, finding in failing:
        if finding.name in acknowledged:
            _log.warning("item-id audit %s fails and is acknowledged", finding.name)
    if not open_ones:
        return
    lines = [
        f"  {finding.name}: item id {code} of variable {variable.name} is labelled {meaning.label!r}; {finding.text}."
        for code, variable, meaning, finding in open_ones
    ]
    names = ", ".join(finding.name for *_, finding in open_ones)
    raise UserError(
        "\n".join(
            [
                "item-id audit: these codes do not hold what their variables mean:",
                *lines,
                "Take them out of scripts/ehr_attack/data/variables.csv or, if they are meant, set "
                f"source.acknowledged: [{names}].",
            ]
        )
    )


def _meanings(dictionaries: Mapping[str, Path]) -> dict[tuple[str, str], Meaning]:
    """What each code means, by table and code: as the source tells it, else as is publicly known."""
    meanings = {(row["table"], row["item_id"]): Meaning(row["label"], row["fluid"]) for row in _table("items.csv")}
    for name, path in dictionaries.items():
        for row in read_parquet(path).to_pylist():
            meaning = Meaning(row["label"] or "", row.get("fluid") or "")
            meanings[_DICTIONARY_OF[name], str(row["item_id"])] = meaning
    return meanings


def _spellings() -> dict[str, set[str]]:
    return {row["unit"]: {name.lower() for name in row["accepted"].split("|")} for row in _table("units.csv")}


def _table(name: str) -> list[dict[str, str]]:
    path = DATA_DIR / name
    try:
        with path.open(newline="", encoding="utf-8") as lines:
            return list(csv.DictReader(lines))
    except OSError as error:
        raise UserError(
            f"{path}: the table cannot be read ({error.strerror}). It is part of this project; restore it with "
            "`git checkout -- scripts/ehr_attack/data`."
        ) from error
