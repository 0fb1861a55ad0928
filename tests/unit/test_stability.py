"""Agreement of susceptibility on made-up sums, against scipy."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau, spearmanr

from ehr_attack.schemas.susceptibility import HOURS, SUMS_BY_MODEL, VARIABLES
from ehr_attack.schemas.verdicts import STABILITY
from ehr_attack.stability import write_stability
from ehr_attack.storage import read_frame, read_parquet, write_frame
from verdict_builder import blank

NAMES = ["lactate", "sodium", "ph", "bun"]
HOUR_COUNT = 5
MODELS, MODES, SEEDS, FOLDS = ("lstm", "gru"), ("ista", "sun2018"), (0, 1), (0, 1, 2)


def sums_of(model, mode, direction, axis, seed=None, fold=None):
    """Sums that differ with everything they are of; ties among them."""
    key = [ord(text[0]) for text in (model, mode, direction, axis)]
    key += [0 if part is None else 1 + part for part in (seed, fold)]
    return np.random.default_rng(key).integers(0, 5, HOUR_COUNT if axis == "hour" else len(NAMES)).astype(float)


@pytest.fixture
def files(tmp_path):
    """The tables of two models and two attacks, as the rule susceptibility writes them."""
    found = {name: [] for name in ("by_model", "variables", "hours")}
    for model in MODELS:
        for mode in MODES:
            tables = {name: [] for name in found}
            for direction in ("0_to_1", "1_to_0"):
                for axis, names in (("variable", NAMES), ("hour", range(HOUR_COUNT))):
                    label = {"model": model, "mode": mode, "direction": direction, "n_stays": 30, "n_patients": 20}
                    schema, level = (HOURS, "hours") if axis == "hour" else (VARIABLES, "variables")
                    whole = blank(schema, len(names)).assign(**label, policy="selected", basis="all")
                    whole[axis], whole["s_q95"] = list(names), sums_of(model, mode, direction, axis)
                    tables[level] += [whole, whole.assign(policy="all", s_q95=7.0), whole.assign(basis="observed")]
                    for seed in SEEDS:
                        for fold in (*FOLDS, None):
                            part = blank(SUMS_BY_MODEL, len(names)).assign(**label, policy="selected", basis="all")
                            part["s_q95"] = sums_of(model, mode, direction, axis, seed, fold)
                            part = part.assign(seed=seed, axis=axis, name=list(map(str, names)))
                            part["fold"] = pd.Series([fold] * len(names), dtype="Int32")
                            if fold == 2:
                                part["n_patients"] = 9
                            tables["by_model"] += [part, part.assign(policy="fixed", s_q95=7.0)]
            for level, schema in (("by_model", SUMS_BY_MODEL), ("variables", VARIABLES), ("hours", HOURS)):
                path = tmp_path / f"{level}_{model}_{mode}.parquet"
                write_frame(pd.concat(tables[level], ignore_index=True), path, schema)
                found[level].append(str(path))
    return found


@pytest.fixture
def table(files, tmp_path):
    write_stability(**files, out=str(tmp_path / "stability.parquet"))
    assert read_parquet(tmp_path / "stability.parquet").schema.equals(STABILITY)
    return read_frame(tmp_path / "stability.parquet")


def test_every_pair_is_compared_once(table):
    sides = 2 * 2  # directions and axes
    counts = table.groupby("across").size().to_dict()
    assert counts == {"fold": 2 * 2 * 2 * 3 * sides, "seed": 2 * 2 * sides, "model": 2 * sides, "attack": 2 * sides}
    assert not table.duplicated(["across", "first", "second", "mode", "direction", "axis"]).any()
    assert set(table.loc[table["axis"] == "hour", "n_shared"]) == {HOUR_COUNT}


@pytest.mark.parametrize(
    ("across", "first", "second", "mode", "left", "right"),
    [
        ("fold", "gru, seed 1, fold 0", "gru, seed 1, fold 1", "ista", ("gru", "ista", 1, 0), ("gru", "ista", 1, 1)),
        ("seed", "lstm, seed 0", "lstm, seed 1", "sun2018", ("lstm", "sun2018", 0, None), ("lstm", "sun2018", 1, None)),
        ("model", "lstm", "gru", "ista", ("lstm", "ista", None, None), ("gru", "ista", None, None)),
        ("attack", "gru, ista", "gru, sun2018", "", ("gru", "ista", None, None), ("gru", "sun2018", None, None)),
    ],
)
@pytest.mark.parametrize("axis", ["variable", "hour"])
def test_agreement_equals_scipy(table, across, first, second, mode, left, right, axis):
    key = {"across": across, "first": first, "second": second, "mode": mode, "direction": "1_to_0", "axis": axis}
    row = table.loc[(table[list(key)] == pd.Series(key)).all(axis=1)].iloc[0]
    ours, theirs = (sums_of(model, name, "1_to_0", axis, seed, fold) for model, name, seed, fold in (left, right))
    assert row["n_patients"] == 20
    assert row["spearman"] == pytest.approx(spearmanr(ours, theirs).statistic, nan_ok=True)
    assert row["kendall"] == pytest.approx(kendalltau(ours, theirs).statistic, nan_ok=True)


def test_no_correlation_of_fewer_than_ten_patients(table):
    with_third = table["first"].str.contains("fold 2") | table["second"].str.contains("fold 2")
    assert set(table.loc[with_third, "n_patients"]) == {9}
    assert table.loc[with_third, ["spearman", "kendall"]].isna().all(axis=None)
    assert table.loc[~with_third, "spearman"].notna().any()


def test_one_model_seed_and_attack_have_folds_only(files, tmp_path):
    single = read_frame(files["by_model"][0])
    one = single[single["seed"] == 0]
    write_frame(one, tmp_path / "one.parquet", SUMS_BY_MODEL)
    write_stability(
        [str(tmp_path / "one.parquet")], files["variables"][:1], files["hours"][:1], out=str(tmp_path / "s")
    )
    assert set(read_frame(tmp_path / "s")["across"]) == {"fold"}
