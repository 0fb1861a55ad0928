"""The run's model quality beside the published numbers, with what each was evaluated on."""

import pandas as pd

from ehr_attack.metrics import AT_HALF
from ehr_attack.published import published_evaluations, published_marks, published_metrics

METRICS = ("auroc", "auprc", "f1", "precision", "recall", "score1")
ON_VALIDATION, AT_HALF_TEXT, NOT_TOLD = "best F1 (Score1) on validation patients", "0.5", "not told"
_DECISIONS = ("f1", "precision", "recall")
_WHERE = ["study", "cohort", "evaluated_on", "held_out", "positive_class", "threshold", "remark"]
_VALUES = ["value", "low", "high"]


def comparison_table(table: pd.DataFrame, cohort: str, kind: str) -> pd.DataFrame:
    """The published metrics and, below them, the run's, a row a metric, study and threshold.

    Columns: metric, study, cohort, evaluated_on, held_out, positive_class, threshold, remark, value, low, high. table:
    the frame of `metrics_table`; cohort: the source in words; kind: of source; marks on PhysioNet 2012 are shown
    beside runs on it only. The run's decisions come twice: at the threshold chosen on validation patients, and at 0.5.
    """
    published = published_metrics()
    if kind == "physionet2012":
        published = pd.concat([published, published_marks()], ignore_index=True)
    theirs = published.merge(published_evaluations(), on="study", how="left", validate="one_to_one")
    theirs = theirs.assign(threshold=NOT_TOLD).melt(id_vars=_WHERE, var_name="metric", value_name="value")
    ours = _ours(table, cohort)
    return pd.concat([theirs.dropna(subset="value"), ours], ignore_index=True)[["metric", *_WHERE, *_VALUES]]


def _ours(table: pd.DataFrame, cohort: str) -> pd.DataFrame:
    pooled = table[table["scope"] == "pooled"]
    folds = table[table["scope"].str.startswith("fold ")].groupby("model")["scope"].nunique()
    count = pooled["model"].map(folds).fillna(1).astype(int).astype(str)
    rows = pooled.assign(
        study="this run: " + pooled["model"] + ", seed " + pooled["seed"].astype(str),
        cohort=cohort,
        evaluated_on=count + "-fold cross-validation, held-out stays pooled",
        held_out="yes",
        positive_class="death",
        remark="",
    )
    at_half = rows[rows["metric"].isin([f"{name}{AT_HALF}" for name in _DECISIONS])]
    return pd.concat(
        [
            rows[rows["metric"].isin(METRICS)].assign(threshold=ON_VALIDATION),
            at_half.assign(threshold=AT_HALF_TEXT, metric=at_half["metric"].str.removesuffix(AT_HALF)),
        ],
        ignore_index=True,
    )
