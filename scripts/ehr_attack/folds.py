"""Cross-validation folds: patients never straddle folds, deaths are spread evenly."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from ehr_attack.errors import UserError
from ehr_attack.suppression import count_text, part_text

NEVER_HELD_OUT = -1
"""The fold of stays that every model is trained on."""

_VALIDATION_PARTS = 8


def assign_folds(stays: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
    """Give every stay the fold that holds it out.

    stays: the canonical stays table. Returns a frame `stay_id` (int64), `fold` (int32, 0-based) in the order of
    `stays`. All stays of a patient share a fold. Raises UserError when there are fewer patients than folds or when a
    fold would hold stays of one outcome only.
    """
    ordered = stays.sort_values("stay_id", ignore_index=True)
    patients = ordered["subject_id"].nunique()
    if patients < count:
        raise UserError(
            f"folds.count: {count} folds need at least {count} patients, but the cohort has {count_text(patients)}. "
            "Lower folds.count or widen the cohort (cohort.*)."
        )
    labels = ordered["died_in_hospital"].to_numpy(dtype=np.int8)
    fold = _grouped_parts(labels, ordered["subject_id"].to_numpy(), count, seed)
    for index in range(count):
        if lack := _lack_of_a_class(labels[fold == index]):
            raise UserError(
                f"folds.count: fold {index} of {count} would hold {lack}; a fold needs deaths and survivors. "
                "Lower folds.count, try another folds.seed, or widen the cohort (cohort.*)."
            )
    return pd.DataFrame({"stay_id": ordered["stay_id"], "fold": fold.astype(np.int32)})


def folds_by_set(stays: pd.DataFrame, held_out_sets: Sequence[str]) -> pd.DataFrame:
    """Let fold k hold out the stays of the k-th of `held_out_sets`: an external validation.

    stays: the canonical stays table, with `source_set`. Stays of other sets get fold -1: they are trained on and never
    held out. Returns a frame as `assign_folds` does. Raises UserError when a set, or what is left to train on, holds
    stays of one outcome only, or when a patient is in two sets.
    """
    ordered = stays.sort_values("stay_id", ignore_index=True)
    sets = ordered["source_set"]
    if (ordered.groupby("subject_id")["source_set"].nunique() > 1).any():
        raise UserError(
            "folds.method: by_set needs sets that share no patient, but some patients have stays in two sets. "
            "Set folds.method to random, which never splits a patient."
        )
    labels = ordered["died_in_hospital"].to_numpy(dtype=np.int8)
    for name in held_out_sets:
        for part, stays_of_part in (("it", sets == name), ("what is left to train on", sets != name)):
            if lack := _lack_of_a_class(labels[stays_of_part.to_numpy()]):
                raise UserError(
                    f"folds.held_out_sets: with set {name} held out, {part} would hold {lack}; both need deaths and "
                    "survivors. Hold out another set, add one to source.path, or widen the cohort (cohort.*)."
                )
    fold = sets.map({name: index for index, name in enumerate(held_out_sets)}).fillna(NEVER_HELD_OUT)
    return pd.DataFrame({"stay_id": ordered["stay_id"], "fold": fold.astype(np.int32)})


def _lack_of_a_class(labels: npt.NDArray[np.int8]) -> str:
    """What is wrong with a part of the stays, in words; empty when it has both outcomes."""
    if labels.size == 0:
        return "no stay"
    if labels.min() == labels.max():
        return "only deaths" if labels[0] else "only survivors"
    return ""


def inner_validation(labels: npt.NDArray[np.int8], subjects: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.bool_]:
    """Mark about an eighth of the training stays, (stays,) bool, as inner validation; patients are not split."""
    parts = max(2, min(_VALIDATION_PARTS, len(np.unique(subjects)), np.bincount(labels, minlength=2).min()))
    held_out: npt.NDArray[np.bool_] = _grouped_parts(labels, subjects, int(parts), seed) == 0
    return held_out


def _grouped_parts(
    labels: npt.NDArray[np.int8], subjects: npt.NDArray[Any], count: int, seed: int
) -> npt.NDArray[np.int64]:
    if np.bincount(labels, minlength=2).min() < count:
        # scikit-learn would split all the same, or raise; the caller's message names the config key.
        deaths, stays = int(labels.sum()), labels.size
        raise UserError(
            f"folds.count: the cohort's stays hold {part_text(deaths, stays)} deaths and "
            f"{part_text(stays - deaths, stays)} survivors, too few to spread over {count} parts. Lower folds.count or "
            "widen the cohort (cohort.*)."
        )
    splitter = StratifiedGroupKFold(n_splits=count, shuffle=True, random_state=seed)
    part = np.empty(labels.size, dtype=np.int64)
    for index, (_, held_out) in enumerate(splitter.split(np.zeros(labels.size), labels, subjects)):
        part[held_out] = index
    return part
