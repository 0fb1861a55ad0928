import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ehr_attack.susceptibility import (
    PerturbationStack,
    attack_summary,
    measure_cells,
    stack_selected,
    success_curves,
    susceptibility_tables,
)

MAGNITUDES = arrays(
    np.float32,
    st.tuples(st.integers(0, 14), st.just(3), st.just(2)),
    elements=st.sampled_from([0.0, 0.0, 0.25, 0.5, 1.0]),
)


def stack_of(magnitude, observed=None, subject_ids=None):
    magnitude = np.asarray(magnitude, dtype=np.float32)
    observed = np.ones_like(magnitude, dtype=bool) if observed is None else observed
    subject_ids = np.arange(len(magnitude)) if subject_ids is None else subject_ids
    return PerturbationStack(magnitude, observed, subject_ids)


def test_measures_by_hand():
    """Three stays, one hour, two variables: |D| = (0.2, 0), (0.4, 0), (0, 0.3)."""
    measures = measure_cells(stack_of([[[0.2, 0.0]], [[0.4, 0.0]], [[0.0, 0.3]]]))
    assert measures.gmp[0] == pytest.approx([0.4, 0.3])
    assert measures.gap[0] == pytest.approx([0.2, 0.1])
    assert measures.gpp[0] == pytest.approx([2 / 3, 1 / 3])
    assert measures.s[0] == pytest.approx([0.4 * 2 / 3, 0.3 / 3])


@given(magnitude=MAGNITUDES, seed=st.integers(0, 99))
def test_measures_equal_a_slow_loop(magnitude, seed):
    observed = np.random.default_rng(seed).random(magnitude.shape) < 0.8
    measures = measure_cells(stack_of(magnitude, observed))
    n_stays = len(magnitude)
    for hour, feature in np.ndindex(3, 2):
        column = [float(magnitude[k, hour, feature]) for k in range(n_stays)]
        seen = [k for k in range(n_stays) if observed[k, hour, feature]]
        gmp = max(column, default=0.0)
        gpp = sum(value != 0 for value in column) / n_stays if n_stays else 0.0
        assert measures.gmp[hour, feature] == pytest.approx(gmp)
        assert measures.gap[hour, feature] == pytest.approx(sum(column) / n_stays if n_stays else 0.0)
        assert measures.gpp[hour, feature] == pytest.approx(gpp)
        assert measures.s[hour, feature] == pytest.approx(gmp * gpp)
        assert measures.n_observed[hour, feature] == len(seen)
        if len(seen) < 10:
            assert np.isnan(measures.gpp_observed[hour, feature])
        else:
            share = sum(column[k] != 0 for k in seen) / len(seen)
            assert measures.gpp_observed[hour, feature] == pytest.approx(share)


def tables_of(stacks, resamples=50):
    return susceptibility_tables(stacks, model="lstm", mode="ista", variable_names=["a", "b"], resamples=resamples)


def test_variables_and_hours_sum_the_cells_and_rank():
    magnitude = np.random.default_rng(0).random((20, 3, 2)).astype(np.float32)
    magnitude[:, :, 1] *= 2
    tables = tables_of({"0_to_1": stack_of(magnitude)})
    cells = tables.cells
    by_variable = cells.groupby("variable")["s"].sum()
    for row in tables.variables.itertuples():
        assert row.s == pytest.approx(by_variable[row.variable])
        assert row.s_q95_low <= row.s_q95_high
    assert tables.variables.set_index("variable")["rank"].to_dict() == {"a": 2, "b": 1}
    assert tables.hours["s"].to_numpy() == pytest.approx(cells.groupby("hour")["s"].sum().to_numpy())
    assert tables.variables[["s_low", "s_high"]].isna().all().all()


def test_intervals_resample_patients_not_stays():
    """Ten copies of each patient's stay carry no more information than one."""
    random = np.random.default_rng(1)
    few = (random.random((12, 3, 2)) * (random.random((12, 3, 2)) < 0.5)).astype(np.float32)
    copied = np.repeat(few, 10, axis=0)
    as_patients = tables_of({"0_to_1": stack_of(copied, subject_ids=np.repeat(np.arange(12), 10))}, 400).variables
    as_stays = tables_of({"0_to_1": stack_of(copied)}, 400).variables
    width = as_patients["s_q95_high"] - as_patients["s_q95_low"]
    assert (width > 1.8 * (as_stays["s_q95_high"] - as_stays["s_q95_low"])).all()


def test_below_ten_stays_there_is_no_interval():
    tables = tables_of({"0_to_1": stack_of(np.full((9, 3, 2), 0.5)), "1_to_0": stack_of(np.zeros((0, 3, 2)))})
    assert tables.variables[["s_q95_low", "s_q95_high"]].isna().all().all()
    assert (tables.variables.set_index("direction").loc["1_to_0", "s"] == 0).all()


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


def test_only_selected_attacks_of_the_direction_enter_the_stack():
    outcomes = outcome_rows()
    key = outcomes[["model", "mode", "seed", "fold", "stay_id", "lambda"]]
    perturbations = pd.concat(
        [
            key.assign(hour=0, variable="b", delta_scaled=-outcomes["linf"]),
            key.assign(hour=2, variable="a", delta_scaled=0.05),
        ]
    )
    observed = np.zeros((4, 3, 2), dtype=bool)
    observed[1, 2, 0] = True
    stack = stack_selected(
        outcomes,
        perturbations,
        "0_to_1",
        observed,
        np.array([1, 2, 3, 4]),
        np.array([11, 12, 13, 14]),
        ["a", "b"],
    )
    assert stack.subject_ids.tolist() == [11, 12]
    assert stack.magnitude[:, 0, 1].tolist() == pytest.approx([0.2, 0.6])
    assert stack.magnitude[:, 2, 0].tolist() == pytest.approx([0.05, 0.05])
    assert np.count_nonzero(stack.magnitude) == 4
    assert stack.observed[1, 2, 0] and stack.observed.sum() == 1
