"""The parts of the report about models, as plain values for its templates: quality, subgroups, published numbers."""

from pathlib import Path
from typing import Any

import pandas as pd

from ehr_attack import findings
from ehr_attack.figures import names
from ehr_attack.metrics import AT_HALF, RECALIBRATED
from ehr_attack.page import embed_figure
from ehr_attack.sections import Tables, records
from ehr_attack.summaries import comparison
from ehr_attack.summaries import subgroups as by_subgroup

METRIC_LABELS = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "f1": "F1",
    "precision": "Precision",
    "recall": "Recall (sensitivity)",
    "specificity": "Specificity",
    "accuracy": "Accuracy",
    "score1": "Score1",
    "brier": "Brier score",
    "calibration_intercept": "Calibration intercept",
    "calibration_slope": "Calibration slope",
}
"""By metric; those with a suffix of `metrics` are told apart by their group or column."""

_DECISIONS = ("f1", "precision", "recall", "specificity", "accuracy")
_CALIBRATION = ("brier", "calibration_intercept", "calibration_slope")
METRIC_GROUPS = {
    "Discrimination, whatever the threshold": ("auroc", "auprc"),
    "Decisions at the threshold that was best on validation patients": (*_DECISIONS, "score1"),
    "Decisions at probability 0.5, as the attack takes them": tuple(f"{name}{AT_HALF}" for name in _DECISIONS),
    "Calibration of the model's own probabilities": _CALIBRATION,
    "Calibration after recalibration on validation patients": tuple(f"{name}{RECALIBRATED}" for name in _CALIBRATION),
}
STUDY_LABELS = {
    "sun2018": "Sun et al. 2018",
    "reproduction2022_tf2": "Reproduction of 2022 (TensorFlow)",
    "reproduction2023": "Reproduction of 2023 (PyTorch)",
    "challenge2012_winner": "Winner of the PhysioNet/CinC Challenge 2012",
    "grud2018": "GRU-D (Che et al. 2018)",
    "lstm_lowest": "LSTM, lowest published",
    "lstm_highest": "LSTM, highest published",
    "transformer_best": "Transformer, best published",
}
_CAPTIONS = (
    "ROC curve of the pooled held-out predictions.",
    "Precision against recall of the pooled held-out predictions.",
    "Observed deaths against predicted probability, in bins of equal size (at least ten stays), before and after "
    "recalibration on validation patients.",
    "Discrimination and calibration by age, sex and care unit, 95% intervals over patients; dashed: all stays, and a "
    "calibration intercept of 0.",
    "Loss and discrimination while training; faint lines are folds, a dot marks the epoch that was kept.",
)

_TUNING_CAPTION = (
    "Hyperparameter search inside each training fold, judged on inner validation patients: every training, and the "
    "lowest loss so far; then the loss by each hyperparameter. Crosses were ended early, rings were chosen."
)


def metric_label(metric: str) -> str:
    """The label of a metric, without what its suffix says."""
    base = metric.removesuffix(AT_HALF).removesuffix(RECALIBRATED)
    return METRIC_LABELS.get(base, base)


def model_section(tables: Tables, figures: Path, model: str, tuned: bool = False) -> dict[str, Any]:
    """One model: its metrics, subgroups and decisions, one list a seed, and its figures; tuned: also of its search."""
    captions = dict(zip(names.model_figures(model), _CAPTIONS, strict=True))
    if tuned:
        captions |= dict.fromkeys(names.tuning_figures(model), _TUNING_CAPTION)
    rows, decisions, subgroups = (
        table[table["model"] == model]
        for table in (tables["model_metrics"], tables["model_decisions"], tables["subgroups"])
    )
    auroc = findings.auroc_text(rows, model)
    folds = rows[rows["scope"].str.startswith("fold ")]
    return {
        "name": model,
        "auroc": auroc,
        "seeds": {seed: _metric_groups(part) for seed, part in rows.groupby("seed", sort=True)},
        "subgroups": {seed: _subgroup_rows(part) for seed, part in subgroups.groupby("seed", sort=True)},
        "decisions": records(decisions),
        "counts": records(rows[rows["scope"] == "pooled"])[0],
        "folds_hidden": bool(len(folds)) and bool(folds["value"].isna().all()),
        "figures": [
            embed_figure(figures, stem, f"{caption} Model {model}, AUROC {auroc}.", caption)
            for stem, caption in captions.items()
        ],
    }


def _metric_groups(rows: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """Of one model and seed, by group: a row a metric with the pooled value, the mean over folds and their range."""
    folds = rows[rows["scope"].str.startswith("fold ")].groupby("metric")["value"].agg(["min", "max"])
    means = {row["metric"]: row for row in records(rows[rows["scope"] == "mean over folds"])}
    pooled = {row["metric"]: row for row in records(rows[rows["scope"] == "pooled"])}
    return {
        group: [
            {
                "label": metric_label(metric),
                "pooled": pooled[metric],
                "mean": means.get(metric),
                "lowest": folds["min"].get(metric),
                "highest": folds["max"].get(metric),
            }
            for metric in metrics
            if metric in pooled
        ]
        for group, metrics in METRIC_GROUPS.items()
    }


def _subgroup_rows(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """`subgroups.csv` of one model and seed, a row a level with all its metrics."""
    keys = ["attribute", "level", "n_stays", "n_deaths"]
    return [
        dict(zip(keys, key, strict=True))
        | {
            "metrics": {row["metric"]: row for row in records(part)},
            "attribute_label": by_subgroup.ATTRIBUTE_LABELS[str(key[0])],
        }
        for key, part in rows.groupby(keys, sort=False)
    ]


def comparison_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """`published_comparison.csv`, a row a study and threshold: where its numbers come from, and its metrics."""
    keys = ["study", "cohort", "evaluated_on", "held_out", "positive_class", "threshold", "remark"]
    return [
        dict(zip(keys, key, strict=True)) | {"metrics": {row["metric"]: row for row in records(rows)}}
        for key, rows in table.groupby(keys, sort=False)
    ]


COMPARED_METRICS = comparison.METRICS
SUBGROUP_METRICS = by_subgroup.METRICS
