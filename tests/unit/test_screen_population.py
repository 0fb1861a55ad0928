"""Ranks and shares of a single change against a population made by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ehr_attack.schemas.attacks import OUTCOMES
from ehr_attack.schemas.susceptibility import CELLS, VARIABLES
from ehr_attack.screening.description import read_description
from ehr_attack.screening.flips import Entry, Flip
from ehr_attack.screening.population import read_population
from ehr_attack.storage import write_frame, write_parquet
from screen_builder import describe


def write_maps(folder: Path, direction: str = "0_to_1") -> None:
    """Three variables and four cells over observed cells, and rows of other kinds that must not count."""
    variables = pd.DataFrame(
        {"variable": ["lactate", "bun", "ph"], "s_q95": [0.5, 0.9, np.nan], "s": [0.6, 1.0, np.nan], "rank": [2, 1, 3]}
    )
    cells = pd.DataFrame(
        {
            "variable": ["lactate", "lactate", "bun", "ph"],
            "hour": [3, 4, 3, 3],
            "s_q95": [0.2, 0.3, 0.3, np.nan],
            "s": [0.5, 0.4, 0.4, np.nan],
        }
    )
    for frame, schema, name in ((variables, VARIABLES, "variables"), (cells, CELLS, "cells")):
        kinds = [("selected", "observed", 1.0), ("selected", "all", -1.0), ("all", "observed", -1.0)]
        parts = [
            frame.assign(policy=policy, basis=basis, s_q95=frame["s_q95"] * sign, direction=direction)
            for policy, basis, sign in kinds
        ]
        full = pd.concat(parts).assign(model="lstm", mode="measurement").reindex(columns=schema.names)
        write_parquet(pa.Table.from_pandas(full, preserve_index=False), folder / f"{name}.parquet", schema)


def write_outcomes(folder: Path) -> None:
    """Twelve attacked stays in one fold: three are not flipped, the others by 1, 1, 2, 2, 2, 2, 3, 3, 4 values."""
    edited = np.array([1, 1, 2, 2, 2, 2, 3, 3, 4, 9, 9, 9])
    l1 = np.array([0.1, 0.4, 0.2, 0.3, 0.5, 0.6, 0.2, 0.9, 0.5, 0.0, 0.0, 0.0])
    flipped = np.arange(12) < 9
    frame = pd.DataFrame(
        {
            "model": "lstm", "mode": "measurement", "seed": 0, "fold": 0, "stay_id": np.arange(12), "lambda": np.nan,
            "label": 0, "direction": "0_to_1", "flipped": flipped, "flipped_float64": flipped, "feasible": flipped,
            "n_edited": edited, "l1": l1, "selected": flipped,
        }
    )  # fmt: skip
    rest = [name for name in OUTCOMES.names if name not in frame]
    frame = frame.assign(**dict.fromkeys(rest, 0))
    for name in ("still_falling", "gradient_vanished", "stuck_at_bounds", "pruned", "audited"):
        frame[name] = False
    write_frame(frame, folder / "outcomes.parquet", OUTCOMES)


@pytest.fixture
def run(tmp_path) -> Path:
    describe(tmp_path, "lstm", 2, "forward")
    write_maps(tmp_path / "susceptibility/lstm/measurement")
    write_outcomes(tmp_path / "attacks/lstm/measurement/seed_0/fold_0")
    return tmp_path


def entry(cell_size: float) -> Entry:
    return Entry(feature=6, hours=3.5, value_before=2.0, value_after=1.0, size=cell_size, cell_size=cell_size)


def test_ranks_are_those_of_observed_cells_of_selected_attacks(run):
    population = read_population(run, read_description(run), "lstm")
    assert (population.mode, population.costs_mode, population.missing) == ("measurement", "measurement", "")
    assert population.entry("0_to_1", 3, "lactate") == {
        "rank_variable": 2, "n_variables": 2, "rank_cell": 3, "n_cells": 3,
    }  # fmt: skip
    assert population.entry("0_to_1", 4, "lactate")["rank_cell"] == 1  # shared with bun at hour 3
    assert population.entry("0_to_1", 3, "bun") == {"rank_variable": 1, "n_variables": 2, "rank_cell": 1, "n_cells": 3}
    assert population.entry("0_to_1", 3, "ph")["rank_variable"] is None  # too few stays have one
    assert population.entry("1_to_0", 3, "lactate")["rank_variable"] is None


@pytest.mark.parametrize(
    ("sizes", "as_few", "no_more"),
    [([0.05], 2, 0), ([0.1], 2, 1), ([0.4], 2, 2), ([0.2, 0.25], 6, 4), ([0.1, 0.05, 0.05], 8, 7), ([1.0] * 5, 9, 9)],
)
def test_shares_count_stays_that_needed_no_more(run, sizes, as_few, no_more):
    population = read_population(run, read_description(run), "lstm")
    flip = Flip(tuple(entry(size) for size in sizes), np.zeros(1))
    found = population.flip("0_to_1", flip)
    assert found == {"n_attacked": 12, "share_as_few": as_few / 12, "share_no_more": pytest.approx(no_more / 12)}
    assert population.flip("1_to_0", flip) is None


def test_where_the_95th_percentile_is_zero_the_maximum_decides_and_what_never_changes_has_no_rank(tmp_path):
    """Attacks that change one value each leave S_q95 at 0 nearly everywhere."""
    describe(tmp_path, "lstm", 2, "forward")
    folder = tmp_path / "susceptibility/lstm/measurement"
    names = ["lactate", "bun", "ph", "sodium"]
    table = pd.DataFrame({"variable": names, "s_q95": [0.0, 0.1, 0.0, 0.0], "s": [0.2, 0.1, 0.3, 0.0]})
    labels = {"policy": "selected", "basis": "observed", "direction": "0_to_1", "model": "lstm", "mode": "measurement"}
    for schema, name in ((VARIABLES, "variables"), (CELLS, "cells")):
        full = table.assign(**labels, hour=3).reindex(columns=schema.names)
        write_parquet(pa.Table.from_pandas(full, preserve_index=False), folder / f"{name}.parquet", schema)
    population = read_population(tmp_path, read_description(tmp_path), "lstm")
    ranks = {name: population.entry("0_to_1", 3, name)["rank_variable"] for name in names}
    assert ranks == {"bun": 1, "ph": 2, "lactate": 3, "sodium": None}
    assert {name: population.entry("0_to_1", 3, name)["rank_cell"] for name in names} == ranks


def test_a_run_without_such_tables_says_what_is_missing(tmp_path):
    describe(tmp_path, "lstm", 2, "forward", modes=("ista",))
    population = read_population(tmp_path, read_description(tmp_path), "lstm")
    assert "no susceptibility tables" in population.missing and "no attacks of mode measurement" in population.missing
    assert population.entry("0_to_1", 3, "lactate")["rank_cell"] is None
    assert population.flip("0_to_1", Flip((entry(1.0),), np.zeros(1))) is None


def test_another_mode_ranks_where_there_is_no_attack_on_recorded_values(tmp_path):
    describe(tmp_path, "lstm", 2, "forward", modes=("ista",))
    write_maps(tmp_path / "susceptibility/lstm/ista")
    population = read_population(tmp_path, read_description(tmp_path), "lstm")
    assert population.mode == "ista" and population.costs_mode == ""
    assert population.entry("0_to_1", 3, "bun")["rank_variable"] == 1
