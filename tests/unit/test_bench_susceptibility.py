"""The benchmark of susceptibility: the workflow reads its made-up run, and both ways give the same resamples."""

import json

import numpy as np
import pytest

from benchmarks.made_up_attacks import HOURS, NAMES, VARIABLES, make_run
from benchmarks.susceptibility import measure_replicates, measure_whole, report, targets
from ehr_attack.storage import read_frame

ORDINARY = {"stays": 600, "rows": 15_000, "changes": 700_000, "perturbations_mb": 9}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made_up")
    (folder / "paths.json").write_text(json.dumps(make_run(folder, 240, 3)))
    return folder


def test_a_made_up_run_counts_what_it_writes_and_is_consistent(folder):
    made = json.loads((folder / "paths.json").read_text())
    changes = 0
    for outcomes, perturbations in zip(made["outcomes"], made["perturbations"], strict=True):
        rows, cells = read_frame(outcomes), read_frame(perturbations)
        changes += len(cells)
        key = ["stay_id", "lambda"]
        assert not cells.duplicated([*key, "hour", "variable"]).any()
        sizes = cells.assign(size=cells["delta_scaled"].abs()).groupby(key)["size"].agg(["size", "max"])
        found = rows.set_index(key).join(sizes).fillna({"size": 0, "max": 0})
        assert (found["n_changed"] == found["size"]).all() and np.allclose(found["linf"], found["max"])
        assert (found.loc[~found["feasible"], "n_changed"] == 0).all()
        assert rows.groupby("stay_id")["selected"].sum().eq(1).all() and rows.loc[rows["selected"], "feasible"].all()
    assert made["changes"] == changes and made["rows"] == 240 * 3
    assert len(read_frame(made["features"])) == 240 * HOURS and len(NAMES) == VARIABLES


def test_the_usual_way_and_ours_give_the_same_resamples(folder):
    measured = measure_replicates(folder)
    assert measured["largest_difference"] < 1e-6
    assert all(measured[way][clock] > 0 for way in ("usual", "ours") for clock in ("seconds", "cpu_seconds"))


def test_the_whole_analysis_is_measured_and_has_intervals(folder):
    assert measure_whole(folder)["seconds"] > 0
    variables = read_frame(folder / "out" / "variables.parquet")
    told = variables.query("direction == '0_to_1' and basis == 'all'")
    assert (told["s_q95"] > 0).any() and told["s_q95_high"].notna().all()


@pytest.mark.parametrize("peak_mb, met", [(1_999.0, True), (2_001.0, False)])
def test_targets_are_judged_by_what_was_measured(peak_mb, met):
    result = {
        "runs": {"ordinary": ORDINARY, "large": ORDINARY | {"stays": 60_000}},
        "draws": 300,
        "ordinary": {"seconds": 10.0, "cpu_seconds": 10.0, "peak_mb": 400.0},
        "large": {"seconds": 300.0, "cpu_seconds": 290.0, "peak_mb": peak_mb},
        "replicates": {
            "usual": {"seconds": 7.0, "cpu_seconds": 6.0},
            "ours": {"seconds": 3.0, "cpu_seconds": 2.0},
            "largest_difference": 1e-8,
        },
        "machine": {"cpu": "a processor", "cores": 2, "ram_gb": 25.0},
        "date": "2026-11-28", "load_before": 0.1, "load_after": 0.2, "versions": {"numpy": "2.4"},
    }  # fmt: skip
    judged = targets(result)
    assert [target["met"] for target in judged] == [met, True, True, True]
    lines = "\n".join(report(result | {"targets": judged}))
    assert "| 60,000 |" in lines and "3.0 times" in lines and ("MISSED" in lines) is not met
