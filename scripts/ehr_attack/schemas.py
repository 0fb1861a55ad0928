"""The canonical tables: the contract between stages, as Arrow schemas."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

_Fields = dict[str, Any]

_INT8: Any
_INT32: Any
_INT64: Any
_FLOAT: Any
_TEXT: Any
_FLAG: Any
_TIME: Any
_INT8, _INT32, _INT64 = pa.int8(), pa.int32(), pa.int64()
_FLOAT, _TEXT, _FLAG, _TIME = pa.float64(), pa.string(), pa.bool_(), pa.timestamp("us")

STAYS = pa.schema(
    {
        "stay_id": _INT64,
        "subject_id": _INT64,
        "hadm_id": _INT64,
        "intime": _TIME,
        "outtime": _TIME,
        "age_years": _FLOAT,
        "sex": _TEXT,
        "care_unit": _TEXT,
        "los_icu_days": _FLOAT,
        "los_hospital_days": _FLOAT,
        "died_in_hospital": _FLAG,
        "source": _TEXT,
        "source_set": _TEXT,
        "hours_observable": _INT32,
    }
)
"""One row an ICU stay of the cohort, null where the source does not tell.

`source_set`: the part of the source that the stay is from, where it has parts; `hours_observable`: hourly steps of
the window before the stay's end.
"""

MEASUREMENTS = pa.schema({"stay_id": _INT64, "hours": _FLOAT, "variable": _TEXT, "value": _FLOAT})
"""One row a recorded value in canonical units; `hours` since ICU intime."""


def features_schema(variable_names: Sequence[str]) -> pa.Schema:
    """One row a stay and hour; a float32 column a variable, NaN where nothing was recorded in that hour."""
    return pa.schema({"stay_id": _INT64, "hour": _INT32} | {name: pa.float32() for name in variable_names})


FOLDS = pa.schema({"stay_id": _INT64, "fold": _INT32})
"""One row a stay; the fold that holds it out for testing, -1 where none does."""

_RUN: _Fields = {"model": _TEXT, "seed": _INT64, "fold": _INT32}

HISTORY = pa.schema(
    _RUN
    | {
        "epoch": _INT32,
        "train_loss": _FLOAT,
        "validation_loss": _FLOAT,
        "validation_auroc": _FLOAT,
        "chosen": _FLAG,
    }
)
"""One row an epoch; `chosen` marks the epoch whose weights are the checkpoint's."""

TRIALS = pa.schema(
    _RUN
    | {
        "trial": _INT32,
        "state": _TEXT,
        "validation_loss": _FLOAT,
        "validation_auroc": _FLOAT,
        "epochs": _INT32,
        "lr": _FLOAT,
        "weight_decay": _FLOAT,
        "batch_size": _INT32,
        "chosen": _FLAG,
    }
)
"""One row a trial of a hyperparameter search; `state`: complete or pruned; a null hyperparameter was not searched."""

PREDICTIONS = pa.schema(_RUN | {"split": _TEXT, "stay_id": _INT64, "label": _INT8, "p_death": _FLOAT})
"""One row a stay and fold; `split` is train, validation or test."""

_MEASURED: _Fields = {
    "metric": _TEXT,
    "value": _FLOAT,
    "low": _FLOAT,
    "high": _FLOAT,
    "n_stays": _INT64,
    "n_patients": _INT64,
    "n_deaths": _INT64,
}

METRICS = pa.schema(_RUN | _MEASURED)
"""One row a metric on held-out stays; `fold` null: pooled over folds. `low`, `high`: 95 % interval over patients."""

ALL_STAYS = "all"
"""In SUBGROUPS, the attribute, and its one level, that all stays share."""

SUBGROUPS = pa.schema({"model": _TEXT, "seed": _INT64, "attribute": _TEXT, "level": _TEXT} | _MEASURED)
"""One row a metric on the held-out stays of one level (`65 to 74`) of an attribute (`age`), pooled over folds."""

DECISIONS = pa.schema(
    _RUN
    | {
        "threshold_f1": _FLOAT,
        "threshold_score1": _FLOAT,
        "recalibration_intercept": _FLOAT,
        "recalibration_slope": _FLOAT,
        "n_stays": _INT64,
        "n_deaths": _INT64,
    }
)
"""One row a fold: thresholds of largest F1 and Score1, and the logistic recalibration, all fitted on its inner
validation stays (`n_stays`, `n_deaths` of them); NaN where they cannot tell.
"""

MODEL_CURVES = pa.schema({"model": _TEXT, "seed": _INT64, "curve": _TEXT, "x": _FLOAT, "y": _FLOAT})
"""ROC (`roc`), precision-recall (`pr`) and calibration curves of the pooled held-out predictions; `recalibrated`: the
calibration after recalibration."""

_ATTACK: _Fields = {
    "model": _TEXT,
    "mode": _TEXT,
    "seed": _INT64,
    "fold": _INT32,
    "stay_id": _INT64,
    "lambda": _FLOAT,
}

OUTCOMES = pa.schema(
    _ATTACK
    | {
        "label": _INT8,
        "direction": _TEXT,
        "flipped": _FLAG,
        "flipped_float64": _FLAG,
        "feasible": _FLAG,
        "steps": _INT32,
        "margin": _FLOAT,
        "margin_clean": _FLOAT,
        "margin_float32": _FLOAT,
        "margin_float64": _FLOAT,
        "margin_feasible": _FLOAT,
        "p_clean": _FLOAT,
        "p_adversarial": _FLOAT,
        "l1": _FLOAT,
        "l2": _FLOAT,
        "linf": _FLOAT,
        "n_changed": _INT32,
        "n_changed_observed": _INT32,
        "n_edited": _INT32,
        "still_falling": _FLAG,
        "gradient_vanished": _FLAG,
        "stuck_at_bounds": _FLAG,
        "pruned": _FLAG,
        "audited": _FLAG,
        "selected": _FLAG,
    }
)
"""One row an attack on a stay (stay x lambda; `lambda` is null where a mode has none).

Margins are logit_t - logit_y: of the unchanged record, as the search saw it, recomputed in float64, of the feasible
change; `margin` is that of the change that counts, feasible where the mode must be. l1, l2, linf are in scaled units;
`n_edited`: entries changed, recorded values in modes that change these, else cells. A row without a flip may be
`still_falling` (its loss fell at the last step), `gradient_vanished`, or `stuck_at_bounds`. `pruned`: not searched,
since a smaller lambda of the stay failed; `audited`: searched all the same.
"""

PERTURBATIONS = pa.schema(
    _ATTACK
    | {
        "hour": _INT32,
        "variable": _TEXT,
        "delta_scaled": _FLOAT,
        "delta_clinical": _FLOAT,
        "observed": _FLAG,
    }
)
"""One row a changed cell of a successful attack. In modes that change recorded values, the cell that holds them."""

CHANGES = pa.schema(
    _ATTACK
    | {
        "variable": _TEXT,
        "hours": _FLOAT,
        "value_before": _FLOAT,
        "value_after": _FLOAT,
        "unit": _TEXT,
    }
)
"""One row a recorded value that a successful attack changed (`measurement`); in mode `single`, one row a recorded value
that flips the prediction by itself, with its smallest such change. `hours` since ICU admission, values in `unit`."""

_MAP: _Fields = {"model": _TEXT, "mode": _TEXT, "direction": _TEXT}

SELECTED, FIXED, ALL_LAMBDAS = "selected", "fixed", "all"
POLICIES = (SELECTED, FIXED, ALL_LAMBDAS)
"""Which successful attacks on a stay count: its selected one; those at the one lambda that is selected most often; all,
each weighing as much as the others. Modes without a lambda have `selected` alone."""

ALL_CELLS, OBSERVED_CELLS = "all", "observed"
BASES = (ALL_CELLS, OBSERVED_CELLS)
"""What is measured: every cell, over all stays; or each cell over the stays that have a recorded value there."""

_BASIS: _Fields = {"policy": _TEXT, "basis": _TEXT}
_SIZE: _Fields = {"n_rows": _INT64, "n_stays": _INT64, "n_patients": _INT64}


def _with_interval(*names: str) -> _Fields:
    return {f"{name}{end}": _FLOAT for name in names for end in ("", "_low", "_high")}


CELLS = pa.schema(
    _MAP
    | _BASIS
    | {"hour": _INT32, "variable": _TEXT}
    | _SIZE
    | {"n_changed_patients": _INT64}
    | _with_interval("gmp", "gap", "gpp", "q95", "s", "s_q95")
)
"""One row a cell (hour, variable), direction, policy and basis: its measures with 95 % intervals over patients.

`n_rows`, `n_stays`, `n_patients`: attacks, stays and patients that the cell is measured over (basis `observed`: those
with a recorded value there); `n_changed_patients`: patients of whom an attack changed the cell. Intervals of `gmp` and
`s`, which rest on a maximum, are m-out-of-n. Null: below ten stays.
"""

VARIABLES = pa.schema(
    _MAP
    | _BASIS
    | {"variable": _TEXT, "n_cells": _INT64}
    | _SIZE
    | _with_interval("s", "s_q95")
    | {"rank": _INT32, "rank_low": _INT32, "rank_high": _INT32}
)
"""One row a variable, direction, policy and basis: S_j (sum over hours) in both forms, and its rank by `s_q95` per
measured cell (1: most susceptible, ties: the smallest) with a 95 % interval over patients. `n_cells`: measured cells
(see CELLS) that the sum is over; of recorded values a sum over few cells is smaller than one over many for that reason
alone. No rank where `s_q95` is 0 or fewer than half of the cells are measured; a draw of patients that has it at 0 puts
the variable last."""

HOURS = pa.schema(_MAP | _BASIS | {"hour": _INT32, "n_cells": _INT64} | _SIZE | _with_interval("s", "s_q95"))
"""One row an hour, direction, policy and basis: S_i (sum over variables) in both forms; `n_cells` as in VARIABLES."""

VARIABLE_AXIS, HOUR_AXIS = "variable", "hour"
_SUM: _Fields = {"axis": _TEXT, "name": _TEXT}

SUMS_BY_MODEL = pa.schema(
    _MAP | {"seed": _INT64, "fold": _INT32} | _BASIS | _SUM | _SIZE | {"s": _FLOAT, "s_q95": _FLOAT}
)
"""One row a variable or hour (`axis`, `name`) of each single trained model, and (`fold` null) of each seed over its
folds: how far susceptibility depends on the training."""

PATIENTS, MODELS_TOO = "patients", "patients, folds and seeds"
RESAMPLED = (PATIENTS, MODELS_TOO)

REPLICATES = pa.schema(_MAP | {"basis": _TEXT, "resampled": _TEXT, "replicate": _INT32} | _SUM | {"s_q95": _FLOAT})
"""Bootstrap replicates of the sums over hours and variables, policy `selected`: what every interval of a function of
them is made of. `resampled`: patients alone (the models as they are), or folds and seeds, and patients within the folds
drawn. A replicate is one draw, the same for all rows of its number."""

TRADEOFF = pa.schema(
    _MAP
    | {"lambda": _FLOAT, "n_attacked": _INT64, "n_succeeded": _INT64, "n_patients": _INT64, "n_selected": _INT64}
    | {f"{name}_{quartile}": _FLOAT for name in ("mp", "ap", "pp") for quartile in ("q25", "median", "q75")}
)
"""One row a lambda and direction: of the attacks that succeeded there, how large (MP, AP; scaled units) and how sparse
(PP, share of the cells) the changes are; `n_selected`: stays whose selected attack it is."""

SUPPORTED, NOT_SUPPORTED, CANNOT_TELL = "supported", "not supported", "cannot tell"
VERDICT_WORDS = (SUPPORTED, NOT_SUPPORTED, CANNOT_TELL)

VERDICTS = pa.schema(
    {
        "claim": _INT32,
        "hypothesis": _TEXT,
        "model": _TEXT,
        "mode": _TEXT,
        "direction": _TEXT,
        "basis": _TEXT,
        "effect": _TEXT,
        "value": _FLOAT,
        "low": _FLOAT,
        "high": _FLOAT,
        "none": _FLOAT,
        "published": _FLOAT,
        "n_stays": _INT64,
        "n_patients": _INT64,
        "verdict": _TEXT,
        "reason": _TEXT,
    }
)
"""One row a test of a claim of the paper: effect size with its 95 % interval over patients, folds and seeds, its value
if there were no effect (`none`), in the paper (`published`, null where that has another measure), and what follows, in
one of VERDICT_WORDS and a sentence. `direction` and `basis` are empty where a test has none. Intervals of rank
correlations are over variables too."""

STABILITY = pa.schema(
    {
        "across": _TEXT,
        "first": _TEXT,
        "second": _TEXT,
        "mode": _TEXT,
        "direction": _TEXT,
        "axis": _TEXT,
        "n_shared": _INT64,
        "n_patients": _INT64,
        "spearman": _FLOAT,
        "kendall": _FLOAT,
    }
)
"""One row a pair: agreement of S_q95 ranks over variables or hours (`axis`) between two folds, seeds, models or attacks
(`across`); `n_patients`: of the smaller of the two."""

TRANSFER = pa.schema(
    {
        "mode": _TEXT,
        "direction": _TEXT,
        "from_model": _TEXT,
        "from_seed": _INT64,
        "to_model": _TEXT,
        "to_seed": _INT64,
        "n_stays": _INT64,
        "n_patients": _INT64,
        "n_flipped": _INT64,
        "rate": _FLOAT,
        "low": _FLOAT,
        "high": _FLOAT,
    }
)
"""One row an ordered pair of models: of the stays whose selected change flips `from_model` and that `to_model`, of the
same fold, classifies correctly, the share (with a 95 % interval over patients) that the same change flips there too."""

ATTACK_CURVES = pa.schema(_MAP | {"budget": _TEXT, "allowed": _FLOAT, "success_rate": _FLOAT, "n_attacked": _INT64})
"""Success rate against the allowed maximum perturbation (`linf`) or share of changed cells (`share`)."""

ATTACK_SUMMARY = pa.schema(
    _MAP
    | {
        "n_attacked": _INT64,
        "n_flipped": _INT64,
        "n_flipped_float64": _INT64,
        "n_feasible": _INT64,
        "n_selected": _INT64,
        "n_failed": _INT64,
        "n_still_falling": _INT64,
        "n_vanished": _INT64,
        "n_stuck": _INT64,
        "rows": _INT64,
        "rows_flipped": _INT64,
        "rows_lost_float64": _INT64,
        "rows_lost_feasible": _INT64,
        "rows_pruned": _INT64,
        "rows_audited": _INT64,
        "rows_audited_flipped": _INT64,
        "median_lambda": _FLOAT,
        "median_l1": _FLOAT,
        "median_linf": _FLOAT,
        "median_n_changed": _FLOAT,
        "median_n_edited": _FLOAT,
        "median_share_observed": _FLOAT,
    }
)
"""One row a direction: how many attacked stays were flipped, at what cost in the selected attacks, and what the checks
say. Stays (`n_`): `n_failed` have no success; of these, at some lambda the loss of `n_still_falling` still fell at the
last step, the gradient of `n_vanished` was zero, `n_stuck` were held by bounds. Rows (`rows_`, stay x lambda):
`rows_lost_float64` flipped, but not in float64; `rows_lost_feasible` flipped in float64, but no feasible change near by
does; of the `rows_audited` that pruning would have left out, `rows_audited_flipped` flipped all the same."""

ITEM_AUDIT = pa.schema(
    {
        "variable": _TEXT,
        "variable_label": _TEXT,
        "table_name": _TEXT,
        "code": _TEXT,
        "label": _TEXT,
        "fluid": _TEXT,
        "unit": _TEXT,
        "expected_unit": _TEXT,
        "n_rows": _INT64,
        "n_other_unit": _INT64,
        "n_patients": _INT64,
        "n_outside": _INT64,
        "q05": _FLOAT,
        "median": _FLOAT,
        "q95": _FLOAT,
        "findings": _TEXT,
        "failing": _TEXT,
    }
)
"""One row a variable and code of it, in the order of the variables, over all patients of the source.

`unit`: the most frequent one, empty where none is told; `n_other_unit`: rows of any other unit or of none; `n_outside`:
rows outside the plausible range; quantiles in the variable's canonical unit; `failing`: names of the findings that stop
the run unless acknowledged.
"""

INTEGRITY = pa.schema({"table_name": _TEXT, "what": _TEXT, "cases": _INT64, "total": _INT64, "consequence": _TEXT})
"""One row a check of the source's tables: how often something was found, out of how many rows, and what is done."""
