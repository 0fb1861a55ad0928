"""How often attacks succeed, at what budget: counted in stays, by hand and against a slow loop."""

import numpy as np
import pandas as pd
import pytest

from ehr_attack.directions import DIRECTIONS
from ehr_attack.susceptibility import attack_summary, success_curves
from susceptibility_builder import made_run


def outcome_rows():
    """Stays 1-3 survive, stay 4 dies; two lambdas each."""
    rows = [
        # stay, lambda, flipped, feasible, linf, n_changed, selected
        (1, 0.1, True, True, 0.2, 10, True),
        (1, 0.2, True, False, 0.1, 5, False),
        (2, 0.1, True, True, 0.6, 20, True),
        (2, 0.2, False, False, 0.0, 0, False),
        (3, 0.1, False, False, 0.9, 90, False),
        (3, 0.2, False, False, 0.0, 0, False),
        (4, 0.1, True, True, 0.3, 50, True),
        (4, 0.2, True, True, 0.5, 40, False),
    ]
    frame = pd.DataFrame(rows, columns=["stay_id", "lambda", "flipped", "feasible", "linf", "n_changed", "selected"])
    label = (frame["stay_id"] == 4).astype(int)
    return frame.assign(
        model="lstm", mode="ista", seed=0, fold=0, label=label, l1=1.0, flipped_float64=frame["flipped"],
        direction=np.where(label == 1, "1_to_0", "0_to_1"), n_changed_observed=frame["n_changed"] // 2,
        n_edited=frame["n_changed"], still_falling=~frame["flipped"], gradient_vanished=False, stuck_at_bounds=False,
        pruned=False, audited=False,
    )  # fmt: skip


def test_the_summary_counts_stays_not_rows():
    summary = attack_summary(outcome_rows()).set_index("direction")
    assert summary.loc["0_to_1", ["n_attacked", "n_flipped", "n_feasible", "n_selected"]].tolist() == [
        3,
        2,
        2,
        2,
    ]
    assert summary.loc["1_to_0", ["n_attacked", "n_flipped", "n_feasible", "n_selected"]].tolist() == [
        1,
        1,
        1,
        1,
    ]
    assert summary.loc["0_to_1", "median_n_changed"] == 15
    assert summary.loc["0_to_1", "median_share_observed"] == 0.5


def test_success_curves_are_the_share_of_stays_that_some_lambda_flips_within_the_budget():
    curves = success_curves(outcome_rows(), n_cells=100)
    survivors = curves[(curves["direction"] == "0_to_1") & (curves["budget"] == "linf")]
    assert survivors["allowed"].max() == pytest.approx(0.6)
    within = survivors.set_index(survivors["allowed"].round(6))["success_rate"]
    assert within.loc[0.198] == 0 and within.loc[0.204] == pytest.approx(1 / 3)
    assert within.iloc[-1] == pytest.approx(2 / 3), "stay 3 never succeeds, and stays in the denominator"
    share = curves[(curves["direction"] == "1_to_0") & (curves["budget"] == "share")]
    assert share["allowed"].max() == pytest.approx(0.4) and share["success_rate"].iloc[-1] == 1


def test_curves_and_summary_equal_a_slow_loop():
    run = made_run(np.random.default_rng(8), 25, n_seeds=2)
    outcomes = run.outcomes()
    curves, summary = success_curves(outcomes, 6), attack_summary(outcomes).set_index("direction")
    labels = run.stays["label"].to_numpy()
    for label, direction in enumerate(DIRECTIONS):
        attacked, needs = set(), {"linf": {}, "share": {}}
        for row, attack in enumerate(run.attacks.itertuples()):
            if labels[attack.stay_id - 100] != label:
                continue
            key = (attack.seed, attack.stay_id)
            attacked.add(key)
            if attack.success:
                size = run.changes[row]
                for budget, need in (("linf", size.max()), ("share", (size > 0).mean())):
                    needs[budget][key] = min(need, needs[budget].get(key, np.inf))
        assert summary.loc[direction, "n_attacked"] == len(attacked)
        assert summary.loc[direction, "n_selected"] == len(needs["linf"])
        assert summary.loc[direction, "n_failed"] == len(attacked) - len(needs["linf"])
        for budget, need in needs.items():
            curve = curves[(curves["direction"] == direction) & (curves["budget"] == budget)]
            assert len(curve) == 101 and curve["allowed"].max() == pytest.approx(max(need.values()))
            for point in curve.itertuples():
                within = sum(value <= point.allowed for value in need.values())
                assert point.success_rate == pytest.approx(within / len(attacked))
