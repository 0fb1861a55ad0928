"""How often attacks succeed, at what budget and cost: from the outcomes alone, by direction."""

import numpy as np
import pandas as pd

from ehr_attack.attacks.selection import successes
from ehr_attack.directions import DIRECTIONS
from ehr_attack.schemas.susceptibility import TRADEOFF

_CURVE_POINTS = 101
_QUARTILES = {"q25": 0.25, "median": 0.5, "q75": 0.75}


def attack_summary(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Per direction: attacked stays, stays with at least one flip by each flag, and medians over selected attacks.

    A stay attacked with several seeds counts once a seed.
    """
    rows = []
    for direction in DIRECTIONS:
        part = outcomes[outcomes["direction"] == direction]
        by_stay = part.groupby(["seed", "stay_id"], sort=False)
        flags = by_stay[["flipped", "flipped_float64", "feasible", "selected"]].any()
        failed = by_stay[["still_falling", "gradient_vanished", "stuck_at_bounds"]].any()[~flags["selected"]]
        best = part[part["selected"]]
        share = best["n_changed_observed"] / best["n_changed"].where(best["n_changed"] > 0)
        rows.append(
            {"direction": direction, "n_attacked": by_stay.ngroups}
            | {f"n_{flag}": int(count) for flag, count in flags.sum().items()}
            | {
                "n_failed": len(failed),
                "n_still_falling": int(failed["still_falling"].sum()),
                "n_vanished": int(failed["gradient_vanished"].sum()),
                "n_stuck": int(failed["stuck_at_bounds"].sum()),
            }
            | _row_counts(part)
            | {f"median_{name}": best[name].median() for name in ("lambda", "l1", "linf", "n_changed", "n_edited")}
            | {"median_share_observed": share.median()}
        )
    return pd.DataFrame(rows)


def _row_counts(outcomes: pd.DataFrame) -> dict[str, int]:
    """What of the rows' flips is lost on the way to a feasible change, and what pruning did."""
    flipped, exact = outcomes["flipped"], outcomes["flipped_float64"]
    return {
        "rows": len(outcomes),
        "rows_flipped": int(flipped.sum()),
        "rows_lost_float64": int((flipped & ~exact).sum()),
        "rows_lost_feasible": int((exact & ~outcomes["feasible"]).sum()),
        "rows_pruned": int(outcomes["pruned"].sum()),
        "rows_audited": int(outcomes["audited"].sum()),
        "rows_audited_flipped": int((outcomes["audited"] & flipped).sum()),
    }


def success_curves(outcomes: pd.DataFrame, n_cells: int) -> pd.DataFrame:
    """Share of attacked stays with a success within a budget, per direction.

    Budgets: `linf`, the largest allowed change of a cell (scaled units); `share`, the largest allowed share of the
    `n_cells` cells. Each grid runs from 0 to the largest value that any stay needs.
    """
    success = successes(outcomes)
    needed = outcomes.assign(
        linf=outcomes["linf"].where(success, np.inf),
        share=(outcomes["n_changed"] / n_cells).where(success, np.inf),
    )
    parts = []
    for direction in DIRECTIONS:
        of_direction = needed[needed["direction"] == direction]
        per_stay = of_direction.groupby(["seed", "stay_id"])[["linf", "share"]].min()
        for budget in ("linf", "share"):
            values = np.sort(per_stay[budget].to_numpy(dtype=np.float64))
            finite = values[np.isfinite(values)]
            allowed = np.linspace(0.0, finite.max() if finite.size else 1.0, _CURVE_POINTS)
            rate = np.searchsorted(values, allowed, side="right") / max(1, values.size)
            parts.append(
                pd.DataFrame(
                    {"direction": direction, "budget": budget, "allowed": allowed, "success_rate": rate}
                ).assign(n_attacked=values.size)
            )
    return pd.concat(parts, ignore_index=True)


def tradeoff(outcomes: pd.DataFrame, subject_ids: pd.Series, n_cells: int) -> pd.DataFrame:
    """Size and sparsity of the attacks that succeeded, a row a direction and lambda (TRADEOFF less model and mode).

    subject_ids: by stay id. MP is the largest change, AP the mean size of the changes (0 without one), both in scaled
    units; PP the share of the `n_cells` cells that changed. A stay attacked with several seeds counts once a seed.
    """
    changed = outcomes["n_changed"]
    sizes = outcomes[["direction", "lambda", "selected"]].assign(
        success=successes(outcomes),
        subject_id=subject_ids.reindex(outcomes["stay_id"]).to_numpy(),
        mp=outcomes["linf"],
        ap=(outcomes["l1"] / changed.where(changed > 0)).fillna(0.0),
        pp=changed / n_cells,
    )
    rows = []
    for (direction, weight), attacked in sizes.groupby(["direction", "lambda"], observed=True, dropna=False, sort=True):
        succeeded = attacked[attacked["success"]]
        quartiles = succeeded[["mp", "ap", "pp"]].quantile(list(_QUARTILES.values()))
        rows.append(
            {
                "direction": direction,
                "lambda": weight,
                "n_attacked": len(attacked),
                "n_succeeded": len(succeeded),
                "n_patients": succeeded["subject_id"].nunique(),
                "n_selected": int(attacked["selected"].sum()),
            }
            | {f"{name}_{key}": quartiles.at[q, name] for name in ("mp", "ap", "pp") for key, q in _QUARTILES.items()}
        )
    return pd.DataFrame(rows, columns=[name for name in TRADEOFF.names if name not in ("model", "mode")])
