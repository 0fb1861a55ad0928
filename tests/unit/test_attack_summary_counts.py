"""What the summary says of lost flips, of failures and of pruning: counted by hand from a table of rows."""

import numpy as np
import pandas as pd
import pytest

from ehr_attack.susceptibility import attack_summary, success_curves

COLUMNS = ["stay_id", "lambda", "flipped", "flipped_float64", "feasible", "selected"]
FLAGS = ["still_falling", "gradient_vanished", "stuck_at_bounds", "pruned", "audited"]


def outcomes(*rows):
    """Survivors' rows: stay, lambda, flips by each flag and whether selected; then the names of what else holds."""
    frame = pd.DataFrame([row[:6] for row in rows], columns=COLUMNS)
    for flag in FLAGS:
        frame[flag] = [flag in row[6:] for row in rows]
    return frame.assign(
        seed=0, mode="ista", direction="0_to_1", l1=0.0, linf=0.5, n_changed=1, n_changed_observed=0, n_edited=1
    )


def of_survivors(*rows):
    return attack_summary(outcomes(*rows)).set_index("direction").loc["0_to_1"]


def test_flips_that_are_lost_on_the_way_are_counted_in_rows():
    """Two flips are none in float64; of the three that are, one is not feasible, and one row is no flip at all."""
    found = of_survivors(
        (1, 0.1, True, False, False, False),
        (1, 0.2, True, False, False, False),
        (2, 0.1, True, True, False, False),
        (3, 0.1, True, True, True, True),
        (3, 0.2, True, True, True, False),
        (4, 0.1, False, False, False, False),
    )
    names = ["rows", "rows_flipped", "rows_lost_float64", "rows_lost_feasible"]
    assert found[names].tolist() == [6, 5, 2, 1]
    assert found[["n_attacked", "n_flipped", "n_flipped_float64", "n_feasible"]].tolist() == [4, 3, 2, 1]


def test_failures_are_told_of_stays_of_which_no_row_is_selected():
    """Stay 1 failed at one lambda only. Of 2, 3 and 4, which failed at all, two were still falling; one was stuck."""
    no, yes = (False,) * 4, (True,) * 4
    found = of_survivors(
        (1, 0.1, *yes),
        (1, 0.2, *no, "still_falling", "gradient_vanished", "stuck_at_bounds"),
        (2, 0.1, *no, "still_falling"),
        (2, 0.2, *no, "still_falling"),
        (3, 0.1, *no, "still_falling"),
        (3, 0.2, *no, "gradient_vanished"),
        (4, 0.1, *no, "stuck_at_bounds"),
    )
    assert found[["n_failed", "n_still_falling", "n_vanished", "n_stuck"]].tolist() == [3, 2, 1, 1]


def test_pruned_and_audited_rows_are_counted():
    no, yes = (False,) * 4, (True, True, True, False)
    found = of_survivors(
        (1, 0.1, *no),
        (1, 0.2, *no, "pruned"),
        (1, 0.3, *no, "pruned"),
        (1, 0.4, *no, "audited"),
        (1, 0.5, *yes, "audited"),
        (2, 0.1, *yes),
    )
    names = ["rows_pruned", "rows_audited", "rows_audited_flipped", "rows_flipped"]
    assert found[names].tolist() == [2, 2, 1, 2]


def test_seeds_count_apart():
    """One stay attacked with two seeds, one of which failed."""
    first, second = outcomes((1, 0.1, *(True,) * 4)), outcomes((1, 0.1, *(False,) * 4, "still_falling"))
    found = attack_summary(pd.concat([first, second.assign(seed=1)])).set_index("direction").loc["0_to_1"]
    assert found[["n_attacked", "n_selected", "n_failed", "n_still_falling"]].tolist() == [2, 1, 1, 1]


def test_medians_are_of_the_selected_attacks():
    """Lambda 0.1 and 0.3, a share of 1/4 and 1/2 recorded; one that changed nothing has no share."""
    rows = outcomes(*((stay, weight, *(True,) * 4) for stay, weight in ((1, 0.1), (2, 0.3), (3, 0.2))))
    rows = rows.assign(
        n_changed=[4, 2, 0], n_changed_observed=[1, 1, 0], n_edited=[7, 5, 0], l1=[0.4, 0.6, 0.0], linf=[0.2, 0.4, 0.0]
    )
    left_out = outcomes((3, 0.9, True, True, True, False)).assign(n_changed=90, n_edited=90, l1=9.0, linf=9.0)
    found = attack_summary(pd.concat([rows, left_out])).set_index("direction").loc["0_to_1"]
    names = ["lambda", "l1", "linf", "n_changed", "n_edited", "share_observed"]
    assert found[[f"median_{name}" for name in names]].tolist() == pytest.approx([0.2, 0.4, 0.2, 2.0, 5.0, 0.375])


def test_curves_of_a_direction_without_a_success_lie_at_zero():
    curves = success_curves(outcomes((1, 0.1, *(False,) * 4), (2, 0.1, *(False,) * 4)), n_cells=4)
    assert curves.groupby(["direction", "budget"]).size().tolist() == [101] * 4
    assert (curves["success_rate"] == 0).all()
    assert curves.groupby("direction")["n_attacked"].first().to_dict() == {"0_to_1": 2, "1_to_0": 0}
    grid = curves[(curves["direction"] == "0_to_1") & (curves["budget"] == "linf")]["allowed"]
    assert grid.tolist() == pytest.approx(np.arange(101) / 100)


def test_a_curve_takes_the_least_that_any_success_of_the_stay_needs():
    """Stay 1: half of the cells by 0.2, or a quarter by 0.6; the failure needs less and counts for nothing."""
    rows = outcomes((1, 0.1, *(True,) * 4), (1, 0.2, *(True,) * 3, False), (1, 0.3, *(False,) * 4))
    rows = rows.assign(linf=[0.2, 0.6, 0.1], n_changed=[2, 1, 1])
    curves = success_curves(rows, n_cells=4)
    tops = curves[curves["direction"] == "0_to_1"].groupby("budget")[["allowed", "success_rate"]].max()
    assert tops.loc["linf"].tolist() == pytest.approx([0.2, 1.0]) and tops.loc["share"].tolist() == [0.25, 1.0]
    assert curves[curves["success_rate"] == 1.0].groupby("budget")["allowed"].min().to_dict() == pytest.approx(
        {"linf": 0.2, "share": 0.25}
    )
