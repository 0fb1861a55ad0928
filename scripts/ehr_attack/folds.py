"""Cross-validation folds: patients never straddle folds, deaths are spread evenly."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from ehr_attack.errors import UserError

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
            f"folds.count: {count} folds need at least {count} patients, but the cohort has {patients}. "
            "Lower folds.count or widen the cohort (cohort.*)."
        )
    labels = ordered["died_in_hospital"].to_numpy(dtype=np.int8)
    fold = _grouped_parts(labels, ordered["subject_id"].to_numpy(), count, seed)
    for index in range(count):
        held_out = labels[fold == index]
        if held_out.size == 0 or held_out.min() == held_out.max():
            kind = "no stay" if held_out.size == 0 else ("only deaths" if held_out[0] else "only survivors")
            raise UserError(
                f"folds.count: fold {index} of {count} would hold {kind}; a fold needs deaths and survivors. "
                "Lower folds.count, try another folds.seed, or widen the cohort (cohort.*)."
            )
    return pd.DataFrame({"stay_id": ordered["stay_id"], "fold": fold.astype(np.int32)})


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
        deaths = int(labels.sum())
        raise UserError(
            f"folds.count: the cohort's stays hold {deaths} deaths and {labels.size - deaths} survivors, too few to "
            f"spread over {count} parts. Lower folds.count or widen the cohort (cohort.*)."
        )
    splitter = StratifiedGroupKFold(n_splits=count, shuffle=True, random_state=seed)
    part = np.empty(labels.size, dtype=np.int64)
    for index, (_, held_out) in enumerate(splitter.split(np.zeros(labels.size), labels, subjects)):
        part[held_out] = index
    return part
