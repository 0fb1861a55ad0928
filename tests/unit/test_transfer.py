"""Transfer of changes: put back on their own model they flip it; what is counted of others, by hand."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from ehr_attack.attacks import needs_measurements
from ehr_attack.attacks.selection import ROW_KEY
from ehr_attack.checkpoint import Checkpoint, load_checkpoint
from ehr_attack.cohort_data import CohortData
from ehr_attack.errors import UserError
from ehr_attack.feature_tensor import FeatureTensor
from ehr_attack.preprocessing import Preprocessing
from ehr_attack.schemas.verdicts import TRANSFER
from ehr_attack.storage import read_frame, read_parquet
from ehr_attack.transfer import Changes, _rates, correct_and_flipped, selected_changes, write_transfer
from small_run import VARIABLES, SmallRun

PLANTED = {"variable": "creatinine", "hours": [30, 47]}
FASTER = {"lambdas": {"count": 3, "low": 0.0005, "high": 0.005}, "steps": 40, "max_stays": 24, "levels": 2}
MODES = ("ista", "sun2018", "measurement", "single")
TRAINED = (("lstm", 0), ("lstm", 1), ("grud", 0))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two seeds of an LSTM and a GRU-D, which also sees masks and times, on a plain truth; attacked in every way."""
    small = SmallRun.of(tmp_path_factory.mktemp("run"), stays=600, planted=PLANTED)
    for model, seed in TRAINED:
        small.train(model, seed, lr=0.005, epochs=15)
        for mode in MODES:
            small.attack(model, mode, seed, **FASTER)
    return small


def loaded(run, model, seed, fold):
    folder = run.checkpoint(model, seed, fold)
    return load_checkpoint(folder / "model.safetensors", folder / "model.json", model_name=model, variables=VARIABLES)


def attacked(run, model, mode, seed, fold):
    folder = run.attacks(model, mode, seed, fold)
    return read_frame(folder / "outcomes.parquet"), read_frame(folder / "perturbations.parquet")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("model", "seed"), TRAINED)
def test_a_change_put_back_on_its_own_model_flips_it(run, model, seed, mode):
    cohort, flips = run.cohort, 0
    for fold in (0, 1):
        outcomes, _ = attacked(run, model, mode, seed, fold)
        changes = selected_changes(outcomes, run.attacks(model, mode, seed, fold) / "perturbations.parquet", cohort)
        assert len(changes.stays) == outcomes["selected"].sum()
        correct, flipped = correct_and_flipped(loaded(run, model, seed, fold), cohort, changes, mode)
        assert correct.all()
        assert flipped.all()
        flips += len(flipped)
        unchanged = replace(changes, delta=np.zeros_like(changes.delta))
        assert not correct_and_flipped(loaded(run, model, seed, fold), cohort, unchanged, mode)[1].any()
    assert flips >= 10


def test_the_table_of_changes_is_read_piece_by_piece(run, monkeypatch):
    folder = run.attacks("lstm", "ista", 0, 0)
    outcomes, perturbations = attacked(run, "lstm", "ista", 0, 0)
    whole = selected_changes(outcomes, folder / "perturbations.parquet", run.cohort)
    monkeypatch.setattr("ehr_attack.transfer._ROWS_A_BATCH", 7)
    pieces = selected_changes(outcomes, folder / "perturbations.parquet", run.cohort)
    np.testing.assert_array_equal(whole.delta, pieces.delta)
    chosen = perturbations.merge(outcomes.loc[outcomes["selected"], ROW_KEY], on=ROW_KEY)
    assert np.count_nonzero(whole.delta) == np.count_nonzero(chosen["delta_clinical"]) > 7


def test_changes_of_a_variable_that_the_run_has_not_end_in_one_message(run):
    folder = run.attacks("lstm", "ista", 0, 0)
    outcomes, _ = attacked(run, "lstm", "ista", 0, 0)
    other = replace(run.cohort, variable_names=tuple(f"other_{name}" for name in run.cohort.variable_names))
    with pytest.raises(UserError, match="holds changes of variables that the run does not have"):
        selected_changes(outcomes, folder / "perturbations.parquet", other)


def test_the_log_tells_no_small_count(run, tmp_path, caplog):
    with caplog.at_level("INFO", logger="ehr_attack.transfer"):
        write(run, tmp_path / "t.parquet", modes=("ista",))
    told = [record.getMessage() for record in caplog.records if "flip their own model" in record.getMessage()]
    assert len(told) == len(TRAINED) * 2
    totals = {n_selected(run, *trained, fold) for trained in TRAINED for fold in (0, 1)}
    assert min(totals) < 10 <= max(totals)
    for text in told:
        assert re.search(r": (all but <10|<10|0|\d\d+) of (<10|0|\d\d+) changes", text), text


def n_selected(run, model, seed, fold):
    return int(attacked(run, model, "ista", seed, fold)[0]["selected"].sum())


@pytest.fixture(scope="module")
def table(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "transfer.parquet"
    write(run, out)
    assert read_parquet(out).schema.equals(TRANSFER)
    return read_frame(out)


def write(run, out, trained=TRAINED, modes=MODES, **changes):
    checkpoints = [run.checkpoint(model, seed, fold) for model, seed in trained for fold in (1, 0)]
    attacks = [run.attacks(model, mode, seed, fold) for mode in modes for model, seed in trained for fold in (0, 1)]
    settings = {
        "weights": [str(folder / "model.safetensors") for folder in checkpoints],
        "sidecars": [str(folder / "model.json") for folder in checkpoints],
        "outcomes": [str(folder / "outcomes.parquet") for folder in attacks],
        "perturbations": [str(folder / "perturbations.parquet") for folder in attacks],
        "cohort": run.cohort,
        "architectures": {"lstm": "lstm", "grud": "grud"},
        "modes": {mode: mode for mode in modes},
        "variables": VARIABLES,
        "resamples": 50,
        "out": str(out),
    }
    write_transfer(**(settings | changes))


def test_every_ordered_pair_stands_there_once(table):
    pairs = table[["from_model", "from_seed", "to_model", "to_seed"]].drop_duplicates()
    assert len(pairs) == 3 * 2
    assert len(table) == 3 * 2 * len(MODES) * 2
    assert not ((pairs["from_model"] == pairs["to_model"]) & (pairs["from_seed"] == pairs["to_seed"])).any()


def test_counts_equal_a_loop_over_stays(run, table):
    """From LSTM seed 0 to GRU-D, stay by stay, through the arrays that the model sees."""
    cohort = run.cohort
    for mode in MODES:
        counted = {"0_to_1": [0, 0], "1_to_0": [0, 0]}
        for fold in (0, 1):
            outcomes, perturbations = attacked(run, "lstm", mode, 0, fold)
            target = loaded(run, "grud", 0, fold)
            for row in outcomes[outcomes["selected"]].to_dict("records"):
                cells = perturbations[
                    (perturbations[ROW_KEY].fillna(-1) == pd.Series(row)[ROW_KEY].fillna(-1)).all(axis=1)
                ]
                verdict = slow_flip(cohort, target, row["stay_id"], cells, mode)
                if verdict is not None:
                    counted[row["direction"]][0] += 1
                    counted[row["direction"]][1] += verdict
        chosen = {"mode": mode, "from_model": "lstm", "from_seed": 0, "to_model": "grud"}
        rows = table.loc[(table[list(chosen)] == pd.Series(chosen)).all(axis=1)].set_index("direction")
        for direction, (stays, flips) in counted.items():
            assert tuple(rows.loc[direction, ["n_stays", "n_flipped"]]) == (stays, flips)


def slow_flip(cohort, target, stay_id, cells, mode):
    """Whether the change flips the model; None where it is wrong already."""
    stay = list(cohort.features.stay_ids).index(stay_id)
    values = cohort.features.values[stay].astype(np.float64)
    fitted, names = target.preprocessing, list(cohort.variable_names)
    label = cohort.labels[stay]

    def seen(record):
        scaled = fitted.apply(record[None], cohort.features.carry_in[stay][None], np.array([48]))[0].astype(np.float64)
        recorded = ~np.isnan(record)
        since = np.zeros(record.shape)
        for hour in range(1, 48):
            since[hour] = np.where(recorded[hour - 1], 1, since[hour - 1] + 1)
        return np.concatenate([scaled, recorded, since / 48], axis=1)

    def predicted(inputs):
        with torch.no_grad():
            return int(target.model(torch.tensor(inputs[None], dtype=torch.float32), torch.tensor([48])).argmax())

    if predicted(seen(values)) != label:
        return None
    edited, inputs = values.copy(), seen(values)
    for cell in cells.itertuples():
        place = names.index(cell.variable)
        edited[cell.hour, place] += cell.delta_clinical
        inputs[cell.hour, place] += cell.delta_clinical / fitted.scale[place]
        if mode != "sun2018":
            inputs[cell.hour, place] = min(max(inputs[cell.hour, place], 0.0), 1.0)
    return predicted(seen(edited) if needs_measurements(mode) else inputs) != label


def test_rates_and_intervals_by_hand(table):
    large = table[table["n_patients"] >= 10]
    assert len(large) >= 4
    np.testing.assert_allclose(large["rate"], large["n_flipped"] / large["n_stays"])
    assert ((large["low"] <= large["rate"]) & (large["rate"] <= large["high"])).all()
    small = table[table["n_patients"] < 10]
    assert small[["rate", "low", "high"]].isna().all(axis=None)


def test_intervals_are_over_patients():
    """30 stays of 15 patients, whose two stays are alike: an interval as of 15, not of 30."""
    random = np.random.default_rng(0)
    labels = {"mode": "ista", "from_model": "a", "from_seed": 0, "to_model": "b", "to_seed": 0, "direction": "0_to_1"}
    flipped = np.repeat(np.arange(15) < 6, 2)
    trials = pd.DataFrame({"subject_id": np.repeat(np.arange(15), 2), "flipped": flipped}).assign(**labels)
    row = next(iter(_rates(trials, 2000)))
    draws = random.binomial(15, 0.4, 20000) / 15
    assert (row["n_stays"], row["n_patients"], row["n_flipped"], row["rate"]) == (30, 15, 12, 0.4)
    assert (row["low"], row["high"]) == pytest.approx(np.percentile(draws, [2.5, 97.5]), abs=0.07)


def test_where_all_are_flipped_the_interval_is_that_of_15_patients():
    labels = {"mode": "ista", "from_model": "a", "from_seed": 0, "to_model": "b", "to_seed": 0, "direction": "0_to_1"}
    trials = pd.DataFrame({"subject_id": np.repeat(np.arange(15), 2), "flipped": True}).assign(**labels)
    row = next(iter(_rates(trials, 50)))
    assert (row["low"], row["rate"], row["high"]) == (pytest.approx(0.025 ** (1 / 15)), 1.0, 1.0)


def test_one_model_has_nobody_to_be_compared_with(run, tmp_path):
    write(run, tmp_path / "t.parquet", trained=TRAINED[:1])
    assert read_parquet(tmp_path / "t.parquet").num_rows == 0


def test_a_checkpoint_of_a_model_that_is_none_of_the_run_is_refused(run, tmp_path):
    with pytest.raises(UserError, match="of a model grud, which is none of this run's"):
        write(run, tmp_path / "t.parquet", architectures={"lstm": "lstm"})


class Threshold(nn.Module):
    """Dies when the sum of the value channels passes 1."""

    def forward(self, inputs, lengths=None):
        margin = inputs.sum(dim=(1, 2)) - 1.0
        return torch.stack([-margin, margin], dim=1)


def one_cell(scale, mode, delta):
    """Flips of a stay whose one recorded value, 5, is seen as 5 / scale, of a model fitted to 0 to `scale`."""
    fitted = Preprocessing("forward", ("ph",), np.zeros(1), np.array([scale]), np.zeros(1), np.array([True]))
    values = np.full((1, 2, 1), np.nan, dtype=np.float32)
    values[0, 0, 0] = 5.0
    features = FeatureTensor(np.array([7]), values, np.full((1, 1), np.nan, dtype=np.float32), np.array([2]))
    cohort = CohortData(("ph",), features, np.array([0], dtype=np.int8), np.array([1]), np.array([0], dtype=np.int32))
    checkpoint = Checkpoint(Threshold(), fitted, {"inputs": "values"})
    change = np.zeros((1, 2, 1))
    change[0, 0, 0] = delta
    correct, flipped = correct_and_flipped(
        checkpoint, cohort, Changes(np.array([0]), change, np.array(["0_to_1"])), mode
    )
    return bool(correct[0]), bool(flipped[0])


def test_a_change_in_clinical_units_goes_through_the_other_models_preprocessing():
    """Seen as 5/20 in both hours (carried forward): 0.5 in all, and more than 1 is needed."""
    assert one_cell(20, "ista", 11.0) == (True, True)  # the cell moves by 0.55
    assert one_cell(20, "ista", 9.0) == (True, False)
    assert one_cell(20, "measurement", 6.0) == (True, True)  # both hours move, by 0.3 each
    assert one_cell(20, "measurement", 4.0) == (True, False)
    assert one_cell(40, "ista", 11.0) == (True, False)  # less, on the other model's scale
    assert one_cell(4, "ista", 1.0)[0] is False


def test_constrained_changes_stay_in_the_box_and_published_ones_need_not():
    """Seen as 5/12 twice: 0.83; a cell in the box adds at most 7/12, which is enough; a model of 100 is not flipped."""
    assert one_cell(100, "ista", 1000.0) == (True, True)  # 1 + 0.05 passes 1
    assert one_cell(1000, "ista", 1e6) == (True, True)
    assert one_cell(11, "sun2018", -100.0) == (True, False)
