"""Hourly features the slow and obvious way: pandas, one stay and one variable at a time.

This is the route of the public reproduction of 2023 (read, merge, group per stay, resample in a Python loop), written
afresh with this project's rules, so that its values are an independent check of `ehr_attack.extraction` and
`ehr_attack.features`. Which stays make up the cohort is taken from the fast route.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ehr_attack.sources import mimic3
from ehr_attack.variables import Variable, items_of

_CHUNK_ROWS = 500_000


def read_events(source: Path, variables: Sequence[Variable]) -> pd.DataFrame:
    """Every wanted value of CHARTEVENTS and LABEVENTS: subject_id, icustay_id (NaN if none), itemid, charttime,
    valuenum."""
    files = mimic3.find_tables(source)
    item_ids = {item.item_id for variable in variables for item in items_of(variable)}
    parts = [
        _wanted(chunk, item_ids)
        for table in ("chartevents", "labevents")
        for chunk in pd.read_csv(files[table], chunksize=_CHUNK_ROWS, usecols=_is_needed)
    ]
    events = pd.concat(parts, ignore_index=True)
    return events.assign(charttime=pd.to_datetime(events["charttime"]))


def _is_needed(column: str) -> bool:
    return column.lower() in {*mimic3.TABLES["chartevents"], *mimic3.TABLES["labevents"]}


def _wanted(chunk: pd.DataFrame, item_ids: set[int]) -> pd.DataFrame:
    chunk = chunk.rename(columns=str.lower)
    kept = chunk["itemid"].isin(item_ids) & chunk["valuenum"].notna() & chunk["charttime"].notna()
    if "error" in chunk:
        kept &= chunk["error"].fillna(0) == 0
    return chunk.loc[kept].drop(columns="error", errors="ignore")


def merge_stays(events: pd.DataFrame, stays: pd.DataFrame, variables: Sequence[Variable]) -> pd.DataFrame:
    """The plausible values of each stay in canonical units: stay_id, variable, charttime, value.

    stays: the canonical table. A value that names its stay belongs to it, any other to every stay of its patient.
    """
    items = pd.DataFrame(
        [
            (item.item_id, item.fahrenheit, variable.name, variable.low_exclusive, variable.high_inclusive)
            for variable in variables
            for item in items_of(variable)
        ],
        columns=["itemid", "fahrenheit", "variable", "low", "high"],
    )
    merged = events.merge(stays[["subject_id", "stay_id", "intime"]], on="subject_id").merge(items, on="itemid")
    merged = merged[merged["icustay_id"].isna() | (merged["icustay_id"] == merged["stay_id"])]
    celsius = (merged["valuenum"] - 32) / 1.8
    merged = merged.assign(value=merged["valuenum"].where(~merged["fahrenheit"], celsius))
    merged = merged[(merged["value"] > merged["low"]) & (merged["value"] <= merged["high"])]
    return merged[["stay_id", "variable", "charttime", "value"]]


def hourly_means(
    events: pd.DataFrame, stays: pd.DataFrame, variable_names: Sequence[str], window_hours: int
) -> np.ndarray:
    """The mean of each stay, hour and variable, NaN where nothing was recorded: (stays, window_hours, variables).

    events: as `merge_stays` gives them. stays: the canonical table, in the order wanted. Hour h is [h, h + 1) since
    `intime`.
    """
    means = np.full((len(stays), window_hours, len(variable_names)), np.nan)
    of_stay = dict(iter(events.groupby("stay_id")))
    for position, stay in enumerate(stays.itertuples()):
        if stay.stay_id not in of_stay:
            continue
        own = of_stay[stay.stay_id]
        hours = pd.date_range(stay.intime, periods=min(window_hours, stay.hours_observable), freq="1h")
        for column, name in enumerate(variable_names):
            series = own[own["variable"] == name].set_index("charttime")["value"]
            if not series.empty:
                hourly = series.resample("1h", origin=stay.intime).mean().reindex(hours)
                means[position, : len(hours), column] = hourly.to_numpy()
    return means
