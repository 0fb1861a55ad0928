"""What a fold's inner validation patients decide: thresholds and recalibration, applied to its held-out stays."""

from typing import Any

import numpy as np
import pandas as pd

from ehr_attack.calibration import fit_recalibration, recalibrated
from ehr_attack.metrics import Scored
from ehr_attack.thresholds import HALF, f1_threshold, score1_threshold

RUN = ["model", "seed", "fold"]
_DECISION = ["threshold_f1", "threshold_score1", "recalibration_intercept", "recalibration_slope"]
_COUNTS = ["n_stays", "n_deaths"]


def fit_decisions(predictions: pd.DataFrame) -> pd.DataFrame:
    """One row a model, seed and fold with the columns of the DECISIONS schema, from its `validation` stays alone.

    predictions: canonical predictions. NaN where the validation stays cannot tell (none, or one class).
    """
    validation = predictions[predictions["split"] == "validation"]
    fitted = [_fit(run, rows) for run, rows in validation.groupby(RUN, sort=True)]
    known = pd.DataFrame(fitted, columns=[*RUN, *_DECISION, *_COUNTS]).set_index(RUN)
    runs = predictions[RUN].drop_duplicates().sort_values(RUN, ignore_index=True)
    decisions = runs.join(known.astype(float), on=RUN)
    return decisions.fillna(dict.fromkeys(_COUNTS, 0)).astype(dict.fromkeys(_COUNTS, np.int64))


def _fit(run: Any, validation: pd.DataFrame) -> tuple[Any, ...]:
    labels, p_death = validation["label"].to_numpy(), validation["p_death"].to_numpy()
    thresholds = (f1_threshold(labels, p_death), score1_threshold(labels, p_death))
    return (*run, *thresholds, *fit_recalibration(labels, p_death), labels.size, int(labels.sum()))


def scored_stays(held_out: pd.DataFrame, decisions: pd.DataFrame) -> Scored:
    """The held-out stays, in their order, each judged by its own fold's thresholds and recalibration.

    held_out: `test` rows of the predictions; decisions: the frame of `fit_decisions`. A threshold that is not known
    is taken to be 0.5.
    """
    rows = held_out[[*RUN, "label", "p_death"]].merge(decisions, on=RUN, how="left", validate="many_to_one")
    p_death = rows["p_death"].to_numpy(dtype=np.float64)
    intercept, slope = (rows[f"recalibration_{name}"].to_numpy() for name in ("intercept", "slope"))
    return Scored(
        labels=rows["label"].to_numpy(),
        p_death=p_death,
        p_recalibrated=recalibrated(p_death, intercept, slope),
        positive=p_death > rows["threshold_f1"].fillna(HALF).to_numpy(),
        positive_score1=p_death > rows["threshold_score1"].fillna(HALF).to_numpy(),
        positive_half=p_death > HALF,
    )
