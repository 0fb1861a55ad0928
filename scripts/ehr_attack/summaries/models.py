"""Tables of model quality on held-out stays."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ehr_attack.storage import read_frames, read_json, write_csv
from ehr_attack.summaries.comparison import comparison_table
from ehr_attack.summaries.subgroups import subgroups_table
from ehr_attack.suppression import MINIMUM, SMALL, WITHHELD, count_text, part_text, partition_texts

POOLED, FOLD_MEAN = "pooled", "mean over folds"
_VALUES = ["value", "low", "high"]
_COUNTS = ("n_stays", "n_patients", "n_deaths")
_NAN = float("nan")
_SOURCES = {
    "synthetic": "synthetic records",
    "mimic3": "MIMIC-III",
    "mimic4": "MIMIC-IV",
    "physionet2012": "PhysioNet 2012",
}


def write_model_tables(
    *,
    metrics: Sequence[str | Path],
    decisions: Sequence[str | Path],
    subgroups: Sequence[str | Path],
    flow: str | Path,
    out_dir: str | Path,
) -> None:
    """Write the tables named by `names.MODEL_TABLES` into `out_dir`.

    metrics, decisions, subgroups: a METRICS, DECISIONS and SUBGROUPS table a model; flow: `cohort_flow.json`, which
    names the source. Raises UserError for an unreadable file.
    """
    cohort_flow, table = read_json(flow), metrics_table(read_frames(metrics))
    comparison = comparison_table(table, source_label(cohort_flow), cohort_flow["source"]["kind"])
    write_csv(table, Path(out_dir) / "model_metrics.csv")
    write_csv(decisions_table(read_frames(decisions)), Path(out_dir) / "model_decisions.csv")
    write_csv(subgroups_table(read_frames(subgroups)), Path(out_dir) / "subgroups.csv")
    write_csv(comparison, Path(out_dir) / "published_comparison.csv")


def source_label(flow: dict[str, Any]) -> str:
    """The source of a cohort flow in words, e.g. `MIMIC-III 1.4`."""
    source = flow["source"]
    kind, version = _SOURCES.get(source["kind"], source["kind"]), source.get("version")
    return f"{kind} {version}" if version and source["kind"] != "synthetic" else str(kind)


def metrics_table(metrics: pd.DataFrame) -> pd.DataFrame:
    """Model quality, a row a model, seed, scope (pooled, mean over folds, fold k) and metric.

    Columns: model, seed, scope, metric, value, low, high, sd_over_folds, n_stays, n_patients, n_deaths
    (text). metrics: METRICS rows. A scope with fewer than ten deaths or survivors shows no values; when one
    fold is such, no fold of the model does, since the mean over folds would reveal it.
    """
    parts = [_model_rows(rows) for _, rows in metrics.groupby(["model", "seed"], sort=False)]
    columns = ["model", "seed", "scope", "metric", *_VALUES, "sd_over_folds", *_COUNTS]
    return pd.concat(parts, ignore_index=True)[columns]


def decisions_table(decisions: pd.DataFrame) -> pd.DataFrame:
    """Thresholds and recalibration of every fold: DECISIONS rows, counts as text.

    Values to three decimals, so that no prediction can be read off a threshold; none from fewer than ten deaths or
    survivors.
    """
    shown = _enough_of_both(decisions)
    values = ["threshold_f1", "threshold_score1", "recalibration_intercept", "recalibration_slope"]
    return decisions.assign(
        **{name: decisions[name].where(shown).round(3) for name in values},
        n_stays=decisions["n_stays"].map(count_text),
        n_deaths=_death_texts(decisions),
    )


def _enough_of_both(rows: pd.DataFrame) -> pd.Series:
    """Which rows rest on at least ten deaths and ten survivors."""
    return (rows["n_deaths"] >= MINIMUM) & (rows["n_stays"] - rows["n_deaths"] >= MINIMUM)


def _death_texts(rows: pd.DataFrame) -> list[str]:
    return [part_text(deaths, stays) for deaths, stays in zip(rows["n_deaths"], rows["n_stays"], strict=True)]


def _model_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of one model and seed."""
    enough = _enough_of_both(rows)
    is_pooled = rows["fold"].isna()
    pooled, folds = rows[is_pooled], rows[~is_pooled]
    pooled_enough = bool(enough[is_pooled].all())
    parts = [_pooled_rows(pooled, pooled_enough)]
    if len(folds):
        parts.append(_mean_rows(parts[0], folds, pooled_enough))
        parts.append(_fold_rows(folds, bool(enough[~is_pooled].all())))
    return pd.concat(parts, ignore_index=True)


def _pooled_rows(pooled: pd.DataFrame, shown: bool) -> pd.DataFrame:
    return pooled.assign(
        scope=POOLED,
        sd_over_folds=_NAN,
        **{name: pooled[name] if shown else _NAN for name in _VALUES},
        n_stays=pooled["n_stays"].map(count_text),
        n_patients=pooled["n_patients"].map(count_text),
        n_deaths=_death_texts(pooled),
    )


def _mean_rows(pooled_rows: pd.DataFrame, folds: pd.DataFrame, shown: bool) -> pd.DataFrame:
    rows = pooled_rows.assign(scope=FOLD_MEAN, **dict.fromkeys(_VALUES, _NAN))
    if not shown:
        return rows
    spread = folds.groupby("metric", sort=False)["value"].agg(["mean", "std"])
    return rows.assign(value=rows["metric"].map(spread["mean"]), sd_over_folds=rows["metric"].map(spread["std"]))


def _fold_rows(folds: pd.DataFrame, shown: bool) -> pd.DataFrame:
    return folds.assign(
        scope="fold " + folds["fold"].astype(int).astype(str),
        sd_over_folds=_NAN,
        **{name: folds[name] if shown else _NAN for name in _VALUES},
        **{name: folds["fold"].map(_fold_texts(folds, name, shown)) for name in _COUNTS},
    )


def _fold_texts(folds: pd.DataFrame, column: str, shown: bool) -> dict[Any, str]:
    """The count of every fold, safe beside the pooled one."""
    counts = folds.drop_duplicates("fold").set_index("fold")[column].astype(int)
    texts = partition_texts(list(counts))
    if column == "n_deaths" and not shown:
        texts = [text if text == SMALL else WITHHELD for text in texts]
    return dict(zip(counts.index, texts, strict=True))
