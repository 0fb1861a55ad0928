"""The ten mistakes of earlier reproductions (science.md, "What earlier reproductions got wrong"), each pinned.

The number in a test's name is that of the mistake. `tests/workflow/test_known_mistakes_made.py` makes each mistake
in a copy of the library and watches these tests fail.
"""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

import ehr_attack
from ehr_attack.attacks import load_mode
from ehr_attack.attacks.engine import search
from ehr_attack.attacks.fold import FoldAttack, Shard, attack_fold
from ehr_attack.attacks.mode import SearchSettings, Seen
from ehr_attack.attacks.records import AttackTables
from ehr_attack.attacks.rows import Victims
from ehr_attack.checkpoint import Checkpoint
from ehr_attack.cohort_data import CohortData
from ehr_attack.config import validated_config
from ehr_attack.evaluation import evaluate_predictions
from ehr_attack.feature_tensor import FeatureTensor, load_tensor
from ehr_attack.features import build_features
from ehr_attack.folds import assign_folds
from ehr_attack.models import build_model
from ehr_attack.preprocessing import Preprocessing
from ehr_attack.progress import Progress
from ehr_attack.schemas.cohort import MEASUREMENTS
from ehr_attack.storage import write_frame
from ehr_attack.susceptibility import attack_summary, success_curves
from ehr_attack.training import split_stays, train_fold
from ehr_attack.variables import load_variables
from mimic3_builder import HEART_RATE, SODIUM, Extracted, Records, Stay, a_usual_stay, extracted
from susceptibility_builder import MadeRun

NAMES = tuple(variable.name for variable in load_variables())
DEFAULTS = validated_config({})
ATTACK = DEFAULTS["attack"] | {"device": "cpu", "max_stays": None}
TRAINING = DEFAULTS["training"] | {"device": "cpu", "epochs": 15, "batch_size": 8, "lr": 0.01}
MODES = ("sun2018", "ista")
FEW = tuple(v for v in load_variables() if v.name in ("heart_rate", "temperature", "lactate", "sodium"))
FEW_USUAL, FEW_SPREAD = np.array([80.0, 37.0, 5.0, 140.0]), np.array([15.0, 0.8, 1.5, 5.0])
NAN = np.nan


# --- what the tests are made of


def features_of(made: Extracted, names: tuple[str, ...] = NAMES) -> FeatureTensor:
    """The features of extracted records, by way of the features file."""
    out = made.folder / "features.parquet"
    build_features(
        stays=made.folder / "stays.parquet",
        measurements=made.folder / "measurements.parquet",
        variable_names=NAMES,
        carry_in_hours=0.0,
        window_hours=48,
        out=out,
    )
    return load_tensor(out, names, 48)


def inputs_of(features: FeatureTensor, imputation: str) -> np.ndarray:
    """The model's inputs, on a scale on which no value in use is clipped."""
    names, size = NAMES, len(NAMES)
    wide = Preprocessing(
        imputation, names, np.zeros(size), np.full(size, 500.0), np.full(size, 100.0), np.ones(size, bool)
    )
    return wide.apply(features.values, features.carry_in, features.n_hours)


def cohort_of(values: np.ndarray, labels: np.ndarray, subjects: np.ndarray, names: tuple[str, ...]) -> CohortData:
    """A cohort of stays that all last the window, in four folds by patient."""
    stays, hours, variables = values.shape
    nothing = np.full((stays, variables), NAN, dtype=np.float32)
    features = FeatureTensor(np.arange(stays), values.astype(np.float32), nothing, np.full(stays, hours))
    table = pd.DataFrame({"stay_id": np.arange(stays), "subject_id": subjects, "died_in_hospital": labels == 1})
    return CohortData(
        names, features, labels.astype(np.int8), subjects, assign_folds(table, 4, seed=0)["fold"].to_numpy()
    )


def picked(cohort: CohortData, rows: np.ndarray) -> CohortData:
    """The stays `rows` of a cohort, in that order."""
    parts = {name: getattr(cohort, name)[rows] for name in ("labels", "subject_ids", "folds")}
    features = FeatureTensor(*(part[rows] for part in vars(cohort.features).values()))
    return dataclasses.replace(cohort, features=features, **parts)


def trained_on(cohort: CohortData, fold: int = 0, **changes):
    return train_fold(
        cohort=cohort,
        fold=fold,
        model_name="lstm",
        seed=0,
        imputation="forward",
        settings=TRAINING | changes,
        code={},
    )


def attacked(cohort: CohortData, trained, mode: str, **changes) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Outcomes and perturbations of fold 0, at the default settings but for `changes`."""
    attack = FoldAttack(
        cohort=cohort,
        checkpoint=Checkpoint(trained.model, trained.preprocessing, trained.details),
        variables=[v for v in load_variables() if v.name in cohort.variable_names],
        mode_name=mode,
        seed=0,
        fold=0,
        shard=Shard(0, 1),
        settings=ATTACK | changes,
    )
    tables = AttackTables.joined(list(attack_fold(attack)))
    return tables.outcomes.to_pandas(), tables.perturbations.to_pandas()


def updated(mode: str, d, gradient, weight: float, rate: float):
    """The perturbation after one update of `mode` from d (cells) with this gradient."""
    point, slope = (torch.as_tensor(part).reshape(1, -1) for part in (d, gradient))
    settings = SearchSettings(lambdas=(weight,), steps=9, rate=rate, kappa=0.0, chunk_rows=1)
    limit = torch.full_like(point, 9.0)
    seen = Seen(slope, -torch.ones(1), torch.tensor([[weight]]), torch.ones(1, 1), -limit, limit, settings)
    return load_mode(mode).update({"point": point}, seen)["point"].reshape(d.shape)


@contextmanager
def watching(kind: type[nn.Module], look) -> Iterator[None]:
    """Call `look(module, its inputs)` before each pass through a module of `kind`, wherever it is."""
    handle = register_module_forward_pre_hook(lambda m, given: look(m, given) if isinstance(m, kind) else None)
    try:
        yield
    finally:
        handle.remove()


@pytest.fixture(scope="module")
def clear() -> CohortData:
    """120 stays of 60 patients, 6 hours, 4 variables: a fast heart in the last two hours means death, always.

    In fold 0 the outcomes of six stays are wrong, so that the model that holds it out misclassifies them.
    """
    random = np.random.default_rng(0)
    scores = random.normal(size=(120, 6, 4))
    labels = random.permutation(np.repeat([0, 1], 30)).repeat(2)
    scores[:, 4:, 0] = np.where(labels == 1, 1.5, -1.5)[:, None] + 0.3 * scores[:, 4:, 0]
    cohort = cohort_of(
        FEW_USUAL + FEW_SPREAD * scores, labels, np.arange(60).repeat(2), tuple(variable.name for variable in FEW)
    )
    cohort.labels[np.flatnonzero(cohort.folds == 0)[::5]] ^= 1
    return cohort


@pytest.fixture(scope="module")
def trained(clear):
    """The model of fold 0 of the clear cohort."""
    return trained_on(clear)


@pytest.fixture
def records() -> Records:
    return Records()


def test_00_the_library_under_test_is_the_one_beside_these_tests():
    assert Path(ehr_attack.__file__).resolve().parents[1] == Path(__file__).resolve().parents[2] / "scripts"


# --- 1: the LSTM read variables one after the other, as a sequence of 19 steps of 48 features


def test_01_training_and_attack_read_48_hours_of_19_variables():
    random = np.random.default_rng(0)
    cohort = cohort_of(random.normal(size=(24, 48, 19)), np.arange(24) % 2, np.arange(24), NAMES)
    passes = []

    def look(lstm, given):
        passes.append((lstm.batch_first, tuple(given[0].shape[1:])))

    try:
        with watching(nn.LSTM, look):
            made = trained_on(cohort, epochs=1)
            in_training = len(passes)
            attacked(cohort, made, "ista", steps=2, chunk_rows=8, path="autograd")
    finally:  # a wrong shape may end the training, too
        assert set(passes) == {(True, (48, 19))}
    assert 0 < in_training < len(passes)


def test_01_all_of_the_state_that_is_read_has_seen_every_hour():
    """Half of a bidirectional LSTM's output at the last step has seen that step alone."""
    model, read = build_model("lstm", 3).double(), []
    inputs = torch.rand((1, 5, 3), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    changed = inputs.clone()
    changed[:, 0] += 0.5
    with watching(nn.Linear, lambda _, given: read.append(given[0])):
        model(inputs), model(changed)
    state, state_changed = read[0], read[len(read) // 2]
    assert state.numel() >= 128 and (state != state_changed).all()


# --- 2: the attack could not move at its own settings, and flipped only by what was left of earlier patients


@pytest.mark.parametrize("mode", MODES)
def test_02_the_default_settings_flip_nearly_every_stay(clear, trained, mode):
    outcomes, _ = attacked(clear, trained, mode)
    smallest = outcomes[outcomes["lambda"] == outcomes["lambda"].min()]
    assert (smallest["l1"] > 0).all()
    assert outcomes.groupby("stay_id")["flipped"].any().mean() >= 0.95


@pytest.mark.parametrize("mode", MODES)
def test_02_a_result_depends_neither_on_the_order_nor_on_who_was_attacked_before(clear, trained, mode):
    few = {"lambdas": {"count": 4, "low": 0.0005, "high": 0.015}}

    def rows(cohort):
        outcomes, cells = attacked(cohort, trained, mode, **few)
        key = ["stay_id", "lambda"]
        order = {"by": [*key, "hour", "variable"], "ignore_index": True}
        return outcomes.sort_values(key, ignore_index=True), cells.sort_values(**order)

    in_order, backwards = rows(clear), rows(picked(clear, np.arange(120)[::-1]))
    assert all(one.equals(other) for one, other in zip(in_order, backwards, strict=True))
    last = in_order[0]["stay_id"].max()
    alone = rows(picked(clear, np.array([last])))
    for one, other in zip(alone, in_order, strict=True):
        assert one.equals(other[other["stay_id"] == last].reset_index(drop=True))


def test_02_both_modes_move_alike_at_equal_places_of_their_grids(clear, trained):
    """While d keeps its sign, d - rate (g + lambda) - lambda = d - rate (g + (1 + 1 / rate) lambda)."""
    grids = [np.unique(attacked(clear, trained, mode, steps=1)[0]["lambda"]) for mode in MODES]
    assert grids[0] == pytest.approx(np.geomspace(0.0005, 0.015, 25))
    assert grids[1] == pytest.approx(51 * np.geomspace(0.0005, 0.015, 25))
    d, gradient = torch.full((25, 1, 1), 0.5), torch.full((25, 1, 1), -0.3)
    steps = [
        torch.cat([updated(mode, *row, 0.02) for row in zip(d, gradient, grid.tolist(), strict=True)])
        for mode, grid in zip(MODES, grids, strict=True)
    ]
    assert (steps[0] < 0.5).any() and torch.allclose(steps[0], steps[1], atol=1e-6)


def test_02_the_model_is_attacked_as_it_predicts():
    """Dropout, which acts in training only, would make flips a matter of luck."""

    class Wavering(nn.Module):
        def __init__(self):
            super().__init__()
            self.dropout = nn.Dropout(0.5)

        def forward(self, inputs, lengths=None):
            margin = self.dropout(inputs.flatten(1)).sum(dim=1) - 6.5
            return torch.stack([-margin, margin], dim=1)

    free = torch.ones((8, 3, 4), dtype=torch.bool)
    victims = Victims(torch.full((8, 3, 4), 0.5), torch.full((8,), 3), torch.zeros(8, dtype=torch.int64), free)
    settings = SearchSettings(lambdas=(0.1,), steps=50, rate=0.02, kappa=0.0, chunk_rows=8)
    with Progress("test", 8, "rows") as progress:
        found = list(search(Wavering(), victims, load_mode("ista"), settings, progress))
    # Every cell rises by 0.02 x (2 - 0.1) a step; the sum of 12 cells must rise from 6 past 6.5: in two steps.
    assert torch.cat([block.steps for block in found]).tolist() == [2] * 8


# --- 3: "L1" was the L2 norm, and the threshold was not scaled by the step size


def test_03_the_step_is_the_proximal_map_of_rate_times_lambda_l1():
    """Against the definition, the u that minimises (u - z)^2 / 2 + rate lambda |u|, on a fine grid of u."""
    random = np.random.default_rng(0)
    d, gradient, rate, weight = random.normal(size=(1, 3, 4)), random.normal(size=(1, 3, 4)), 0.1, 4.0
    stepped = updated("ista", d, gradient, weight, rate)
    grid = np.linspace(-3, 3, 60_001)
    for cell in np.ndindex(d.shape):
        z = d[cell] - rate * gradient[cell]
        best = grid[np.argmin((grid - z) ** 2 / 2 + rate * weight * np.abs(grid))]
        assert float(stepped[cell]) == pytest.approx(best, abs=2e-4)


def test_03_the_published_step_by_hand():
    """d = 0.1 -0.2 0.3 0, g = 1 1 -2 0.4, rate 0.1, lambda 0.05: d - 0.1 (g + 0.05 sign d), then 0.05 nearer to 0."""
    d, gradient = torch.tensor([[[0.1, -0.2, 0.3, 0.0]]]), torch.tensor([[[1.0, 1.0, -2.0, 0.4]]])
    stepped = updated("sun2018", d, gradient, 0.05, 0.1)
    assert stepped.flatten().tolist() == pytest.approx([0.0, -0.245, 0.445, 0.0], abs=1e-6)


def test_03_the_recorded_l1_is_the_sum_of_all_changes(clear, trained):
    outcomes, cells = attacked(clear, trained, "sun2018", steps=30)
    flipped = outcomes[outcomes["flipped"]].set_index(["stay_id", "lambda"])
    changes = cells.assign(size=cells["delta_scaled"].abs()).groupby(["stay_id", "lambda"])["size"]
    total, root = changes.sum(), changes.apply(lambda size: np.sqrt((size**2).sum()))
    assert (flipped["n_changed"] > 1).any()
    assert flipped["l1"].to_numpy() == pytest.approx(total.loc[flipped.index].to_numpy(), rel=1e-5)
    assert flipped["l2"].to_numpy() == pytest.approx(root.loc[flipped.index].to_numpy(), rel=1e-5)


# --- 4: softmax before a cross-entropy that applies softmax again; no loss below log(1 + 1 / e) = 0.313


def test_04_a_model_that_is_surely_right_has_no_loss(trained):
    assert trained.history["train_loss"].iloc[-1] < 0.05
    assert trained.history["validation_loss"].min() < 0.05


def test_04_probabilities_come_near_0_and_1(trained):
    """The softmax of a softmax lies between 0.27 and 0.73."""
    assert trained.predictions["p_death"].min() < 0.05 and trained.predictions["p_death"].max() > 0.95


# --- 5: one model through all folds, scored on all data; folds by admission; attacks on training patients


def auroc_of_random_labels(seed: int) -> float:
    """The held-out AUROC over 60 patients of 10 stays each, easy to know again, whose outcomes are drawn at random."""
    random = np.random.default_rng(seed)
    subjects = np.arange(60).repeat(10)
    patients = np.where(random.random((60, 1, 19)) < 0.5, -1.0, 1.0)
    labels = random.permutation(np.arange(60) % 2).repeat(10)
    cohort = cohort_of(patients[subjects] + 0.1 * random.normal(size=(600, 3, 19)), labels, subjects, NAMES)
    stays = pd.DataFrame({"stay_id": np.arange(600), "subject_id": subjects})
    predictions = pd.concat([trained_on(cohort, fold, epochs=4).predictions for fold in range(4)])
    metrics = evaluate_predictions(predictions, stays, resamples=2)
    return float(metrics[(metrics["metric"] == "auroc") & metrics["fold"].isna()]["value"].item())


def test_05_random_labels_cannot_be_predicted():
    # With 60 patients one AUROC has a standard error of 0.08, and the mean of four one of 0.04.
    assert np.mean([auroc_of_random_labels(seed) for seed in range(4)]) == pytest.approx(0.5, abs=0.15)


def test_05_every_fold_is_trained_from_scratch(clear):
    alone = trained_on(clear, 1, epochs=1).predictions
    trained_on(clear, 2, epochs=1)
    assert trained_on(clear, 1, epochs=1).predictions.equals(alone)


def test_05_only_held_out_stays_are_scored():
    """Always right on training stays, always wrong on the two that were held out."""
    p_death, labels = [0.9, 0.1, 0.9, 0.1, 0.2, 0.8], np.array([1, 0, 1, 0, 1, 0], dtype=np.int8)
    split = ["train", "train", "validation", "validation", "test", "test"]
    table = pd.DataFrame({"stay_id": range(6), "label": labels, "p_death": p_death, "split": split})
    stays = table[["stay_id"]].assign(subject_id=table["stay_id"])
    metrics = evaluate_predictions(table.assign(model="lstm", seed=0, fold=0), stays, resamples=2)
    assert metrics.loc[metrics["metric"] == "auroc", "value"].tolist() == [0.0, 0.0]
    assert metrics["n_stays"].eq(2).all()


def test_05_no_patient_is_in_two_folds_or_splits(clear):
    by_patient = pd.DataFrame({"patient": clear.subject_ids, "fold": clear.folds, "split": split_stays(clear, 0, 0)})
    assert by_patient["split"].value_counts().gt(1).sum() == 3
    assert by_patient.groupby("patient").nunique().eq(1).all(axis=None)


@pytest.mark.parametrize("mode", MODES)
def test_05_the_attacked_are_all_held_out_and_correctly_classified(clear, trained, mode):
    predictions = trained.predictions
    right = (predictions["p_death"] > 0.5) == (predictions["label"] == 1)
    held_out = predictions["split"] == "test"
    assert 0 < (held_out & right).sum() < held_out.sum()
    outcomes, _ = attacked(clear, trained, mode, steps=1)
    assert set(outcomes["stay_id"]) == set(predictions.loc[held_out & right, "stay_id"])
    assert set(predictions.loc[held_out, "stay_id"]) == set(np.flatnonzero(clear.folds == 0))


# --- 6: GPP was a mean magnitude, and figures of "susceptibility" showed mean |perturbation|


def test_06_gpp_is_a_share_and_susceptibility_is_gmp_times_gpp(tmp_path):
    """|D| of four stays in one cell: 0.2, 0.4, 0, 0. GMP 0.4, GAP 0.15, GPP a half, S 0.2."""
    stays = pd.DataFrame({"stay_id": np.arange(4), "subject_id": np.arange(4), "fold": 0, "label": 0})
    attacks = pd.DataFrame({"seed": 0, "stay_id": np.arange(4), "lambda": 0.1, "success": True})
    magnitude = np.array([0.2, 0.4, 0.0, 0.0]).reshape(4, 1, 1)
    tables = MadeRun(stays, attacks, magnitude, np.ones((4, 1, 1), dtype=bool)).analysed(tmp_path)
    measured = "direction == '0_to_1' and policy == 'selected' and basis == 'all'"
    cells, variables, hours = (tables[name].query(measured) for name in ("cells", "variables", "hours"))
    assert cells[["gmp", "gap", "gpp", "s"]].iloc[0].tolist() == pytest.approx([0.4, 0.15, 0.5, 0.2])
    assert variables["s"].item() == pytest.approx(0.2) and hours["s"].item() == pytest.approx(0.2)


# --- 7: success was counted per optimiser step, with patients drawn with replacement


def attempts() -> pd.DataFrame:
    """Stay 1 flips at each of three lambdas, after five steps; stay 2 never does."""
    rows = pd.DataFrame({"stay_id": [1, 1, 1, 2, 2, 2], "lambda": [0.1, 0.2, 0.3] * 2})
    first = rows["stay_id"] == 1
    flags = dict.fromkeys(("flipped", "flipped_float64", "feasible"), first)
    return rows.assign(
        model="lstm", mode="ista", seed=0, fold=0, label=0, direction="0_to_1", steps=np.where(first, 5, 100),
        linf=0.3, l1=0.3, n_changed=1, n_changed_observed=1, n_edited=1,
        still_falling=~first, gradient_vanished=False, stuck_at_bounds=False, pruned=False, audited=False,
        selected=first & (rows["lambda"] == 0.3), **flags,
    )  # fmt: skip


def test_07_success_is_counted_in_stays():
    summary = attack_summary(attempts()).set_index("direction").loc["0_to_1"]
    assert summary[["n_attacked", "n_flipped", "n_feasible", "n_selected"]].tolist() == [2, 1, 1, 1]
    curves = success_curves(attempts(), n_cells=10).query("direction == '0_to_1'")
    assert curves.groupby("budget")["success_rate"].max().to_dict() == {"linf": 0.5, "share": 0.5}
    assert curves["n_attacked"].eq(2).all()


@pytest.mark.parametrize("mode", MODES)
def test_07_a_stay_is_drawn_once_and_has_one_row_a_lambda(clear, trained, mode):
    outcomes, _ = attacked(clear, trained, mode, steps=20, max_stays=16)
    assert outcomes["stay_id"].nunique() == 16
    assert outcomes.groupby("stay_id")["lambda"].nunique().eq(25).all() and len(outcomes) == 16 * 25


# --- 8: INR was labelled "Mg"; potassium and calcium came from blood gases only

# Item ids of MIMIC-III with a value each that no other one has, in the order of the paper's variables.
CHARTED = {
    "heart_rate": (220045, 81.0), "sbp": (220179, 122.0), "dbp": (220180, 63.0), "temperature": (223762, 37.5),
    "resp_rate": (220210, 18.0), "spo2": (220277, 97.0),
}  # fmt: skip
LABS = {
    "lactate": (50813, 1.9), "paco2": (50818, 41.0), "ph": (50820, 7.42), "albumin": (50862, 3.4),
    "bicarbonate": (50882, 24.0), "calcium": (50893, 9.1), "creatinine": (50912, 1.1), "glucose": (50931, 111.0),
    "magnesium": (50960, 2.1), "potassium": (50971, 4.3), "sodium": (50983, 139.0), "bun": (51006, 16.0),
    "platelets": (51265, 250.0),
}  # fmt: skip
INR, WHOLE_BLOOD_POTASSIUM, IONISED_CALCIUM = 51237, 50822, 50808


def fully_measured(stay: Stay) -> dict[str, float]:
    """Give `stay` one value of each variable at 02:30 and an INR; the values by name."""
    for item, value in CHARTED.values():
        stay.charted(item, value, hour=2.5)
    for item, value in LABS.values():
        stay.lab(item, value, hour=2.5)
    stay.lab(INR, 2.7, hour=2.5)
    return {name: value for name, (_, value) in (CHARTED | LABS).items()}


def test_08_every_item_lands_in_the_column_of_its_name(records, tmp_path):
    expected = fully_measured(records.patient().stay())
    assert list(expected) == list(NAMES)
    made = extracted(records, tmp_path)
    assert dict(zip(NAMES, features_of(made).values[0, 2].tolist(), strict=True)) == pytest.approx(expected)
    backwards = NAMES[::-1]
    values = features_of(made, backwards).values[0, 2].tolist()
    assert dict(zip(backwards, values, strict=True)) == pytest.approx(expected)


def test_08_potassium_and_calcium_are_those_of_serum(records, tmp_path):
    stay = a_usual_stay(records).lab(50971, 4.3, hour=1.5).lab(50893, 9.1, hour=1.5)
    stay.lab(WHOLE_BLOOD_POTASSIUM, 6.6, hour=5.5).lab(IONISED_CALCIUM, 1.2, hour=5.5)
    values = features_of(extracted(records, tmp_path)).values[0]
    for name, expected in (("potassium", 4.3), ("calcium", 9.1)):
        column = values[:, NAMES.index(name)]
        assert np.flatnonzero(~np.isnan(column)).tolist() == [1] and column[1] == pytest.approx(expected)


# --- 9: interpolation over the whole admission before the window was cut


def with_sodium(stay: Stay, later: list[tuple[float, float]]) -> None:
    """Sodium at hours 10 and 40 of the window, and `later`."""
    for hour, value in [(10.5, 130.0), (40.5, 150.0), *later]:
        stay.lab(SODIUM, value, hour)


@pytest.mark.parametrize("imputation", ["forward", "linear"])
def test_09_nothing_after_the_window_changes_an_input(tmp_path, imputation):
    made = []
    for name, later in {
        "none": [],
        "near": [(48.0, 170.0)],
        "many": [(48.5, 100.0), (50.0, 90.0), (71.0, 80.0)],
    }.items():
        records = Records()
        with_sodium(a_usual_stay(records, hours=96), later)
        made.append(extracted(records, tmp_path / name))
        assert made[-1].measurements["hours"].max() == 40.5
    inputs = [inputs_of(features_of(one), imputation).tobytes() for one in made]
    assert inputs[0] == inputs[1] == inputs[2]


def test_09_features_are_cut_at_the_window_even_where_measurements_are_not(records, tmp_path):
    with_sodium(a_usual_stay(records, hours=96), [])
    made = extracted(records, tmp_path)
    before = features_of(made)
    later = made.measurements.assign(hours=made.measurements["hours"] + 47.6, value=88.0)
    write_frame(pd.concat([made.measurements, later]), made.folder / "measurements.parquet", MEASUREMENTS)
    assert features_of(made).values.tobytes() == before.values.tobytes()


def test_09_forward_imputation_uses_no_later_observation(records, tmp_path):
    with_sodium(a_usual_stay(records), [])
    sodium = 500 * inputs_of(features_of(extracted(records, tmp_path)), "forward")[0, :, NAMES.index("sodium")]
    assert sodium == pytest.approx([100.0] * 10 + [130.0] * 30 + [150.0] * 8)


# --- 10: percentiles of all patients, rows doubled per ICU stay, an exact-48-rows filter, windows beyond discharge


def test_10_percentiles_and_medians_are_those_of_the_training_stays(clear):
    extreme = clear.features.values.copy()
    extreme[clear.folds == 0] = 1e4
    fitted = trained_on(
        dataclasses.replace(clear, features=dataclasses.replace(clear.features, values=extreme)), epochs=1
    )
    split = fitted.predictions["split"].to_numpy()
    cells = clear.features.values[split == "train"].reshape(-1, len(FEW)).astype(np.float64)
    assert fitted.preprocessing.low == pytest.approx(np.percentile(cells, 1, axis=0))
    assert fitted.preprocessing.high == pytest.approx(np.percentile(cells, 99, axis=0))
    assert fitted.preprocessing.median == pytest.approx(np.median(cells, axis=0))


def test_10_a_charted_value_counts_in_one_stay_of_an_admission(records, tmp_path):
    """The second ICU stay begins a day after the first, so that the windows of the two overlap."""
    first = records.patient().stay(hours=60).charted(HEART_RATE, 80, hour=30.5)
    second = first.next_stay(after_days=1).charted(HEART_RATE, 90, hour=30.5)
    second.icustay["hadm_id"] = first.icustay["hadm_id"]
    made = extracted(records, tmp_path)
    assert made.stays["stay_id"].tolist() == [first.stay_id, second.stay_id]
    assert [made.cells("heart_rate", stay) for stay in (first, second)] == [[(30.5, 80.0)], [(30.5, 90.0)]]


def test_10_stays_measured_in_few_hours_are_kept_with_all_48(records, tmp_path):
    dense, sparse = a_usual_stay(records), a_usual_stay(records, died_at_hour=60)
    for hour in range(48):
        dense.charted(HEART_RATE, 80, hour)
    features = features_of(extracted(records, tmp_path))
    assert features.stay_ids.tolist() == [dense.stay_id, sparse.stay_id]
    assert features.n_hours.tolist() == [48, 48] and (~np.isnan(features.values)).sum(axis=(1, 2)).tolist() == [48, 1]
    assert len(pd.read_parquet(tmp_path / "extract" / "features.parquet")) == 2 * 48


def test_10_by_default_no_window_runs_past_discharge_or_death(records, tmp_path):
    whole = a_usual_stay(records, hours=48)
    a_usual_stay(records, hours=47.9)
    a_usual_stay(records, died_at_hour=47.9)
    made = extracted(records, tmp_path, min_icu_hours=24)
    assert made.stays["stay_id"].tolist() == [whole.stay_id] and made.excluded() == {"full_window": 2}


def test_10_hours_after_discharge_are_masked_where_short_stays_are_kept(tmp_path):
    """The ICU stay ends at hour 30; the ward's values at hours 35 and 40 change neither features nor prediction."""
    probabilities = []
    for name, on_the_ward in {"without": [], "with": [(35.5, 170.0), (40.5, 100.0)]}.items():
        records = Records()
        stay = a_usual_stay(records, hours=30).lab(SODIUM, 130, hour=1.5)
        for hour, value in on_the_ward:
            stay.lab(SODIUM, value, hour)
        features = features_of(extracted(records, tmp_path / name, min_icu_hours=24, require_full_window=False))
        assert features.n_hours.tolist() == [30] and np.isnan(features.values[:, 30:]).all()
        torch.manual_seed(0)
        inputs = torch.from_numpy(inputs_of(features, "forward"))
        assert not inputs[:, 30:].any()
        probabilities.append(build_model("lstm", 19)(inputs, torch.from_numpy(features.n_hours)))
    assert torch.equal(*probabilities)
