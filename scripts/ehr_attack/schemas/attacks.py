"""The tables that an attack writes."""

import pyarrow as pa

from ehr_attack.schemas.fields import FLAG, FLOAT, INT8, INT32, INT64, TEXT, Fields

_ATTACK: Fields = {
    "model": TEXT,
    "mode": TEXT,
    "seed": INT64,
    "fold": INT32,
    "stay_id": INT64,
    "lambda": FLOAT,
}

OUTCOMES = pa.schema(
    _ATTACK
    | {
        "label": INT8,
        "direction": TEXT,
        "flipped": FLAG,
        "flipped_float64": FLAG,
        "feasible": FLAG,
        "steps": INT32,
        "margin": FLOAT,
        "margin_clean": FLOAT,
        "margin_float32": FLOAT,
        "margin_float64": FLOAT,
        "margin_feasible": FLOAT,
        "p_clean": FLOAT,
        "p_adversarial": FLOAT,
        "l1": FLOAT,
        "l2": FLOAT,
        "linf": FLOAT,
        "n_changed": INT32,
        "n_changed_observed": INT32,
        "n_edited": INT32,
        "still_falling": FLAG,
        "gradient_vanished": FLAG,
        "stuck_at_bounds": FLAG,
        "pruned": FLAG,
        "audited": FLAG,
        "selected": FLAG,
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
        "hour": INT32,
        "variable": TEXT,
        "delta_scaled": FLOAT,
        "delta_clinical": FLOAT,
        "observed": FLAG,
    }
)
"""One row a changed cell of a successful attack. In modes that change recorded values, the cell that holds them."""

CHANGES = pa.schema(
    _ATTACK
    | {
        "variable": TEXT,
        "hours": FLOAT,
        "value_before": FLOAT,
        "value_after": FLOAT,
        "unit": TEXT,
    }
)
"""One row a recorded value that a successful attack changed (`measurement`); in mode `single`, one row a recorded value
that flips the prediction by itself, with its smallest such change. `hours` since ICU admission, values in `unit`."""
