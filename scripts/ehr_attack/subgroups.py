"""How well a model predicts for groups of patients: by age, sex and care unit, on held-out stays."""

from typing import Any

import numpy as np
import pandas as pd

from ehr_attack.decisions import fit_decisions, scored_stays
from ehr_attack.evaluation import held_out_stays, measured
from ehr_attack.schemas.evaluation import ALL_STAYS

AGE_BANDS_YEARS = {"under 45": 45, "45 to 64": 65, "65 to 74": 75, "75 to 84": 85, "85 and over": np.inf}
"""Bands by the age at which each ends, exclusive."""

UNKNOWN = "unknown"
_ATTRIBUTES = ("age", "sex", "care_unit")


def evaluate_subgroups(predictions: pd.DataFrame, stays: pd.DataFrame, resamples: int) -> pd.DataFrame:
    """Metrics of each seed on the pooled held-out stays of each subgroup, and of all stays (attribute `all`).

    predictions: canonical predictions of one model; stays: STAYS rows. What the source tells of no stay has no rows.
    Thresholds, recalibration and intervals are those of `evaluation.evaluate_predictions`. Returns a frame with the
    columns of the SUBGROUPS schema.
    """
    decisions = fit_decisions(predictions)
    grouped = stays[["stay_id", "subject_id"]].assign(all=ALL_STAYS, **_levels(stays))
    rows: list[dict[str, Any]] = []
    for (model, seed), of_seed in held_out_stays(predictions, grouped).groupby(["model", "seed"], sort=True):
        scored, subjects = scored_stays(of_seed, decisions), of_seed["subject_id"].to_numpy()
        for attribute in (ALL_STAYS, *(name for name in _ATTRIBUTES if name in of_seed)):
            for level in _in_order(of_seed[attribute]):
                part = (of_seed[attribute] == level).to_numpy()
                label = {"model": model, "seed": seed, "attribute": attribute, "level": level}
                rows += [label | row for row in measured(scored.part(part), subjects[part], resamples)]
    return pd.DataFrame(rows)


def _levels(stays: pd.DataFrame) -> dict[str, pd.Series]:
    """The level of every stay by attribute, as text."""
    edges = [-np.inf, *AGE_BANDS_YEARS.values()]
    bands = pd.cut(stays["age_years"].astype(float), edges, right=False, labels=list(AGE_BANDS_YEARS))
    told = {"age": bands.astype(object), "sex": stays["sex"], "care_unit": stays["care_unit"]}
    return {name: level.fillna(UNKNOWN).astype(str) for name, level in told.items() if level.notna().any()}


def _in_order(levels: pd.Series) -> list[str]:
    """Age bands by age, everything else by name, what is unknown last."""
    rank = {name: place for place, name in enumerate(AGE_BANDS_YEARS)}
    return sorted(levels.unique(), key=lambda level: (level == UNKNOWN, rank.get(level, 0), level))
