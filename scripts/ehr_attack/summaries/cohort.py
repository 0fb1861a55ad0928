"""Tables that say on whom a run was done: the cohort flow, the cohort, and what was recorded of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ehr_attack.errors import UserError
from ehr_attack.storage import read_frame, read_json, write_csv
from ehr_attack.suppression import (
    MINIMUM,
    chain_texts,
    count_text,
    is_small,
    merge_steps,
    part_text,
    partition_texts,
    percent,
)
from ehr_attack.variables import Variable, load_variables

_NAN = float("nan")
_PARTS = {"sex": "Sex", "care_unit": "Care unit", "source_set": "Set"}
_QUANTITIES = {
    "age_years": "Age [years]",
    "los_icu_days": "ICU stay [days]",
    "los_hospital_days": "Hospital stay [days]",
}
_QUARTILES = (25, 50, 75)


def write_cohort_tables(
    *,
    stays: str | Path,
    features: str | Path,
    flow: str | Path,
    profile: str,
    kind: str = "mimic3",
    out_dir: str | Path,
) -> None:
    """Write `cohort_flow.csv`, `cohort.csv` and `missingness.csv` into `out_dir`.

    stays, features: the tables of those schemas; flow: `cohort_flow.json`; profile, kind: the variable profile and
    the kind of source. Raises UserError for an unreadable file or an unknown profile.
    """
    try:
        steps = flow_table(read_json(flow)["steps"])
    except (KeyError, TypeError, IndexError) as error:
        raise UserError(
            f"{flow}: not a cohort flow (missing {error}); expected `steps`, each with label, "
            "excluded_stays, stays, patients and deaths. Delete the file and run snakemake again."
        ) from error
    write_csv(steps, Path(out_dir) / "cohort_flow.csv")
    write_csv(cohort_table(read_frame(stays)), Path(out_dir) / "cohort.csv")
    write_csv(missingness_table(features, load_variables(profile, kind)), Path(out_dir) / "missingness.csv")


def flow_table(steps: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The cohort flow: step, excluded_stays, stays, patients, deaths (text: small numbers hidden).

    Consecutive steps are merged until each excludes none or at least ten stays, and counts that would reveal
    a smaller difference are withheld.
    """
    first, rest = steps[0], steps[1:]
    groups = merge_steps([int(step["excluded_stays"]) for step in rest])
    kept = [first, *(rest[group[-1]] for group in groups)]
    excluded = [sum(int(rest[index]["excluded_stays"]) for index in group) for group in groups]
    stays, patients, deaths = ([int(step[key]) for step in kept] for key in ("stays", "patients", "deaths"))
    labels = ["; ".join(str(rest[index]["label"]) for index in group) for group in groups]
    return pd.DataFrame(
        {
            "step": [str(first["label"]), *labels],
            "excluded_stays": ["", *map(count_text, excluded)],
            "stays": chain_texts(stays, stays),
            "patients": chain_texts(patients, patients),
            "deaths": chain_texts(deaths, stays),
        }
    )


def cohort_table(stays: pd.DataFrame) -> pd.DataFrame:
    """Who was studied: characteristic, level, count (text), percent, median, q25, q75.

    stays: STAYS rows; what the source does not tell is left out. Counts and shares of fewer than ten stays are
    hidden, also from subtraction.
    """
    total, deaths = len(stays), int(stays["died_in_hospital"].sum())
    rows: list[tuple[object, ...]] = [
        ("ICU stays", "", count_text(total), _NAN, _NAN, _NAN, _NAN),
        ("Patients", "", count_text(stays["subject_id"].nunique()), _NAN, _NAN, _NAN, _NAN),
        ("Died in hospital", "", part_text(deaths, total), percent(deaths, total), _NAN, _NAN, _NAN),
    ]
    for column, label in _told(stays, _PARTS):
        counts = stays[column].fillna("unknown").astype(str).value_counts().sort_index()
        texts = partition_texts([int(count) for count in counts])
        for level, count, text in zip(counts.index, counts, texts, strict=True):
            share = percent(int(count), total) if text == str(count) else _NAN
            rows.append((label, level, text, share, _NAN, _NAN, _NAN))
    for column, label in _told(stays, _QUANTITIES):
        low, middle, high = _quartiles(stays[column].dropna().to_numpy(dtype=np.float64))
        rows.append((label, "", "", _NAN, middle, low, high))
    return pd.DataFrame(rows, columns=["characteristic", "level", "count", "percent", "median", "q25", "q75"])


def _told(stays: pd.DataFrame, labels: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(column, label) for column, label in labels.items() if stays[column].notna().any()]


def missingness_table(features: str | Path, variables: Sequence[Variable]) -> pd.DataFrame:
    """What was recorded: one row a variable, read one column at a time so that large cohorts fit in memory.

    Columns: variable, label, group, unit, stays_observed (text), stays_percent, hours_percent (share of
    stay-hours with a value), median, q25, q75 (of the hourly means, in the unit).
    """
    index = read_frame(features, ["stay_id", "hour"])
    window = (index["hour"] >= 0).to_numpy()
    stay = pd.factorize(index["stay_id"])[0]
    total, hours = int(stay.max()) + 1 if len(stay) else 0, int(window.sum())
    rows = []
    for variable in variables:
        values = read_frame(features, [variable.name])[variable.name].to_numpy(dtype=np.float64)
        seen = window & ~np.isnan(values)
        observed = int(np.count_nonzero(np.bincount(stay[seen], minlength=total)))
        quartiles = _quartiles(values[seen]) if observed >= MINIMUM else (_NAN, _NAN, _NAN)
        share = _NAN if is_small(observed) or not hours else 100.0 * float(seen.sum()) / hours
        rows.append(
            {
                "variable": variable.name,
                "label": variable.label,
                "group": variable.group,
                "unit": variable.unit,
                "stays_observed": part_text(observed, total),
                "stays_percent": percent(observed, total),
                "hours_percent": share,
                "median": quartiles[1],
                "q25": quartiles[0],
                "q75": quartiles[2],
            }
        )
    return pd.DataFrame(rows)


def _quartiles(values: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[float, float, float]:
    if len(values) < MINIMUM:
        return _NAN, _NAN, _NAN
    low, middle, high = np.percentile(values, _QUARTILES)
    return float(low), float(middle), float(high)
