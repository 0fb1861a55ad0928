"""The engine against a slow obvious implementation, one row at a time, and against closed forms."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from ehr_attack.attacks import load_mode
from ehr_attack.attacks.engine import search
from ehr_attack.attacks.ista import ISTA
from ehr_attack.attacks.mode import SearchSettings
from ehr_attack.attacks.rows import Victims
from ehr_attack.models import build_model
from ehr_attack.progress import Progress

HOURS, FEATURES = 6, 4


class Free(ISTA):
    """Textbook ISTA without the box."""

    constrained = False


class Linear(nn.Module):
    """logits (-m/2, m/2) with m = weight . x + bias: the flip of smallest L1 norm is known in closed form."""

    def __init__(self, weight, bias):
        super().__init__()
        self.weight = nn.Parameter(torch.as_tensor(weight, dtype=torch.float32))
        self.bias = bias

    def forward(self, inputs, lengths=None):
        margin = (inputs.flatten(1) * self.weight.flatten()).sum(dim=1) + self.bias
        return torch.stack([-margin / 2, margin / 2], dim=1)


def small_lstm(seed=0):
    torch.manual_seed(seed)
    model = build_model("lstm", FEATURES)
    with torch.no_grad():  # an untrained network hardly reacts to its input and sees one class: make it react to both
        for parameter in model.parameters():
            parameter.mul_(2.0)
        model.output.weight.mul_(4.0)
        logits = model(torch.rand((200, HOURS, FEATURES), generator=torch.Generator().manual_seed(9)))
        model.output.bias[1] -= (logits[:, 1] - logits[:, 0]).median()
    return model


def victims_of(model, count=12, seed=1, lengths=None, mutable=None):
    """Random stays, labelled by the model's own predictions, so that all are classified correctly."""
    random = torch.Generator().manual_seed(seed)
    inputs = torch.rand((count, HOURS, FEATURES), generator=random)
    lengths = torch.full((count,), HOURS) if lengths is None else lengths
    labels = model(inputs, lengths).argmax(dim=1)
    mutable = torch.ones_like(inputs, dtype=torch.bool) if mutable is None else mutable
    return Victims(inputs, lengths, labels, mutable, constants=inputs[..., :0])


SETTINGS = SearchSettings(lambdas=(0.001, 0.004, 0.015), steps=60, rate=0.05, kappa=0.0, chunk_rows=8)


def run(model, victims, mode, settings=SETTINGS):
    """All finished rows as {(stay, position): (perturbation, steps, flipped)}."""
    total = len(victims.inputs) * len(settings.lambdas)
    rows = {}
    with Progress("test", total, "rows") as progress:
        for block in search(model, victims, mode, settings, progress):
            for i in range(len(block.stay)):
                key = (int(block.stay[i]), int(block.position[i]))
                assert key not in rows, "a row may finish only once"
                point = block.point[i].reshape(HOURS, FEATURES).numpy()
                rows[key] = (point, int(block.steps[i]), bool(block.flipped[i]))
    assert len(rows) == total, "every row must finish"
    return rows


def shrink(value, threshold):
    return np.sign(value) * max(abs(value) - threshold, 0.0)


def slow_attack(model, x, length, label, lam, mode_name, settings, boxed):
    """The algorithm in words: one stay, one lambda, cell by cell."""
    d = np.zeros_like(x)
    for step in range(settings.steps + 1):
        leaf = torch.tensor(x + d, dtype=torch.float32)[None].requires_grad_(True)
        logits = model(leaf, torch.tensor([length]))[0]
        other = 1 - label
        if (logits[other] - logits[label]).item() > settings.kappa:
            return d, step, True
        if step == settings.steps:
            return d, step, False
        (gradient,) = torch.autograd.grad(logits[label] - logits[other], leaf)
        g = gradient[0].numpy()
        for cell in np.ndindex(*x.shape):
            if mode_name == "sun2018":
                moved = d[cell] - settings.rate * (g[cell] + lam * np.sign(d[cell]))
                d[cell] = shrink(moved, lam)
            else:
                d[cell] = shrink(d[cell] - settings.rate * g[cell], settings.rate * lam)
                if boxed:
                    d[cell] = min(max(x[cell] + d[cell], 0.0), 1.0) - x[cell]
    raise AssertionError("unreachable")


@pytest.mark.parametrize(("mode_name", "scale"), [("sun2018", 1.0), ("ista", 21.0)])
def test_every_row_equals_the_slow_reference(mode_name, scale):
    model, mode = small_lstm(), load_mode(mode_name)
    victims = victims_of(model, count=6)
    settings = dataclasses.replace(SETTINGS, lambdas=tuple(scale * lam for lam in SETTINGS.lambdas))
    rows = run(model, victims, mode, settings)
    assert 0 < sum(flipped for _, _, flipped in rows.values()) < len(rows), "the case must hold flips and failures"
    for (stay, position), (perturbation, steps, flipped) in rows.items():
        expected, expected_steps, expected_flip = slow_attack(
            model,
            victims.inputs[stay].numpy().astype(np.float64),
            HOURS,
            int(victims.labels[stay]),
            settings.lambdas[position],
            mode_name,
            settings,
            boxed=mode.constrained,
        )
        assert (steps, flipped) == (expected_steps, expected_flip)
        np.testing.assert_allclose(perturbation, expected, atol=2e-5)


def test_rows_do_not_depend_on_their_neighbours():
    """Alone, in another order, or among others: the same bits."""
    model, mode = small_lstm(), load_mode("ista")
    victims = victims_of(model, count=11)
    together = run(model, victims, mode)
    order = torch.randperm(11, generator=torch.Generator().manual_seed(5))
    shuffled = run(model, victims.subset(order), mode)
    for new, old in enumerate(order.tolist()):
        single = victims.subset(torch.tensor([old]))
        alone = run(model, single, mode)
        for position in range(len(SETTINGS.lambdas)):
            for other in (shuffled[new, position], alone[0, position]):
                assert other[1:] == together[old, position][1:]
                assert np.array_equal(other[0], together[old, position][0])


def test_a_large_lambda_never_moves_and_says_so():
    model = small_lstm()
    victims = victims_of(model, count=3)
    rows = run(model, victims, load_mode("ista"), dataclasses.replace(SETTINGS, lambdas=(1e6,)))
    assert all(not d.any() and steps == SETTINGS.steps and not flipped for d, steps, flipped in rows.values())


def test_on_a_linear_model_one_cell_carries_the_smallest_flip():
    """margin = w . x + b with one heavy cell: ISTA with a large lambda changes that cell alone, by about |m| / |w|."""
    weight = torch.full((HOURS, FEATURES), 0.2)
    weight[4, 2] = 1.0
    model = Linear(weight, bias=-2.0)
    inputs = torch.full((1, HOURS, FEATURES), 0.1)  # margin 0.2 * 2.3 + 0.1 - 2 = -1.44
    mutable = torch.ones_like(inputs, dtype=torch.bool)
    victims = Victims(inputs, torch.tensor([HOURS]), torch.tensor([0]), mutable)
    free = Free()
    settings = SearchSettings(lambdas=(0.5,), steps=1000, rate=0.01, kappa=0.0, chunk_rows=2)
    ((perturbation, _, flipped),) = run(model, victims, free, settings).values()
    assert flipped
    assert np.argwhere(perturbation != 0).tolist() == [[4, 2]]
    assert perturbation[4, 2] == pytest.approx(1.44, abs=0.01)


def test_the_box_makes_a_linear_flip_spill_over_to_the_next_heaviest_cell():
    """The heavy cell may rise by 0.9 only and adds 0.9; the missing 0.54 comes from the cell of weight 0.9."""
    weight = torch.full((HOURS, FEATURES), 0.2)
    weight[4, 2], weight[1, 1] = 1.0, 0.9
    model = Linear(weight, bias=-2.07)  # margin 0.2 * 2.2 + 0.19 - 2.07 = -1.44
    inputs = torch.full((1, HOURS, FEATURES), 0.1)
    mutable = torch.ones_like(inputs, dtype=torch.bool)
    victims = Victims(inputs, torch.tensor([HOURS]), torch.tensor([0]), mutable)
    settings = SearchSettings(lambdas=(0.5,), steps=2000, rate=0.001, kappa=0.0, chunk_rows=2)
    ((perturbation, _, flipped),) = run(model, victims, load_mode("ista"), settings).values()
    assert flipped
    assert (inputs[0].numpy() + perturbation).max() <= 1.0
    assert sorted(map(tuple, np.argwhere(perturbation != 0))) == [(1, 1), (4, 2)]


def test_constrained_attacks_stay_in_the_box_and_in_the_mutable_cells():
    model = small_lstm()
    mutable = torch.zeros((8, HOURS, FEATURES), dtype=torch.bool)
    mutable[:, 2:, 1:] = True
    victims = victims_of(model, count=8, mutable=mutable)
    rows = run(model, victims, load_mode("ista"), dataclasses.replace(SETTINGS, rate=0.5))
    assert any(d.any() for d, _, _ in rows.values())
    for (stay, _), (perturbation, _, _) in rows.items():
        moved = victims.inputs[stay].numpy() + perturbation
        assert moved.min() >= 0.0 and moved.max() <= 1.0
        assert not perturbation[~mutable[stay].numpy()].any()


def test_hours_after_the_end_of_a_stay_are_never_changed():
    model = small_lstm()
    lengths = torch.tensor([2, 4, 6])
    victims = victims_of(model, count=3, lengths=lengths)
    rows = run(model, victims, load_mode("sun2018"))
    assert any(d.any() for d, _, _ in rows.values())
    for (stay, _), (perturbation, _, _) in rows.items():
        assert not perturbation[int(lengths[stay]) :].any()


def test_kappa_asks_for_a_margin():
    model = small_lstm()
    victims = victims_of(model, count=8)
    mode = load_mode("sun2018")
    plain = run(model, victims, mode)
    careful = run(model, victims, mode, dataclasses.replace(SETTINGS, kappa=0.05))
    flipped = [key for key, (_, _, success) in careful.items() if success]
    assert flipped
    for key in flipped:
        assert careful[key][1] >= plain[key][1]
        stay = key[0]
        logits = model(victims.inputs[stay : stay + 1] + torch.tensor(careful[key][0]), torch.tensor([HOURS]))[0]
        label = int(victims.labels[stay])
        assert (logits[1 - label] - logits[label]).item() > 0.05


def test_the_two_lambda_grids_give_like_attacks():
    """sun2018 at lambda and textbook ISTA at (1 + 1/rate) lambda: median changed cells agree within 20 %."""
    model = small_lstm(seed=3)
    victims = victims_of(model, count=40)
    grid, rate = np.geomspace(0.0005, 0.015, 7), 0.02
    settings = SearchSettings(lambdas=tuple(grid), steps=200, rate=rate, kappa=0.0, chunk_rows=64)
    published, textbook = load_mode("sun2018"), load_mode("ista")
    factor = textbook.lambda_factor(rate) / published.lambda_factor(rate)
    assert factor == pytest.approx(51.0)

    def median_changed(mode, lambdas):
        rows = run(model, victims, mode, dataclasses.replace(settings, lambdas=tuple(lambdas)))
        return np.median([np.count_nonzero(d) for d, _, flipped in rows.values() if flipped])

    changed = median_changed(published, grid)
    unboxed = Free()
    assert median_changed(unboxed, grid * factor) == pytest.approx(changed, rel=0.2)
    assert median_changed(unboxed, grid) > 1.2 * changed, "with the published grid the textbook step is not sparse"
