"""The tables of how well models predict."""

import pyarrow as pa

from ehr_attack.schemas.fields import FLOAT, INT64, RUN, TEXT, Fields

_MEASURED: Fields = {
    "metric": TEXT,
    "value": FLOAT,
    "low": FLOAT,
    "high": FLOAT,
    "n_stays": INT64,
    "n_patients": INT64,
    "n_deaths": INT64,
}

METRICS = pa.schema(RUN | _MEASURED)
"""One row a metric on held-out stays; `fold` null: pooled over folds. `low`, `high`: 95 % interval over patients."""

ALL_STAYS = "all"
"""In SUBGROUPS, the attribute, and its one level, that all stays share."""

SUBGROUPS = pa.schema({"model": TEXT, "seed": INT64, "attribute": TEXT, "level": TEXT} | _MEASURED)
"""One row a metric on the held-out stays of one level (`65 to 74`) of an attribute (`age`), pooled over folds."""

DECISIONS = pa.schema(
    RUN
    | {
        "threshold_f1": FLOAT,
        "threshold_score1": FLOAT,
        "recalibration_intercept": FLOAT,
        "recalibration_slope": FLOAT,
        "n_stays": INT64,
        "n_deaths": INT64,
    }
)
"""One row a fold: thresholds of largest F1 and Score1, and the logistic recalibration, all fitted on its inner
validation stays (`n_stays`, `n_deaths` of them); NaN where they cannot tell.
"""

MODEL_CURVES = pa.schema({"model": TEXT, "seed": INT64, "curve": TEXT, "x": FLOAT, "y": FLOAT})
"""ROC (`roc`), precision-recall (`pr`) and calibration curves of the pooled held-out predictions; `recalibrated`: the
calibration after recalibration."""
