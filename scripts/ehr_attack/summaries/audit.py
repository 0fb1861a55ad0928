"""Tables that say what the source's codes hold and whether its tables are sound, small numbers suppressed."""

from pathlib import Path
from typing import Any

import pandas as pd

from ehr_attack.storage import read_frame, write_csv
from ehr_attack.suppression import MINIMUM, count_text, is_small, part_text, percent

_NAN = float("nan")
# So many values lie beyond the 5 % or 95 % quantile that it is no patient's own.
_ROWS_FOR_TAILS = MINIMUM * 20


def write_audit_tables(*, codes: str | Path, integrity: str | Path, out_dir: str | Path) -> None:
    """Write `item_audit.csv` and `integrity.csv` into `out_dir`; codes, integrity: ITEM_AUDIT and INTEGRITY tables."""
    write_csv(item_audit_table(read_frame(codes)), Path(out_dir) / "item_audit.csv")
    write_csv(integrity_table(read_frame(integrity)), Path(out_dir) / "integrity.csv")


def item_audit_table(codes: pd.DataFrame) -> pd.DataFrame:
    """A row a code: what it is said to be (text), how much there is of it, and how its values lie.

    Rows, shares and quantiles of fewer than ten patients or rows are hidden, and quantiles at the ends unless at least
    ten values lie beyond them.
    """
    return pd.DataFrame([_code_row(row) for _, row in codes.iterrows()])[_CODE_COLUMNS]


_CODE_COLUMNS = [
    *("variable", "variable_label", "table", "code", "label", "fluid", "unit", "expected_unit"),
    *("rows", "patients_with_rows", "other_unit_percent", "outside_percent", "q05", "median", "q95"),
    *("findings", "failing"),
]


def _code_row(row: pd.Series) -> dict[str, Any]:
    numbers = {name: int(row[name]) for name in ("n_rows", "n_patients", "n_outside", "n_other_unit")}
    rows, patients = numbers["n_rows"], numbers["n_patients"]
    shown = patients >= MINIMUM and rows >= MINIMUM
    tails = shown and rows >= _ROWS_FOR_TAILS
    return {name: row[name] for name in ("variable", "variable_label", "code", "label", "fluid", "unit")} | {
        "table": row["table_name"],
        "expected_unit": row["expected_unit"],
        "rows": count_text(rows) if shown or not rows else "withheld",
        "patients_with_rows": count_text(patients),
        "other_unit_percent": percent(numbers["n_other_unit"], rows) if shown else _NAN,
        "outside_percent": percent(numbers["n_outside"], rows) if shown else _NAN,
        "q05": row["q05"] if tails else _NAN,
        "median": row["median"] if shown else _NAN,
        "q95": row["q95"] if tails else _NAN,
        "findings": row["findings"],
        "failing": row["failing"],
    }


def integrity_table(checks: pd.DataFrame) -> pd.DataFrame:
    """A row a check: table, what, cases, total (text), percent of the total where neither part is small, note."""
    rows = []
    for row in checks.to_dict("records"):
        cases, total = int(row["cases"]), None if pd.isna(row["total"]) else int(row["total"])
        rows.append(
            {
                "table": row["table_name"],
                "what": row["what"],
                "cases": count_text(cases) if total is None else part_text(cases, total),
                "total": "" if total is None else count_text(total),
                "percent": _NAN if total is None or is_small(total) else percent(cases, total),
                "note": row["consequence"],
            }
        )
    return pd.DataFrame(rows, columns=["table", "what", "cases", "total", "percent", "note"])
