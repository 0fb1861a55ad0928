"""The measures of susceptibility against a slow loop written from the formulas of Sun et al. (2018)."""

import math
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ehr_attack.directions import DIRECTIONS
from ehr_attack.errors import UserError
from ehr_attack.resampling import ModelDraws
from ehr_attack.schemas.susceptibility import BASES, MODELS_TOO, PATIENTS, POLICIES
from ehr_attack.storage import read_frame, read_parquet, write_parquet
from ehr_attack.susceptibility import analyse_attacks
from ehr_attack.susceptibility.analysis import _SEED
from ehr_attack.susceptibility.quantiles import upper_quantiles
from susceptibility_builder import TABLES, MadeRun, made_run

RUNS = st.builds(
    lambda seed, n_patients, n_seeds, n_lambdas: made_run(np.random.default_rng(seed), n_patients, n_seeds, n_lambdas),
    st.integers(0, 10_000), st.integers(1, 25), st.integers(1, 2), st.sampled_from([0, 1, 3]),
)  # fmt: skip
SLOW = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def analysed(run: MadeRun, resamples: int = 0) -> dict[str, pd.DataFrame]:
    with TemporaryDirectory() as folder:
        return run.analysed(Path(folder), resamples)


# --- the slow loop


def scores(run, row):
    size = run.changes[row]
    return math.sqrt(0.5 * size.max() ** 2 + 0.5 * ((size > 0).sum() / size.size) ** 2)


def counting_rows(run):
    """Rows of the attacks that count, by policy: a loop over stays, seeds and lambdas."""
    attacks = run.attacks
    selected = []
    for _, group in attacks[attacks["success"]].groupby(["seed", "stay_id"]):
        best = min(group.index, key=lambda row: (scores(run, row), -group["lambda"].fillna(0.0)[row]))
        selected.append(best)
    if attacks["lambda"].isna().all():
        return {"selected": selected}
    often = dict.fromkeys(attacks["lambda"].unique(), 0)
    for row in selected:
        often[attacks["lambda"][row]] += 1
    fixed = max(often, key=lambda weight: (often[weight], weight)) if selected else None
    succeeded = [row for row in attacks.index if attacks["success"][row]]
    return {
        "selected": selected,
        "fixed": [row for row in succeeded if attacks["lambda"][row] == fixed],
        "all": succeeded,
    }


def measured_over(run, rows, basis, hour, variable):
    """|D| of the attacks that a cell is measured over, the stays and patients that they are of, and those changed."""
    sizes, stays, patients, changed = [], set(), set(), set()
    for row in rows:
        place = int(run.attacks["stay_id"][row]) - 100
        if basis == "all" or run.recorded[place, hour, variable]:
            sizes.append(float(run.changes[row, hour, variable]))
            stays.add(place)
            patients.add(int(run.stays["subject_id"][place]))
            if sizes[-1] > 0:
                changed.add(int(run.stays["subject_id"][place]))
    return sizes, stays, patients, changed


def measures_of(sizes):
    if not sizes:
        return dict.fromkeys(("gmp", "gap", "gpp", "q95", "s", "s_q95"), 0.0)
    found = {
        "gmp": max(sizes),
        "gap": sum(sizes) / len(sizes),
        "gpp": sum(size != 0 for size in sizes) / len(sizes),
        "q95": float(np.quantile(sizes, 0.95)),
    }
    return found | {"s": found["gmp"] * found["gpp"], "s_q95": found["q95"] * found["gpp"]}


def cells_of(run, rows, basis):
    """The measures of each cell; none of a cell with fewer than ten stays with a recorded value."""
    cells = {}
    for hour, variable in np.ndindex(run.changes.shape[1:]):
        sizes, stays, _, _ = measured_over(run, rows, basis, hour, variable)
        cells[hour, variable] = None if basis == "observed" and len(stays) < 10 else measures_of(sizes)
    return cells


def summed(cells, axis, place, name):
    values = [cell[name] for key, cell in cells.items() if key[axis] == place and cell is not None]
    return sum(values) if values else math.nan


def counted_cells(cells, axis, place):
    return sum(key[axis] == place and cell is not None for key, cell in cells.items())


def of_direction(run, rows, direction):
    label = DIRECTIONS.index(direction)
    return [row for row in rows if run.stays["label"][int(run.attacks["stay_id"][row]) - 100] == label]


def by_key(table, *key):
    """The rows of a table as dictionaries, by the values of its key."""
    return table.set_index(list(key)).to_dict("index")


def same(value, wanted):
    return value == pytest.approx(wanted, rel=1e-6, abs=1e-9, nan_ok=True)


# --- point estimates


@given(run=RUNS)
@SLOW
def test_cells_equal_a_slow_loop(run):
    cells = by_key(analysed(run)["cells"], "direction", "policy", "basis", "hour", "variable")
    counting = counting_rows(run)
    assert len(cells) == 2 * len(counting) * 2 * 6
    for direction in DIRECTIONS:
        for policy, rows in counting.items():
            for basis in BASES:
                ours = of_direction(run, rows, direction)
                slow = cells_of(run, ours, basis)
                for (hour, variable), wanted in slow.items():
                    row = cells[direction, policy, basis, hour, f"v{variable}"]
                    for name in ("gmp", "gap", "gpp", "q95", "s", "s_q95"):
                        assert same(row[name], math.nan if wanted is None else wanted[name])
                    sizes, *owners = measured_over(run, ours, basis, hour, variable)
                    numbers = [row[name] for name in ("n_rows", "n_stays", "n_patients", "n_changed_patients")]
                    assert numbers == [len(sizes), *map(len, owners)]


@given(run=RUNS)
@SLOW
def test_sums_ranks_and_single_models_equal_a_slow_loop(run):
    tables = analysed(run)
    key = ("direction", "policy", "basis")
    variables, hours = (by_key(tables[f"{axis}s"], *key, axis) for axis in ("variable", "hour"))
    by_model = tables["by_model"].assign(fold=tables["by_model"]["fold"].fillna(-1).astype(int))
    by_model = by_key(by_model, *key, "seed", "fold", "axis", "name")
    stay_fold = run.stays["fold"].to_numpy()[run.attacks["stay_id"] - 100]
    for direction in DIRECTIONS:
        for policy, counted in counting_rows(run).items():
            rows = of_direction(run, counted, direction)
            for basis in BASES:
                cells = cells_of(run, rows, basis)
                of_variable = [summed(cells, 1, place, "s_q95") for place in range(3)]
                # With two hours, one is half of them and enough.
                per_cell = [total / max(counted_cells(cells, 1, place), 1) for place, total in enumerate(of_variable)]
                for place in range(3):
                    row = variables[direction, policy, basis, f"v{place}"]
                    assert same(row["s"], summed(cells, 1, place, "s")) and same(row["s_q95"], of_variable[place])
                    assert row["n_cells"] == counted_cells(cells, 1, place)
                    above = sum(other > per_cell[place] + 1e-7 for other in per_cell)
                    assert same(row["rank"], 1 + above if per_cell[place] > 0 else math.nan)
                for hour in range(2):
                    row = hours[direction, policy, basis, hour]
                    assert row["n_cells"] == counted_cells(cells, 0, hour)
                    assert same(row["s"], summed(cells, 0, hour, "s"))
                    assert same(row["s_q95"], summed(cells, 0, hour, "s_q95"))
                for seed in range(run.attacks["seed"].nunique()):
                    of_seed = [row for row in rows if run.attacks["seed"][row] == seed]
                    for fold in (-1, *np.unique(stay_fold)):
                        of_model = [row for row in of_seed if fold in (-1, stay_fold[row])]
                        single = cells_of(run, of_model, basis)
                        for axis, names in ((1, ("v0", "v1", "v2")), (0, ("0", "1"))):
                            for place, name in enumerate(names):
                                label = "variable" if axis else "hour"
                                found = by_model[direction, policy, basis, seed, fold, label, name]
                                assert same(found["s_q95"], summed(single, axis, place, "s_q95"))


def test_measures_by_hand():
    """Three stays, one hour, two variables: |D| = (0.2, 0), (0.4, 0), (0, 0.3)."""
    stays = pd.DataFrame({"stay_id": 100 + np.arange(3), "subject_id": np.arange(3), "fold": 0, "label": 0})
    attacks = pd.DataFrame({"seed": 0, "stay_id": 100 + np.arange(3), "lambda": 0.1, "success": True})
    changes = np.array([[[0.2, 0.0]], [[0.4, 0.0]], [[0.0, 0.3]]])
    cells = analysed(MadeRun(stays, attacks, changes, np.ones((3, 1, 2), dtype=bool)))["cells"]
    found = cells.query("direction == '0_to_1' and policy == 'selected' and basis == 'all'")
    assert found["gmp"].tolist() == pytest.approx([0.4, 0.3])
    assert found["gap"].tolist() == pytest.approx([0.2, 0.1])
    assert found["gpp"].tolist() == pytest.approx([2 / 3, 1 / 3])
    assert found["s"].tolist() == pytest.approx([0.4 * 2 / 3, 0.3 / 3])
    # The 95th percentile of 0, 0.2, 0.4 lies nine tenths of the way from the second to the third.
    assert found["q95"].tolist() == pytest.approx([0.38, 0.27])


def test_the_tradeoff_equals_a_slow_loop():
    run = made_run(np.random.default_rng(5), 30, n_seeds=2)
    table = analysed(run)["tradeoff"].set_index(["direction", "lambda"])
    selected = counting_rows(run)["selected"]
    assert len(table) == 6
    for (direction, weight), row in table.iterrows():
        rows = [r for r in of_direction(run, run.attacks.index, direction) if run.attacks["lambda"][r] == weight]
        succeeded = [r for r in rows if run.attacks["success"][r]]
        sizes = [run.changes[r] for r in succeeded]
        assert (row["n_attacked"], row["n_succeeded"]) == (len(rows), len(succeeded))
        assert row["n_selected"] == len(set(rows) & set(selected))
        subjects = run.stays["subject_id"].to_numpy()[run.attacks["stay_id"].to_numpy()[succeeded] - 100]
        assert row["n_patients"] == len(set(subjects))
        measures = {
            "mp": [size.max() for size in sizes],
            "ap": [size.sum() / max((size > 0).sum(), 1) for size in sizes],
            "pp": [(size > 0).mean() for size in sizes],
        }
        for name, values in measures.items():
            for quartile, q in (("q25", 0.25), ("median", 0.5), ("q75", 0.75)):
                assert row[f"{name}_{quartile}"] == pytest.approx(np.quantile(values, q))


# --- resamples


@given(
    counts=st.lists(st.tuples(st.sampled_from([0.1, 0.25, 0.5, 1.0]), st.integers(0, 4)), max_size=400),
    zeros=st.integers(0, 400),
    seed=st.integers(0, 99),
)
@settings(max_examples=100, deadline=None)
def test_a_weighted_percentile_is_that_of_the_repeated_sample(counts, zeros, seed):
    """Units 0 to 4 hold the changed values; further zeros belong to unit 0. A draw may leave everything out."""
    weights = np.random.default_rng(seed).poisson(0.8, (5, 7)).astype(np.float32)
    magnitude, unit = (np.array([pair[i] for pair in counts]) for i in (0, 1))
    order = np.argsort(-magnitude)
    magnitude, unit = magnitude[order], unit[order].astype(np.int32)
    totals = weights[unit].sum(axis=0, dtype=np.float64) + zeros * weights[0]
    found = upper_quantiles(magnitude, unit, weights, totals, weights[unit].sum(axis=0, dtype=np.float64))
    for draw in range(7):
        repeated = np.concatenate(
            [np.repeat(magnitude, weights[unit, draw].astype(int)), np.zeros(int(zeros * weights[0, draw]))]
        )
        assert same(found[draw], np.quantile(repeated, 0.95) if len(repeated) else math.nan)


@pytest.mark.parametrize("n_values", [127, 128, 129, 5000])
def test_weighted_percentiles_across_blocks(n_values):
    random = np.random.default_rng(n_values)
    magnitude = np.sort(random.random(n_values).astype(np.float32))[::-1]
    unit = random.integers(0, 60, n_values).astype(np.int32)
    weights = random.poisson(1.0, (60, 30)).astype(np.float32)
    for zeros in (0, n_values, 18 * n_values, 40 * n_values):
        changed = weights[unit].sum(axis=0, dtype=np.float64)
        found = upper_quantiles(magnitude, unit, weights, changed + zeros, changed)
        for draw in range(30):
            repeated = np.append(np.repeat(magnitude, weights[unit, draw].astype(int)), np.zeros(zeros))
            assert found[draw] == pytest.approx(np.quantile(repeated.astype(np.float64), 0.95))


def draws_of(run):
    """The draws that the analysis makes, for all attacked stays in the order of `run.attacks`."""
    stay = run.attacks["stay_id"].to_numpy() - 100
    subjects, folds = (run.stays[name].to_numpy()[stay] for name in ("subject_id", "fold"))
    patient, fold = (np.unique(part, return_inverse=True)[1] for part in (subjects, folds))
    return patient, run.attacks["seed"].to_numpy(), fold


@pytest.mark.parametrize("seed", [0, 1])
def test_replicates_and_intervals_equal_a_slow_recomputation(seed):
    """Rows are repeated as often as they are drawn, and everything is measured anew."""
    run, resamples = made_run(np.random.default_rng(seed), 40, n_seeds=2), 12
    tables = analysed(run, resamples)
    codes = draws_of(run)
    draws = ModelDraws.drawn(*codes, resamples, _SEED)
    weights = {PATIENTS: draws.of_patients(codes[0]), MODELS_TOO: draws.of_models_too(*codes)}
    replicates = tables["replicates"].set_index(["direction", "basis", "resampled", "axis", "name", "replicate"])
    assert len(replicates) == 2 * 2 * 2 * 5 * resamples and replicates.index.is_unique
    intervals = tables["variables"].set_index(["direction", "policy", "basis", "variable"])
    of_cells = tables["cells"].set_index(["direction", "policy", "basis", "hour", "variable"]).sort_index()
    for direction in DIRECTIONS:
        rows = of_direction(run, counting_rows(run)["selected"], direction)
        for basis in BASES:
            counted = [key for key, cell in cells_of(run, rows, basis).items() if cell is not None]
            for resampled, weight in weights.items():
                sums, gaps = np.full((resamples, 3), np.nan), []
                for draw in range(resamples):
                    drawn = [row for row in rows for _ in range(int(weight[row, draw]))]
                    cells = {key: measures_of(measured_over(run, drawn, basis, *key)[0]) for key in counted}
                    gaps.append(cells[1, 1]["gap"])
                    for axis, names in ((1, ("v0", "v1", "v2")), (0, ("0", "1"))):
                        for place, name in enumerate(names):
                            label = "variable" if axis else "hour"
                            found = replicates.loc[(direction, basis, resampled, label, name, draw), "s_q95"]
                            wanted = summed(cells, axis, place, "s_q95")
                            if drawn:
                                assert found == pytest.approx(wanted, rel=1e-5, abs=1e-7)
                            if axis:
                                sums[draw, place] = wanted
                if resampled == PATIENTS:
                    bounds = np.percentile(sums, [2.5, 97.5], axis=0)
                    n_cells = [sum(key[1] == place for key in counted) for place in range(3)]
                    ranks = [
                        [1 + sum(other > value + 1e-7 for other in row) if value > 1e-7 else len(row) for value in row]
                        for row in sums / n_cells
                    ]
                    edges = np.percentile(ranks, [2.5, 97.5], axis=0, method="inverted_cdf")
                    for place in range(3):
                        row = intervals.loc[(direction, "selected", basis, f"v{place}")]
                        assert row[["s_q95_low", "s_q95_high"]].tolist() == pytest.approx(bounds[:, place], rel=1e-5)
                        if pd.isna(row["rank"]):
                            assert row["s_q95"] == 0 and row[["rank_low", "rank_high"]].isna().all()
                        else:
                            assert row[["rank_low", "rank_high"]].tolist() == edges[:, place].tolist()
                    cell = of_cells.loc[(direction, "selected", basis, 1, "v1")]
                    assert cell[["gap_low", "gap_high"]].tolist() == pytest.approx(
                        np.percentile(gaps, [2.5, 97.5]), rel=1e-5
                    )


def one_hour(random, n_stays, n_variables, share=0.4):
    """Survivors whose cells change with probability `share`, by a uniform amount."""
    stays = pd.DataFrame({"stay_id": 100 + np.arange(n_stays), "subject_id": np.arange(n_stays), "fold": 0, "label": 0})
    attacks = pd.DataFrame({"seed": 0, "stay_id": stays["stay_id"], "lambda": float("nan"), "success": True})
    shape = (n_stays, 1, n_variables)
    changes = np.where(random.random(shape) < share, random.random(shape), 0.0)
    return MadeRun(stays, attacks, changes, np.ones(shape, dtype=bool), mode="sigma_zero")


def test_intervals_of_the_robust_form_cover_its_true_value():
    """q95: 0.4 x (1 - q95) = 0.05, so 0.875; S_q95 = 0.35. 500 cells; an interval of 95 % misses 25 of them."""
    random = np.random.default_rng(6)
    held = []
    for _ in range(10):
        cells = analysed(one_hour(random, 300, 50), 200)["cells"]
        cells = cells.query("direction == '0_to_1' and basis == 'all'")
        held += ((cells["s_q95_low"] <= 0.35) & (cells["s_q95_high"] >= 0.35)).tolist()
        assert cells["q95"].mean() == pytest.approx(0.875, abs=0.02)
    assert len(held) == 500
    assert 0.915 <= np.mean(held) <= 0.975


def test_a_patient_with_several_stays_is_drawn_whole():
    """Ten copies of each patient's stay carry no more information than one."""
    random = np.random.default_rng(1)
    few = one_hour(random, 12, 4, share=0.5)
    copies = pd.DataFrame({"stay_id": 100 + np.arange(120), "fold": 0, "label": 0})
    attacks = pd.DataFrame({"seed": 0, "stay_id": copies["stay_id"], "lambda": 0.1, "success": True})
    changes, recorded = (np.repeat(part, 10, axis=0) for part in (few.changes, few.recorded))
    widths = {}
    for name, subjects in (("patients", np.repeat(np.arange(12), 10)), ("stays", np.arange(120))):
        run = MadeRun(copies.assign(subject_id=subjects), attacks, changes, recorded)
        table = analysed(run, 300)["variables"].query(
            "direction == '0_to_1' and policy == 'selected' and basis == 'all'"
        )
        widths[name] = (table["s_q95_high"] - table["s_q95_low"]).to_numpy()
    assert (widths["patients"] > 1.8 * widths["stays"]).all()


def test_every_draw_sums_over_the_same_cells():
    """v1 is recorded for one patient alone, whom many draws leave out; every change is 0.5, so every sum is 2 x 0.5."""
    n_stays = 30
    subjects = np.maximum(np.arange(n_stays) - 10, 0)
    stays = pd.DataFrame({"stay_id": 100 + np.arange(n_stays), "subject_id": subjects, "fold": 0, "label": 0})
    attacks = pd.DataFrame({"seed": 0, "stay_id": stays["stay_id"], "lambda": 0.1, "success": True})
    recorded = np.ones((n_stays, 1, 2), dtype=bool)
    recorded[:, 0, 1] = subjects == 0
    tables = analysed(MadeRun(stays, attacks, np.full((n_stays, 1, 2), 0.5), recorded), 40)
    of = "direction == '0_to_1' and policy == 'selected' and basis == 'observed'"
    hour = tables["hours"].query(of).iloc[0]
    assert hour["n_cells"] == 2
    for name in ("s", "s_low", "s_high", "s_q95", "s_q95_low", "s_q95_high"):
        assert hour[name] == pytest.approx(1.0), name
    of = "direction == '0_to_1' and basis == 'observed' and axis == 'hour'"
    assert tables["replicates"].query(of)["s_q95"].tolist() == pytest.approx([1.0] * 80)


def test_intervals_hold_the_estimate_and_order():
    tables = analysed(made_run(np.random.default_rng(3), 60), 50)
    told = 0
    for table, names in (("cells", ("gmp", "s")), ("variables", ("s", "rank")), ("hours", ("s",))):
        for name in names:
            rows = tables[table].dropna(subset=[f"{name}_low"])
            assert (rows[f"{name}_low"] <= rows[name]).all() and (rows[name] <= rows[f"{name}_high"]).all()
            told += len(rows)
    assert told > 50
    never = tables["cells"].query("hour == 0 and variable == 'v0' and basis == 'all'")
    assert (never[["gmp_low", "gmp_high", "s_low", "s_high", "s_q95_low", "s_q95_high"]] == 0).all(axis=None)


def test_ranks_compare_cells_and_not_how_many_are_recorded():
    """Of 4 hours v0 is recorded in all, v1 in two, v2 in one; v1 changes more, v2 most."""
    stays = pd.DataFrame({"stay_id": 100 + np.arange(20), "subject_id": np.arange(20), "fold": 0, "label": 0})
    attacks = pd.DataFrame({"seed": 0, "stay_id": stays["stay_id"], "lambda": 0.1, "success": True})
    recorded = np.ones((20, 4, 3), dtype=bool)
    recorded[:, 2:, 1] = recorded[:, 1:, 2] = False
    changes = np.tile([0.2, 0.3, 0.9], (20, 4, 1))
    tables = analysed(MadeRun(stays, attacks, changes, recorded), 20)
    of = "direction == '0_to_1' and policy == 'selected' and basis == "
    table = tables["variables"].query(of + "'observed'").set_index("variable")
    assert table["n_cells"].tolist() == [4, 2, 1]
    assert table["s_q95"].tolist() == pytest.approx([0.8, 0.6, 0.9])
    for name in ("rank", "rank_low", "rank_high"):
        assert table.loc[["v1", "v0"], name].tolist() == [1, 2] and pd.isna(table.loc["v2", name])
    assert tables["variables"].query(of + "'all'")["rank"].tolist() == [3, 2, 1]


def test_where_no_percentile_is_above_zero_nothing_has_a_rank():
    """One patient of 40 is changed: intervals are there, ranks are not."""
    stays = pd.DataFrame({"stay_id": 100 + np.arange(40), "subject_id": np.arange(40), "fold": 0, "label": 0})
    attacks = pd.DataFrame({"seed": 0, "stay_id": stays["stay_id"], "lambda": 0.1, "success": True})
    changes = np.zeros((40, 1, 2))
    changes[0] = 0.5
    tables = analysed(MadeRun(stays, attacks, changes, np.ones(changes.shape, dtype=bool)), 20)
    table = tables["variables"].query("direction == '0_to_1'")
    assert (table["s"] > 0).all() and (table["s_q95_low"] == 0).all()
    assert table[["rank", "rank_low", "rank_high"]].isna().all(axis=None)


def test_variables_that_nothing_changes_in_enough_patients_have_no_rank():
    """Of 40 patients all change v0, nobody v1, one v2 and three v3, whose percentile is 0 in some draws only."""
    stays = pd.DataFrame({"stay_id": 100 + np.arange(40), "subject_id": np.arange(40), "fold": 0, "label": 0})
    attacks = pd.DataFrame({"seed": 0, "stay_id": stays["stay_id"], "lambda": 0.1, "success": True})
    changes = np.zeros((40, 1, 4))
    changes[:, 0, 0], changes[:1, 0, 2], changes[:3, 0, 3] = 0.5, 1.0, 0.25
    tables = analysed(MadeRun(stays, attacks, changes, np.ones(changes.shape, dtype=bool)), 300)
    table = tables["variables"].query("direction == '0_to_1' and policy == 'selected' and basis == 'all'")
    table = table.set_index("variable")
    assert table["s_q95"].gt(0).tolist() == [True, False, False, True] and table.loc["v2", "s"] > 0
    ranks = ["rank", "rank_low", "rank_high"]
    assert table.loc["v0", ranks].tolist() == [1, 1, 1]
    assert table.loc["v3", ranks].tolist() == [2, 2, 4], "last of four where its percentile is 0"
    assert table.loc[["v1", "v2"], ranks].isna().all(axis=None)
    changes[:, 0, [0, 3]] = 0.0
    tables = analysed(MadeRun(stays, attacks, changes, np.ones(changes.shape, dtype=bool)), 30)
    assert len(tables["variables"]) and tables["variables"][ranks].isna().all(axis=None), "no variable at all has one"


def test_below_ten_patients_there_is_no_interval_and_no_replicate():
    stays = pd.DataFrame({"stay_id": 100 + np.arange(18), "subject_id": np.arange(18) // 2, "fold": 0, "label": 0})
    attacks = pd.DataFrame({"seed": 0, "stay_id": stays["stay_id"], "lambda": 0.1, "success": True})
    tables = analysed(MadeRun(stays, attacks, np.full((18, 1, 2), 0.5), np.ones((18, 1, 2), dtype=bool)), 30)
    ends = [f"{name}_{end}" for name in ("gmp", "gap", "gpp", "q95", "s", "s_q95") for end in ("low", "high")]
    assert tables["cells"][ends].isna().all(axis=None) and len(tables["replicates"]) == 0
    assert tables["variables"][["s_low", "s_q95_low", "rank_low"]].isna().all(axis=None)
    assert (tables["variables"].query("direction == '0_to_1'")["s_q95"] == 0.5).all()
    assert (tables["hours"].query("direction == '1_to_0' and basis == 'all'")["s"] == 0).all()


def test_the_same_bytes_twice(tmp_path):
    run = made_run(np.random.default_rng(9), 20, n_seeds=2)
    for name in ("first", "second"):
        run.analysed(tmp_path / name, 20)
    files = sorted((tmp_path / "first" / "out").iterdir())
    assert len(files) == 8
    for file in files:
        assert file.read_bytes() == (tmp_path / "second" / "out" / file.name).read_bytes(), file.name


# --- modes and mistakes of the user


def test_a_mode_without_lambda_has_one_policy_and_others_three():
    for n_lambdas, policies in ((0, {"selected"}), (3, set(POLICIES))):
        run = made_run(np.random.default_rng(2), 12, n_lambdas=n_lambdas)
        assert set(analysed(run)["cells"]["policy"]) == policies


def test_baselines_are_measured_by_their_selected_attacks_without_intervals():
    run = made_run(np.random.default_rng(2), 40)
    run.mode = "random_cells"
    tables = analysed(run, 20)
    assert set(tables["cells"]["policy"]) == {"selected"} and len(tables["replicates"]) == 0
    assert tables["variables"]["s_q95_low"].isna().all() and tables["variables"]["s_q95"].max() > 0
    assert tables["summary"]["n_attacked"].sum() == len(run.stays)


def test_where_every_attack_fails_the_tables_are_there():
    run = made_run(np.random.default_rng(2), 5)
    run.attacks["success"] = False
    tables = analysed(run, 20)
    assert len(tables["cells"]) == 2 * 3 * 2 * 6 and len(tables["replicates"]) == 0
    assert (tables["cells"].query("basis == 'all'")["s"] == 0).all()
    assert tables["tradeoff"]["n_succeeded"].sum() == 0


def test_without_any_attack_the_tables_are_there(tmp_path):
    """A baseline has no row where the attack that it is matched to never succeeded."""
    run = made_run(np.random.default_rng(2), 5)
    arguments = run.write(tmp_path)
    for name in ("outcomes", "perturbations"):
        for path in arguments[name]:
            write_parquet(read_parquet(path).slice(0, 0), path)
    out = {name: str(tmp_path / "out" / f"{name}.parquet") for name in TABLES}
    analyse_attacks(**arguments, resamples=20, out=out)
    tables = {name: read_frame(path) for name, path in out.items()}
    assert len(tables["cells"]) == 2 * 2 * 6 and len(tables["by_model"]) == len(tables["replicates"]) == 0
    assert tables["summary"]["n_attacked"].tolist() == [0, 0] and len(tables["tradeoff"]) == 0


def test_changes_of_another_run_are_refused(tmp_path):
    run = made_run(np.random.default_rng(2), 12)
    other = made_run(np.random.default_rng(2), 12)
    other.attacks["lambda"] *= 2
    arguments = run.write(tmp_path / "run") | {"perturbations": other.write(tmp_path / "other")["perturbations"]}
    out = {name: str(tmp_path / f"{name}.parquet") for name in ("cells", "curves", "summary", "tradeoff")}
    with pytest.raises(UserError, match="changes of attacks"):
        analyse_attacks(**arguments, resamples=0, out=out)
    assert not (tmp_path / "cells.parquet").exists() and not list(tmp_path.glob(".changes*"))


@pytest.mark.parametrize("spoilt", ["missing", "no column", "other stays"])
def test_features_that_do_not_fit_are_refused(tmp_path, spoilt):
    run = made_run(np.random.default_rng(2), 12)
    arguments = run.write(tmp_path)
    features = read_parquet(arguments["features"])
    if spoilt == "missing":
        Path(arguments["features"]).unlink()
    elif spoilt == "no column":
        write_parquet(features.drop(["v1"]), arguments["features"])
    else:
        write_parquet(features.set_column(0, "stay_id", [features["stay_id"].to_numpy() + 1]), arguments["features"])
    out = {name: str(tmp_path / "out" / f"{name}.parquet") for name in TABLES}
    with pytest.raises(UserError, match=r"features\.parquet"):
        analyse_attacks(**arguments, resamples=0, out=out)


def test_attacks_on_stays_that_were_not_extracted_are_refused(tmp_path):
    run = made_run(np.random.default_rng(2), 12)
    arguments = run.write(tmp_path)
    write_parquet(read_parquet(arguments["stays"]).slice(1), arguments["stays"])
    out = {name: str(tmp_path / "out" / f"{name}.parquet") for name in TABLES}
    with pytest.raises(UserError, match="missing from the extracted stays"):
        analyse_attacks(**arguments, resamples=0, out=out)


def test_what_a_killed_job_left_is_removed(tmp_path):
    left = tmp_path / "out" / ".changes.killed" / "0_0"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"of single patients")
    made_run(np.random.default_rng(2), 3).analysed(tmp_path)
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".parquet"}
