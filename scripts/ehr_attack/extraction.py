"""Extraction: staged tables become the cohort, its measurements and the count of every exclusion.

All joins and rules are SQL over Parquet (`workflow/sql`), the same for every source; this module hands them
their settings, runs them in order and writes what they give.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from ehr_attack.errors import UserError
from ehr_attack.paths import SQL_DIR
from ehr_attack.schemas.cohort import STAYS
from ehr_attack.sources import SOURCES, load_shape
from ehr_attack.sources.duck import copy_to_parquet, create_views, read_sql, session
from ehr_attack.storage import atomic_path, write_json, write_parquet
from ehr_attack.suppression import count_text, part_text, partition_texts
from ehr_attack.variables import Variable

_log = logging.getLogger(__name__)
_SHARED_SQL = SQL_DIR / "common"

# Key and label of each step of the cohort flow, in the order in which the rules are tried (common/rules.sql).
_STEPS = {
    "all": "ICU stays in the source",
    "age": "age below {min_age_years:g} years or unknown",
    "time_order": "times out of order or missing, or outcome missing",
    "organ_donor": "admitted as an organ donor",
    "icu_hours": "ICU stay shorter than {min_icu_hours:g} hours",
    "hospital_hours": "hospital stay shorter than {min_hospital_hours:g} hours",
    "full_window": "left the ICU or died before hour {window_hours}",
    "first_stay": "not the patient's first stay that meets the rules above",
    "no_measurement": "no measurement of any variable in the window",
}
_SETTING_OF_RULE = {
    "age": "cohort.min_age_years",
    "icu_hours": "cohort.min_icu_hours",
    "hospital_hours": "cohort.min_hospital_hours",
    "full_window": "cohort.require_full_window",
}


def extract(
    *,
    kind: str,
    tables: Mapping[str, Path | Sequence[Path]],
    variables: Sequence[Variable],
    cohort: Mapping[str, Any],
    window_hours: int,
    carry_in_hours: float,
    source: Mapping[str, Any],
    out_stays: Path,
    out_measurements: Path,
    out_flow: Path,
    threads: int,
    memory_limit_gb: float = 2.0,
) -> None:
    """Write the canonical stays, measurements and cohort flow of a source. Time zero is the ICU intime.

    kind: of the tables, a key of `sources.SOURCES`, whose SQL texts and codes are taken. tables: staged Parquet files
    by the name that the SQL texts know them by; several files are read as one table. cohort: `min_age_years`,
    `min_icu_hours`, `min_hospital_hours`, `require_full_window`, `first_stay_only`. source: written to the flow, its
    `kind` to the stays. Measurements lie in [-carry_in_hours, hours_observable) hours, are in canonical units and
    within the variable's plausible range. The three files' bytes do not depend on `threads`. Raises UserError when a
    check fails or no stay is left, with the counts.
    """
    rules = {**_rules(cohort), "window_hours": window_hours}
    with (
        # DuckDB itself writes the large file, so that memory stays flat; it appears only if all else worked.
        atomic_path(out_measurements) as measurements_file,
        session(scratch=measurements_file.parent, threads=threads, memory_limit_gb=memory_limit_gb) as connection,
    ):
        create_views(connection, tables)
        register(connection, "items", item_table(variables, kind))
        _choose(connection, SOURCES[kind].sql_dir, rules, carry_in_hours)
        flow = connection.sql(read_sql(_SHARED_SQL, "cohort_flow")).to_arrow_table().to_pylist()
        if not flow[-1]["stays"]:
            raise UserError(_empty_cohort(flow))
        query = read_sql(_SHARED_SQL, "cohort_stays")
        stays = connection.sql(query, params={"source": source["kind"]}).to_arrow_table()
        connection.execute(copy_to_parquet(read_sql(_SHARED_SQL, "cohort_measurements"), measurements_file))
        write_parquet(stays, out_stays, STAYS)
        write_json({"source": dict(source), "time_zero": "ICU intime", "steps": flow}, out_flow)
    left, patients, deaths = (flow[-1][key] for key in ("stays", "patients", "deaths"))
    _log.info(
        "cohort: %s stays of %s patients, %s deaths", count_text(left), count_text(patients), part_text(deaths, left)
    )


def _choose(
    connection: duckdb.DuckDBPyConnection, sql_dir: Path, rules: Mapping[str, Any], carry_in_hours: float
) -> None:
    """Apply the rules to all stays, and place the values in them: what the results are read from.

    The source's own texts are `candidates.sql`, its ICU stays, `checks.sql`, what must not be there, and `placed.sql`,
    its values in hours of a stay; the others are shared by all sources.
    """
    connection.execute(read_sql(_SHARED_SQL, "macros"))
    register(connection, "steps", _step_table(rules))
    _create(connection, "candidates", read_sql(sql_dir, "candidates"))
    _run_checks(connection, read_sql(sql_dir, "checks"))
    _create(connection, "reviewed", read_sql(_SHARED_SQL, "rules"), rules)
    connection.execute(f"CREATE VIEW placed AS {read_sql(sql_dir, 'placed')}")
    _create(connection, "measured", read_sql(_SHARED_SQL, "measurements"), {"carry_in_hours": carry_in_hours})
    connection.execute(read_sql(_SHARED_SQL, "unmeasured"))


def _rules(cohort: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that common/rules.sql takes, and no others: DuckDB refuses one it has no use for."""
    numbers = {name: float(cohort[name]) for name in ("min_age_years", "min_icu_hours", "min_hospital_hours")}
    return numbers | {name: bool(cohort[name]) for name in ("require_full_window", "first_stay_only")}


def item_table(variables: Sequence[Variable], kind: str) -> pa.Table:
    """One row a code of a variable in tables of `kind`, with what the measurements need of it."""
    codes = load_shape(kind).codes
    rows = [
        code
        | {
            "variable": variable.name,
            "variable_order": order,
            "low_exclusive": variable.low_exclusive,
            "high_inclusive": variable.high_inclusive,
        }
        for order, variable in enumerate(variables)
        for code in codes(variable)
    ]
    return pa.Table.from_pylist(rows)


def _step_table(rules: Mapping[str, Any]) -> pa.Table:
    """One row a step of the cohort flow; the steps of rules that are switched off are left out."""
    switched = {"full_window": rules["require_full_window"], "first_stay": rules["first_stay_only"]}
    steps = [(key, label.format(**rules)) for key, label in _STEPS.items() if switched.get(key, True)]
    keys, labels = zip(*steps, strict=True)
    return pa.table({"position": range(len(steps)), "key": keys, "label": labels})


def register(connection: duckdb.DuckDBPyConnection, name: str, table: pa.Table) -> None:
    """Copy a small table into the database, so that no Python object has to outlive the query."""
    connection.register(f"{name}_arrow", table)
    connection.execute(f"CREATE TABLE {name} AS SELECT * FROM {name}_arrow")
    connection.unregister(f"{name}_arrow")


def _create(
    connection: duckdb.DuckDBPyConnection, name: str, select: str, parameters: Mapping[str, Any] | None = None
) -> None:
    connection.execute(f"CREATE TABLE {name} AS {select}", dict(parameters or {}))


def _run_checks(connection: duckdb.DuckDBPyConnection, checks: str) -> None:
    """Refuse a source that holds what it must not; each row of `checks` is a number of cases and a message."""
    for cases, message in connection.execute(checks).fetchall():
        if cases:
            raise UserError(f"source.path: {count_text(cases)} {message}")


def _empty_cohort(flow: Sequence[Mapping[str, Any]]) -> str:
    excluded = partition_texts([step["excluded_stays"] for step in flow[1:]])
    lines = [f"  {step['label']}: {count} excluded" for step, count in zip(flow[1:], excluded, strict=True)]
    working = [step["key"] for step in flow if step["excluded_stays"]]
    settings = [_SETTING_OF_RULE[key] for key in working if key in _SETTING_OF_RULE]
    advice = f"Relax {', '.join(settings)}, or c" if settings else "C"
    total = count_text(flow[0]["stays"])
    first = f"cohort: of the {total} ICU stays in the source none is left, by these rules in turn:"
    return "\n".join([first, *lines, f"{advice}heck that source.path and source.profile fit together."])
