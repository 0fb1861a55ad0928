"""Claim 1: the model predicts as well as published; and whether it predicts at all, without which nothing is told."""

from collections.abc import Iterator, Mapping

import pandas as pd

from ehr_attack.published import published_metrics
from ehr_attack.verdicts.question import Question
from ehr_attack.verdicts.rule import Bound, Interval, number

_CHANCE = 0.5
_TOLERANCE = 0.05
"""A metric that is lower than published by less than this counts as reached."""
_METRICS = ("auroc", "f1", "precision", "recall")
_NAMES = {"auroc": "AUROC", "f1": "F1", "precision": "precision", "recall": "recall"}


def pooled(metrics: pd.DataFrame) -> dict[str, Interval]:
    """Each held-out metric pooled over folds: mean over seeds, lowest and highest end of the seeds' intervals.

    metrics: METRICS rows of one model. With several seeds the interval holds that of every seed, and so is too wide
    rather than too narrow.
    """
    rows = metrics[metrics["fold"].isna() & metrics["metric"].isin(_METRICS)]
    by_metric = rows.groupby("metric", sort=False)
    return {
        str(name): Interval(part["value"].mean(), part["low"].min(skipna=False), part["high"].max(skipna=False))
        for name, part in by_metric
    }


def no_skill(model: str, found: Mapping[str, Interval]) -> str:
    """Why nothing is concluded from a model whose held-out AUROC may be that of chance; empty otherwise."""
    auroc = found.get("auroc")
    if auroc is None or not auroc.known:
        return f"the held-out AUROC of {model} has no interval, so it may predict no better than chance"
    if auroc.low > _CHANCE:
        return ""
    value, low, high = map(number, (auroc.value, auroc.low, auroc.high))
    return (
        f"the held-out AUROC of {model} is {value} ({low} to {high}), which does not exclude {_CHANCE:g}: it may "
        "predict no better than chance, and where it is susceptible then says nothing"
    )


def performance_questions(metrics: pd.DataFrame) -> Iterator[Question]:
    """Whether each published metric is reached. metrics: METRICS rows of one model."""
    published = published_metrics().set_index("study")
    sizes = metrics[metrics["fold"].isna()][["n_stays", "n_patients"]].min()
    for metric, interval in pooled(metrics).items():
        name, goal = _NAMES[metric], float(published[metric].to_dict()["sun2018"])
        yield Question(
            claim=1,
            hypothesis="The model predicts death as well as published.",
            effect=f"held-out {name}",
            unit="",
            statement=f"the held-out {name} is {{}}, against {number(goal)} published",
            interval=interval,
            bound=Bound(goal - _TOLERANCE, _TOLERANCE),
            n_stays=int(sizes["n_stays"]),
            n_patients=int(sizes["n_patients"]),
            none=_CHANCE if metric == "auroc" else float("nan"),
            published=goal,
        )
