"""The tables of what is susceptible, and the words in them."""

import pyarrow as pa

from ehr_attack.schemas.fields import FLOAT, INT32, INT64, MAP, TEXT, Fields

SELECTED, FIXED, ALL_LAMBDAS = "selected", "fixed", "all"
POLICIES = (SELECTED, FIXED, ALL_LAMBDAS)
"""Which successful attacks on a stay count: its selected one; those at the one lambda that is selected most often; all,
each weighing as much as the others. Modes without a lambda have `selected` alone."""

ALL_CELLS, OBSERVED_CELLS = "all", "observed"
BASES = (ALL_CELLS, OBSERVED_CELLS)
"""What is measured: every cell, over all stays; or each cell over the stays that have a recorded value there."""

_BASIS: Fields = {"policy": TEXT, "basis": TEXT}
_SIZE: Fields = {"n_rows": INT64, "n_stays": INT64, "n_patients": INT64}


def _with_interval(*names: str) -> Fields:
    return {f"{name}{end}": FLOAT for name in names for end in ("", "_low", "_high")}


CELLS = pa.schema(
    MAP
    | _BASIS
    | {"hour": INT32, "variable": TEXT}
    | _SIZE
    | {"n_changed_patients": INT64}
    | _with_interval("gmp", "gap", "gpp", "q95", "s", "s_q95")
)
"""One row a cell (hour, variable), direction, policy and basis: its measures with 95 % intervals over patients.

`n_rows`, `n_stays`, `n_patients`: attacks, stays and patients that the cell is measured over (basis `observed`: those
with a recorded value there); `n_changed_patients`: patients of whom an attack changed the cell. Intervals of `gmp` and
`s`, which rest on a maximum, are m-out-of-n. Null: below ten stays.
"""

VARIABLES = pa.schema(
    MAP
    | _BASIS
    | {"variable": TEXT, "n_cells": INT64}
    | _SIZE
    | _with_interval("s", "s_q95")
    | {"rank": INT32, "rank_low": INT32, "rank_high": INT32}
)
"""One row a variable, direction, policy and basis: S_j (sum over hours) in both forms, and its rank by `s_q95` per
measured cell (1: most susceptible, ties: the smallest) with a 95 % interval over patients. `n_cells`: measured cells
(see CELLS) that the sum is over; of recorded values a sum over few cells is smaller than one over many for that reason
alone. No rank where `s_q95` is 0 or fewer than half of the cells are measured; a draw of patients that has it at 0 puts
the variable last."""

HOURS = pa.schema(MAP | _BASIS | {"hour": INT32, "n_cells": INT64} | _SIZE | _with_interval("s", "s_q95"))
"""One row an hour, direction, policy and basis: S_i (sum over variables) in both forms; `n_cells` as in VARIABLES."""

VARIABLE_AXIS, HOUR_AXIS = "variable", "hour"
_SUM: Fields = {"axis": TEXT, "name": TEXT}

SUMS_BY_MODEL = pa.schema(MAP | {"seed": INT64, "fold": INT32} | _BASIS | _SUM | _SIZE | {"s": FLOAT, "s_q95": FLOAT})
"""One row a variable or hour (`axis`, `name`) of each single trained model, and (`fold` null) of each seed over its
folds: how far susceptibility depends on the training."""

PATIENTS, MODELS_TOO = "patients", "patients, folds and seeds"

REPLICATES = pa.schema(MAP | {"basis": TEXT, "resampled": TEXT, "replicate": INT32} | _SUM | {"s_q95": FLOAT})
"""Bootstrap replicates of the sums over hours and variables, policy `selected`: what every interval of a function of
them is made of. `resampled`: patients alone (the models as they are), or folds and seeds, and patients within the folds
drawn. A replicate is one draw, the same for all rows of its number."""

TRADEOFF = pa.schema(
    MAP
    | {"lambda": FLOAT, "n_attacked": INT64, "n_succeeded": INT64, "n_patients": INT64, "n_selected": INT64}
    | {f"{name}_{quartile}": FLOAT for name in ("mp", "ap", "pp") for quartile in ("q25", "median", "q75")}
)
"""One row a lambda and direction: of the attacks that succeeded there, how large (MP, AP; scaled units) and how sparse
(PP, share of the cells) the changes are; `n_selected`: stays whose selected attack it is."""
