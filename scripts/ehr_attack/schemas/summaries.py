"""The tables of how well attacks succeed."""

import pyarrow as pa

from ehr_attack.schemas.fields import FLOAT, INT64, MAP, TEXT

ATTACK_CURVES = pa.schema(MAP | {"budget": TEXT, "allowed": FLOAT, "success_rate": FLOAT, "n_attacked": INT64})
"""Success rate against the allowed maximum perturbation (`linf`) or share of changed cells (`share`)."""

ATTACK_SUMMARY = pa.schema(
    MAP
    | {
        "n_attacked": INT64,
        "n_flipped": INT64,
        "n_flipped_float64": INT64,
        "n_feasible": INT64,
        "n_selected": INT64,
        "n_failed": INT64,
        "n_still_falling": INT64,
        "n_vanished": INT64,
        "n_stuck": INT64,
        "rows": INT64,
        "rows_flipped": INT64,
        "rows_lost_float64": INT64,
        "rows_lost_feasible": INT64,
        "rows_pruned": INT64,
        "rows_audited": INT64,
        "rows_audited_flipped": INT64,
        "median_lambda": FLOAT,
        "median_l1": FLOAT,
        "median_linf": FLOAT,
        "median_n_changed": FLOAT,
        "median_n_edited": FLOAT,
        "median_share_observed": FLOAT,
    }
)
"""One row a direction: how many attacked stays were flipped, at what cost in the selected attacks, and what the checks
say. Stays (`n_`): `n_failed` have no success; of these, at some lambda the loss of `n_still_falling` still fell at the
last step, the gradient of `n_vanished` was zero, `n_stuck` were held by bounds. Rows (`rows_`, stay x lambda):
`rows_lost_float64` flipped, but not in float64; `rows_lost_feasible` flipped in float64, but no feasible change near by
does; of the `rows_audited` that pruning would have left out, `rows_audited_flipped` flipped all the same."""
