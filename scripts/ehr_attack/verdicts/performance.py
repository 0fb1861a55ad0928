"""Claim 1: the model predicts as well as published; and whether it predicts at all, without which nothing is told."""

import itertools
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from ehr_attack.decisions import fit_decisions, scored_stays
from ehr_attack.evaluation import held_out_stays
from ehr_attack.metrics import METRICS, weighted_metrics
from ehr_attack.published import published_metrics
from ehr_attack.resampling import model_weights
from ehr_attack.verdicts.question import Question, interval_of
from ehr_attack.verdicts.rule import Bound, Interval, number

_CHANCE = 0.5
_TOLERANCE = 0.05
"""A metric that is lower than published by less than this counts as reached."""
_NAMES = {"auroc": "AUROC", "f1": "F1", "precision": "precision", "recall": "recall"}
_SEED = 20180824


def pooled_auroc(metrics: pd.DataFrame) -> Interval:
    """The held-out AUROC pooled over folds: mean over seeds, lowest and highest end of the seeds' intervals.

    metrics: METRICS rows of one model.
    """
    rows = metrics[metrics["fold"].isna() & (metrics["metric"] == "auroc")]
    return Interval(rows["value"].mean(), rows["low"].min(skipna=False), rows["high"].max(skipna=False))


def no_skill(model: str, auroc: Interval) -> str:
    """Why nothing is concluded from a model whose held-out AUROC may be that of chance; empty otherwise."""
    if not auroc.known:
        return f"the held-out AUROC of {model} has no interval, so it may predict no better than chance"
    if auroc.low > _CHANCE:
        return ""
    value, low, high = map(number, (auroc.value, auroc.low, auroc.high))
    return (
        f"the held-out AUROC of {model} is {value} ({low} to {high}), which does not exclude {_CHANCE:g}: it may "
        "predict no better than chance, and where it is susceptible then says nothing"
    )


def drawn_metrics(
    held_out: pd.DataFrame, decisions: pd.DataFrame, resamples: int
) -> Mapping[str, npt.NDArray[np.float64]]:
    """Each metric pooled over folds, mean over seeds, of all held-out stays and of each draw: (1 + resamples,).

    held_out: `test` rows of the predictions of one model, with `subject_id`; decisions: the frame of `fit_decisions`.
    Drawn are seeds, folds, and the patients of each fold; every seed is measured on the same patients.
    """
    seed, fold, subject = (held_out[name].to_numpy(dtype=np.int64) for name in ("seed", "fold", "subject_id"))
    seeds = np.unique(seed)
    drawn_seeds = np.random.default_rng(_SEED).integers(0, len(seeds), (1 + resamples, len(seeds)))
    counts = (drawn_seeds[:, :, None] == np.arange(len(seeds))).sum(axis=1)
    counts[0] = 1
    total = np.zeros((1 + resamples, len(METRICS)))
    for place, value in enumerate(seeds):
        rows = seed == value
        # The same draws for every seed, made anew: kept, they would be gigabytes in a large run.
        draws = model_weights(np.zeros_like(seed), fold, subject, resamples, _SEED)
        weights = (weight[rows] for weight in itertools.chain([np.ones(len(seed))], draws))
        measured = weighted_metrics(scored_stays(held_out[rows], decisions), weights)
        total += np.where(counts[:, place, None] > 0, counts[:, place, None] * measured, 0.0)
    return dict(zip(METRICS, (total / len(seeds)).T, strict=True))


def performance_questions(predictions: pd.DataFrame, stays: pd.DataFrame, resamples: int) -> Iterator[Question]:
    """Whether each published metric is reached.

    predictions: PREDICTIONS of one model, all seeds and folds; stays: with `stay_id`, `subject_id`.
    """
    published = published_metrics().set_index("study")
    held_out = held_out_stays(predictions, stays)
    drawn = drawn_metrics(held_out, fit_decisions(predictions), resamples)
    for metric, name in _NAMES.items():
        goal = float(published[metric].to_dict()["sun2018"])
        yield Question(
            claim=1,
            hypothesis="The model predicts death as well as published.",
            effect=f"held-out {name}",
            unit="",
            statement=f"the held-out {name} is {{}}, against {number(goal)} published, which counts as reached from "
            f"{number(goal - _TOLERANCE)} on",
            interval=interval_of(drawn[metric]),
            bound=Bound(goal - _TOLERANCE),
            n_stays=held_out["stay_id"].nunique(),
            n_patients=held_out["subject_id"].nunique(),
            none=_CHANCE if metric == "auroc" else float("nan"),
            published=goal,
        )
