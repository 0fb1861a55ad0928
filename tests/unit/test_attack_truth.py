"""Attacks where the smallest flip is known: closed forms on linear models, exhaustive search on a tiny LSTM."""

import copy
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from ehr_attack.attacks import load_mode, run_attack
from ehr_attack.attacks.ead import BETA
from ehr_attack.attacks.engine import search
from ehr_attack.attacks.fold import FoldAttack, Shard, attack_fold
from ehr_attack.attacks.gradients import gradient_path
from ehr_attack.attacks.library import LAMBDAS
from ehr_attack.attacks.mode import SearchSettings
from ehr_attack.attacks.records import AttackTables
from ehr_attack.attacks.rows import Victims
from ehr_attack.checkpoint import Checkpoint
from ehr_attack.inputs import model_inputs
from ehr_attack.models.lstm import LSTMClassifier
from ehr_attack.progress import Progress
from training_builder import VARIABLES, made_up_cohort, train

KAPPA = 0.01
HOURS, FEATURES = 4, 3
SEEDS = range(6)


class Linear(nn.Module):
    """logits (-m / 2, m / 2) with m = weight . x + bias."""

    def __init__(self, weight: torch.Tensor, bias: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.bias = bias

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        margin = (inputs * self.weight).flatten(1).sum(dim=1) + self.bias
        return torch.stack([-margin / 2, margin / 2], dim=1)


@dataclass
class Case:
    """A linear model, one survivor that it recognises, and what its death would take."""

    model: Linear
    inputs: torch.Tensor
    missing: float

    @property
    def gains(self) -> np.ndarray:
        """How much the margin gains by a unit of each cell, and how far each may go: (2, cells), most gain first."""
        weight, x = self.model.weight.detach().double().flatten(), self.inputs.double().flatten()
        room = torch.where(weight > 0, 1.0 - x, x)
        order = weight.abs().argsort(descending=True)
        return torch.stack([weight.abs()[order], room[order]]).numpy()

    def smallest_l1(self) -> float:
        """Cells are filled in the order of |w|, the last one in part: the fractional knapsack."""
        left, spent = self.missing, 0.0
        for gain, room in self.gains.T:
            part = min(room, left / gain)
            spent, left = spent + part, left - part * gain
            if left <= 0:
                return spent
        raise AssertionError("the box must hold a flip")

    def l1_of_the_smallest_elastic_net(self) -> float:
        """Of the flip that minimises |d|_1 + |d|_2^2 / beta: |d| = clip(beta (mu |w| - 1) / 2, 0, room) for a mu."""

        def filled(mu: float) -> np.ndarray:
            return np.clip(BETA * (mu * self.gains[0] - 1.0) / 2.0, 0.0, self.gains[1])

        low, high = 0.0, 1e6
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (middle, high) if filled(middle) @ self.gains[0] < self.missing else (low, middle)
        return float(filled(high).sum())

    def smallest_l0(self) -> int:
        """So many of the cells whose full room gains the most."""
        full = np.sort(self.gains.prod(axis=0))[::-1].cumsum()
        return int(np.searchsorted(full, self.missing)) + 1


def case(seed: int, share: float) -> Case:
    """Random weights and inputs; `share` of all that the box can gain is needed for a flip by KAPPA."""
    random = torch.Generator().manual_seed(seed)
    weight = torch.randn((HOURS, FEATURES), generator=random)
    inputs = torch.rand((1, HOURS, FEATURES), generator=random)
    reachable = Case(Linear(weight, 0.0), inputs, 0.0).gains.prod(axis=0).sum()
    missing = share * float(reachable)
    bias = KAPPA - missing - float((weight * inputs[0]).sum())
    return Case(Linear(weight, bias), inputs, missing)


def attacked(of: Case, mode: str, **settings):
    return run_attack(of.model, of.inputs, [0], mode=mode, kappa=KAPPA, progress=False, **settings)


def smallest(result, norm: str) -> float:
    (value,) = result.smallest(norm)[norm]
    return float(value)


# Lambda |d|_1 holds a cell still where lambda exceeds |w|, so that only a grid that reaches up to the heaviest weight
# can single it out.
GRID = np.geomspace(0.02, 2.5, 40).tolist()
EAD = {"lambdas": GRID, "steps": 1000, "rate": 0.01}
SHARES = [0.05, 0.5, 0.9]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("share", SHARES)
def test_the_smallest_l1_flip_of_a_linear_model_is_found(seed, share):
    """One cell carries it, or several, up to their bounds in the order of |w|."""
    of = case(seed, share)
    found, truth = smallest(attacked(of, "fmn_l1", steps=1500), "l1"), of.smallest_l1()
    assert truth * (1 - 1e-5) <= found <= truth * 1.01


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("share", SHARES)
def test_ead_finds_a_flip_no_larger_than_that_of_the_smallest_elastic_net(seed, share):
    """It minimises |d|_1 with a part of |d|_2^2, which spreads the change over more cells than |d|_1 alone would."""
    of = case(seed, share)
    found = smallest(attacked(of, "ead", **EAD), "l1")
    assert of.smallest_l1() * (1 - 1e-5) <= found <= of.l1_of_the_smallest_elastic_net() * 1.02


def test_the_cases_need_one_cell_and_several():
    counts = {share: [case(seed, share).smallest_l0() for seed in SEEDS] for share in SHARES}
    assert min(counts[0.05]) == 1 and min(counts[0.5]) >= 2 and max(counts[0.9]) >= 7


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("share", [0.05, 0.5, 0.8])
def test_the_fewest_cells_that_flip_a_linear_model_are_found(seed, share):
    of = case(seed, share)
    assert smallest(attacked(of, "sigma_zero", steps=1000), "n_changed") == of.smallest_l0()


def test_without_bounds_the_published_update_needs_one_cell():
    """A weight far above the rest: the perturbation is that cell's alone, |d| just over what is missing / |w|."""
    weight = torch.full((HOURS, FEATURES), 0.2)
    weight[2, 1] = -1.0
    of = Case(Linear(weight, -3.0), torch.full((1, HOURS, FEATURES), 0.5), 0.0)
    rate, heavy = 0.005, 0.7
    # The effective weight of |d|_1 is (1 + 1 / rate) lambda; it lies between the light and the heavy cells' weights.
    result = attacked(of, "sun2018", lambdas=[heavy / (1 + 1 / rate)], steps=4000, rate=rate)
    ((_, row),) = result.outcomes.iterrows()
    missing = 3.0 - 0.5 * (11 * 0.2 - 1.0)
    assert (row["flipped"], row["n_changed"]) == (True, 1)
    assert row["l1"] == pytest.approx(missing, abs=2 * rate)


GRID_STEPS = 20


def tiny_lstm(seed: int) -> LSTMClassifier:
    torch.manual_seed(seed)
    model = LSTMClassifier(2, hidden_size=6, dense_size=4)
    with torch.no_grad():  # an untrained network hardly reacts to its inputs and sees one class
        for parameter in model.parameters():
            parameter.mul_(3.0)
        logits = model(torch.rand((5000, 2, 2), generator=torch.Generator().manual_seed(seed)))
        model.output.bias[1] -= (logits[:, 1] - logits[:, 0]).quantile(0.7)
    return model


def exhaustive(model: nn.Module, x: torch.Tensor, label: int) -> tuple[float, int]:
    """The smallest L1 norm and the fewest cells of all flips of x (2, 2) whose changed cells lie on the grid."""
    levels = torch.linspace(0.0, 1.0, GRID_STEPS + 1)
    points = torch.cartesian_prod(*(torch.cat([levels, value[None]]) for value in x.flatten())).view(-1, 2, 2)
    with torch.no_grad():
        logits = model(points)
    flips = points[(logits[:, 1 - label] - logits[:, label]) > KAPPA]
    if not len(flips):
        return np.inf, 0
    return float((flips - x).abs().sum(dim=(1, 2)).min()), int((flips != x).sum(dim=(1, 2)).min())


@pytest.fixture(scope="module", params=[0, 1, 2])
def tiny(request):
    """A tiny LSTM, records of both classes that can be flipped within the box, and the smallest flips of each."""
    model = tiny_lstm(request.param)
    inputs = torch.rand((12, 2, 2), generator=torch.Generator().manual_seed(request.param))
    with torch.no_grad():
        labels = model(inputs).argmax(dim=1)
    truth = np.array([exhaustive(model, x, int(label)) for x, label in zip(inputs, labels, strict=True)])
    there = np.isfinite(truth[:, 0])
    assert there.sum() >= 6 and 0 < labels[there].sum() < there.sum(), "the case must hold flips in both directions"
    return model, inputs[there], labels[there], truth[there]


@pytest.mark.parametrize("mode", ["ead", "fmn_l1", "sigma_zero"])
def test_what_an_exhaustive_search_of_a_tiny_lstm_finds_is_found(tiny, mode):
    """Up to the grid's step from below, since the attacks are not bound to it, and a few percent from above."""
    model, inputs, labels, truth = tiny
    settings = {"lambdas": np.geomspace(0.005, 10.0, 60).tolist(), "rate": 0.05} if mode == "ead" else {}
    result = run_attack(model, inputs, labels, mode=mode, steps=500, kappa=KAPPA, progress=False, **settings)
    norm, column = ("n_changed", 1) if mode == "sigma_zero" else ("l1", 0)
    found = result.smallest(norm).set_index("sample")[norm].reindex(range(len(inputs))).to_numpy()
    step = 1.0 / GRID_STEPS
    slack = 0.0 if mode == "sigma_zero" else step
    assert np.isfinite(found).all(), "every record that can be flipped must be"
    assert (found >= truth[:, column] - 4 * slack).all()
    assert np.median(found / truth[:, column]) <= 1.02
    assert (found <= 1.25 * truth[:, column] + slack).mean() >= 0.8


@pytest.fixture(scope="module")
def cohort():
    return made_up_cohort()


@pytest.fixture(scope="module")
def trained(cohort):
    return train(cohort, epochs=15)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["ista", "ead", "fmn_l1", "sigma_zero"])
def test_twice_the_steps_change_success_by_less_than_a_point(cohort, trained, mode):
    """On the correctly classified stays of the made-up cohort; two hours may change, so that not all can be flipped."""
    features = cohort.features
    inputs = model_inputs(trained.preprocessing, "values", features.values, features.carry_in, features.n_hours)
    mutable = np.zeros(inputs.shape[1:], dtype=bool)
    mutable[3:5] = True

    def success(steps: int) -> float:
        result = run_attack(
            trained.model, inputs, cohort.labels, mode=mode, steps=steps, rate=0.05, mutable=mutable, progress=False,
            lambdas=[21 * weight for weight in LAMBDAS[::4]] if mode in ("ista", "ead") else None,
        )  # fmt: skip
        assert result.n_correct >= 120
        return result.success_rate

    at_default, at_twice = success(200), success(400)
    assert at_default > 0.2, "the case must hold flips"
    assert abs(at_twice - at_default) < 0.01


SETTINGS = {
    "lambdas": {"count": 3, "low": 0.0005, "high": 0.015}, "steps": 60, "rate": 0.05, "kappa": KAPPA,
    "mutable": "observed", "max_stays": None, "shards": 1, "prune": False, "chunk_rows": None, "device": "cpu",
    "path": "auto",
    "precision": "float32", "mutable_hours": None,
}  # fmt: skip


def outcomes_of(cohort, trained):
    """All outcomes of fold 0 in mode `ista`, as a frame."""
    attack = FoldAttack(
        cohort=cohort,
        checkpoint=Checkpoint(trained.model, trained.preprocessing, {"model": "lstm", "inputs": "values"}),
        variables=VARIABLES,
        mode_name="ista",
        seed=0,
        fold=0,
        shard=Shard(0, 1),
        settings=SETTINGS,
    )
    return AttackTables.joined(list(attack_fold(attack))).outcomes.to_pandas()


def test_a_stay_with_nothing_recorded_ends_unchanged_and_the_others_do_not_notice(cohort, trained):
    """Where only recorded cells may change, it has none: no flip, no change, and it says that it was held."""
    before = outcomes_of(cohort, trained)
    values = cohort.features.values.copy()
    # The stay whose imputed record, medians throughout, is classified correctly: which ones are, the model decides.
    medians = torch.from_numpy(
        model_inputs(
            trained.preprocessing, "values", np.full((1, *values.shape[1:]), np.nan),
            np.full((1, values.shape[2]), np.nan), np.array([values.shape[1]]),
        )
    )  # fmt: skip
    label = int(trained.model(medians, torch.tensor([values.shape[1]])).argmax())
    stay = int(np.flatnonzero((cohort.folds == 0) & (cohort.labels == label))[0])
    values[stay] = np.nan
    after = outcomes_of(replace(cohort, features=replace(cohort.features, values=values)), trained)
    empty = after[after["stay_id"] == stay]
    assert len(empty) == 3
    assert not empty[["flipped", "flipped_float64", "feasible"]].to_numpy().any()
    assert empty["stuck_at_bounds"].all() and (empty["l1"] == 0).all()
    others = [frame[frame["stay_id"] != stay].reset_index(drop=True) for frame in (before, after)]
    pd.testing.assert_frame_equal(*others)


def test_with_no_stay_classified_correctly_there_is_nothing_to_attack(cohort, trained):
    """Of the stays that the model recognises, one that always says the opposite recognises none."""
    turned = copy.deepcopy(trained)
    with (
        torch.no_grad()
    ):  # the output of every stay that the model recognises is turned around, and the others left out
        for name in ("weight", "bias"):
            getattr(turned.model.output, name).copy_(getattr(trained.model.output, name).flip(0))
    before = outcomes_of(cohort, trained)["stay_id"].unique()
    folds = np.where(np.isin(cohort.features.stay_ids, before), 0, 1).astype(np.int32)
    recognised = replace(cohort, folds=folds)
    assert len(outcomes_of(recognised, trained)["stay_id"].unique()) == len(before) > 0
    assert outcomes_of(recognised, turned).empty


@pytest.mark.parametrize("path", ["autograd", "manual"])
@pytest.mark.parametrize("mode", ["sun2018", "ista", "ead", "fmn_l1", "sigma_zero"])
def test_a_record_that_is_no_number_fails_and_its_neighbours_do_not_notice(mode, path):
    """The engine itself, below the checks of `run_attack`: the row ends at once, without a flip or a change."""
    model = tiny_lstm(0)
    inputs = torch.rand((5, 2, 2), generator=torch.Generator().manual_seed(1))
    labels = model(inputs).argmax(dim=1).detach()
    clean = {key: value for key, value in searched(model, inputs, labels, mode, path).items() if key != 2}
    inputs[2, 0, 1] = torch.nan
    broken = searched(model, inputs, labels, mode, path)
    point, steps, flipped, vanished = broken.pop(2)
    assert not flipped and vanished and not point.any() and steps <= 1
    assert broken.keys() == clean.keys()
    for stay, (point, *rest) in clean.items():
        assert torch.equal(broken[stay][0], point) and list(broken[stay][1:]) == rest


def searched(model, inputs, labels, mode_name, path):
    """By stay: the point found at a lambda, the steps, whether it flipped, and whether its gradient vanished."""
    mode = load_mode(mode_name)
    settings = SearchSettings((0.005 * (mode.lambda_factor(0.02) or 1.0),), 40, 0.02, KAPPA, chunk_rows=8)
    victims = Victims(inputs, torch.full((len(inputs),), 2), labels, torch.ones_like(inputs, dtype=torch.bool))
    rows = {}
    with Progress("test", len(inputs), "rows") as progress:
        way = gradient_path(model, path, inputs.device)
        for block in search(model, victims, mode, settings, progress, path=way):
            for i, stay in enumerate(block.stay.tolist()):
                rows[stay] = (block.point[i], int(block.steps[i]), bool(block.flipped[i]), bool(block.vanished[i]))
    return rows
