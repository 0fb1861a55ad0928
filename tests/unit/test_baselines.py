"""Baselines change as much as the attack that they are matched to, where they say, and the same in any shard."""

import numpy as np
import pandas as pd
import pytest
import torch
from test_attack_engine import Linear

from ehr_attack.attacks.baselines import Budget, gradient_sign, last_hours, random_cells, random_noise
from ehr_attack.attacks.gradients.autograd import AutogradPath
from ehr_attack.attacks.mode import SearchSettings
from ehr_attack.attacks.one_step import perturb_once
from ehr_attack.attacks.rows import Victims
from ehr_attack.attacks.space import CellSpace
from ehr_attack.progress import Progress
from ehr_attack.schemas.attacks import OUTCOMES, PERTURBATIONS
from ehr_attack.storage import write_frame

HOURS, FEATURES = 6, 4
MAGNITUDES = np.array([0.3, 0.2, 0.1])
MUTABLE = np.ones((HOURS, FEATURES), dtype=bool)
MUTABLE[:, 3] = False
LOW, HIGH = -0.5 * MUTABLE, 0.5 * MUTABLE
GRADIENT = np.random.default_rng(0).normal(size=(HOURS, FEATURES))


def random():
    return np.random.default_rng(5)


def test_random_cells_take_the_same_magnitudes():
    change = random_cells(MAGNITUDES, GRADIENT, LOW, HIGH, random())
    assert sorted(np.abs(change[change != 0])) == pytest.approx(sorted(MAGNITUDES))
    assert not change[:, 3].any()
    draws = (random_cells(MAGNITUDES, GRADIENT, LOW, HIGH, np.random.default_rng(seed)) for seed in range(60))
    places = [tuple(np.argwhere(draw)[0]) for draw in draws]
    assert len(set(places)) > 5, "the cells must be drawn anew"


def test_noise_reaches_every_mutable_cell_and_the_same_sum():
    change = random_noise(MAGNITUDES, GRADIENT, LOW, HIGH, random())
    assert ((change != 0) == MUTABLE).all()
    assert np.abs(change).sum() == pytest.approx(0.6)


def test_the_gradient_sign_steps_evenly_against_the_gradient():
    change = gradient_sign(MAGNITUDES, GRADIENT, LOW, HIGH, random())
    np.testing.assert_allclose(change[MUTABLE], -np.sign(GRADIENT[MUTABLE]) * 0.6 / MUTABLE.sum())
    assert not change[~MUTABLE].any()


def test_the_last_hours_first():
    change = last_hours(MAGNITUDES, GRADIENT, LOW, HIGH, random())
    assert sorted(map(tuple, np.argwhere(change))) == [(5, 0), (5, 1), (5, 2)]
    assert change[5, 2] == pytest.approx(-np.sign(GRADIENT[5, 2]) * 0.3)


@pytest.mark.parametrize("baseline", [random_cells, random_noise, gradient_sign, last_hours])
def test_with_no_cell_to_change_nothing_changes(baseline):
    assert not baseline(MAGNITUDES, GRADIENT, 0.0 * LOW, 0.0 * HIGH, random()).any()


def test_the_budget_is_that_of_the_selected_attacks(tmp_path):
    shared = {"model": "lstm", "mode": "ista", "seed": 0, "fold": 0}
    rows = pd.DataFrame({"stay_id": [7, 7, 8], "lambda": [0.1, 0.2, 0.1], "selected": [False, True, False]}).assign(
        **shared
    )
    for name in OUTCOMES.names:
        rows[name] = rows.get(name, "0_to_1" if name == "direction" else 0)
    cells = pd.DataFrame(
        {"stay_id": [7, 7, 7, 8], "lambda": [0.1, 0.2, 0.2, 0.1], "delta_scaled": [0.9, -0.1, 0.4, 0.5]}
    ).assign(**shared, hour=0, variable="ph", delta_clinical=0.0, observed=True)
    write_frame(rows, tmp_path / "outcomes.parquet", OUTCOMES)
    write_frame(cells, tmp_path / "cells.parquet", PERTURBATIONS)
    budget = Budget.read(str(tmp_path / "outcomes.parquet"), str(tmp_path / "cells.parquet"))
    assert {stay: sizes.tolist() for stay, sizes in budget.magnitudes.items()} == {7: [0.4, 0.1]}
    assert budget.of(np.array([8, 7])).tolist() == [False, True]


def perturbed(victims, baseline, chunk_rows=4):
    """Points by key, of one model whose margin is the sum of all cells less 12."""
    model = Linear(torch.ones(HOURS, FEATURES), bias=-12.0)
    budget = Budget({int(key): MAGNITUDES for key in victims.keys})
    settings = SearchSettings((float("nan"),), steps=1, rate=0.1, kappa=0.01, chunk_rows=chunk_rows)
    space, path = CellSpace(victims.inputs, victims.mutable), AutogradPath(model)
    with Progress("test", 1, quiet=True) as progress:
        blocks = list(perturb_once(victims, space, path, baseline, budget, settings, (3, 0), progress))
    points = torch.cat([block.point for block in blocks])
    flipped = torch.cat([block.flipped for block in blocks])
    assert torch.cat([block.stay for block in blocks]).tolist() == list(range(len(victims.inputs)))
    for place, point in enumerate(points):
        margin = float((victims.inputs[place].flatten() + point).sum()) - 12.0
        assert bool(flipped[place]) == (margin > 0.01)
    return dict(zip(victims.keys.tolist(), points.tolist(), strict=True)), flipped


def made_up(count=11):
    inputs = torch.rand((count, HOURS, FEATURES), generator=torch.Generator().manual_seed(1)) * 0.9
    inputs += ((11.7 - inputs.flatten(1).sum(1)) / inputs[0].numel())[:, None, None]  # each sums to 11.7
    free = torch.from_numpy(MUTABLE).expand_as(inputs)
    labels, lengths = torch.zeros(count, dtype=torch.int64), torch.full((count,), HOURS)
    return Victims(inputs.clamp(0, 1), lengths, labels, free, keys=torch.arange(count) + 500)


@pytest.mark.parametrize("baseline", [random_cells, random_noise, gradient_sign, last_hours])
def test_results_do_not_depend_on_shards_and_stay_in_the_box(baseline):
    victims = made_up()
    whole, _ = perturbed(victims, baseline)
    shards = [perturbed(victims.subset(torch.arange(start, 11, 2)), baseline, chunk_rows=3)[0] for start in (0, 1)]
    assert shards[0] | shards[1] == whole
    for place, point in enumerate(whole.values()):
        changed = victims.inputs[place].flatten() + torch.tensor(point)
        assert changed.min() >= 0 and changed.max() <= 1


def test_a_sum_that_the_gradient_sign_raises_flips():
    """All cells rise by 0.6 in all, 0.3 is missing: every stay flips; random signs would not."""
    _, flipped = perturbed(made_up(), gradient_sign)
    assert flipped.all()


@pytest.mark.parametrize("baseline", [random_cells, random_noise, gradient_sign, last_hours])
def test_the_whole_budget_is_spent_where_there_is_room(baseline):
    """Cells at the end of their range go the other way, or others take their part; the limits hold."""
    draws = np.random.default_rng(8)
    for _ in range(40):
        values = np.where(draws.random((HOURS, FEATURES)) < 0.4, draws.integers(0, 2, (HOURS, FEATURES)), 0.5)
        low, high = -values * MUTABLE, (1 - values) * MUTABLE
        change = baseline(MAGNITUDES, draws.normal(size=(HOURS, FEATURES)), low, high, draws)
        assert (change >= low).all() and (change <= high).all()
        assert np.abs(change).sum() == pytest.approx(0.6, abs=1e-6)
