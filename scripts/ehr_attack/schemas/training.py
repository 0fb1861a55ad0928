"""The tables that a training writes."""

import pyarrow as pa

from ehr_attack.schemas.fields import FLAG, FLOAT, INT8, INT32, INT64, RUN, TEXT

HISTORY = pa.schema(
    RUN
    | {
        "epoch": INT32,
        "train_loss": FLOAT,
        "validation_loss": FLOAT,
        "validation_auroc": FLOAT,
        "chosen": FLAG,
    }
)
"""One row an epoch; `chosen` marks the epoch whose weights are the checkpoint's."""

TRIALS = pa.schema(
    RUN
    | {
        "trial": INT32,
        "state": TEXT,
        "validation_loss": FLOAT,
        "validation_auroc": FLOAT,
        "epochs": INT32,
        "lr": FLOAT,
        "weight_decay": FLOAT,
        "batch_size": INT32,
        "chosen": FLAG,
    }
)
"""One row a trial of a hyperparameter search; `state`: complete or pruned; a null hyperparameter was not searched."""

PREDICTIONS = pa.schema(RUN | {"split": TEXT, "stay_id": INT64, "label": INT8, "p_death": FLOAT})
"""One row a stay and fold; `split` is train, validation or test."""
