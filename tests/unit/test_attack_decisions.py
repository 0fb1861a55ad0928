"""When a row ends, what it reports and what is kept, on models of one line whose every step is known by hand."""

import dataclasses

import pytest
import torch
from torch import nn

from ehr_attack.attacks import load_mode
from ehr_attack.attacks.engine import search
from ehr_attack.attacks.gradients.autograd import AutogradPath
from ehr_attack.attacks.mode import Mode, SearchSettings, Seen, annealed
from ehr_attack.attacks.rows import Victims
from ehr_attack.progress import Progress

ONE_STEP = SearchSettings(lambdas=(0.0,), steps=10, rate=0.25, kappa=0.0, chunk_rows=1)


class Ramp(nn.Module):
    """The margin of death is weight . x - needed, and grows no further where it reaches `top`."""

    def __init__(self, weight, needed, top=None):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))
        self.needed, self.top = needed, top

    def forward(self, inputs, lengths=None):
        margin = inputs.flatten(1) @ self.weight - self.needed
        margin = margin if self.top is None else margin.clamp(max=self.top)
        return torch.stack([-margin / 2, margin / 2], dim=1)


class Scripted(Mode):
    """The points 0.9, 0.6, 0.8, 0.7 and 0.55 times lambda in the first number, and what stands beside them."""

    constrained = False
    stops_at_flip = False
    beside = (0.0, 0.0, 0.0, 0.0, 0.0)

    def update(self, state, seen):
        point = torch.zeros_like(state["point"])
        made = seen.made[:, 0].long()
        point[:, 0] = torch.tensor([0.9, 0.6, 0.8, 0.7, 0.55])[made] * seen.lambdas[:, 0]
        point[:, 1] = torch.tensor(self.beside)[made]
        return {"point": point}


class Counting(Scripted):
    norm = "l0"
    beside = (0.0, 0.1, 0.0, 0.1, 0.0)


class RowByRow(AutogradPath):
    """Sums of a few halves and quarters are exact, in any number of rows; how many rows were asked for is noted."""

    any_rows = True

    def __init__(self, model):
        super().__init__(model)
        self.rows = []

    def __call__(self, inputs, lengths, labels):
        self.rows.append(len(inputs))
        return super().__call__(inputs, lengths, labels)


def rows_of(model, records, mode, settings=ONE_STEP, mutable=None, path=None):
    """The finished rows, by stay and position; all stays are survivors of one hour."""
    inputs = torch.tensor(records)[:, None, :]
    mutable = torch.ones_like(inputs, dtype=torch.bool) if mutable is None else torch.tensor(mutable)[:, None, :]
    count = len(inputs)
    victims = Victims(inputs, torch.ones(count, dtype=torch.int64), torch.zeros(count, dtype=torch.int64), mutable)
    found = {}
    with Progress("test", count, quiet=True) as progress:
        for block in search(model, victims, mode, settings, progress, path=path):
            for place in range(len(block.stay)):
                row = {field.name: getattr(block, field.name)[place] for field in dataclasses.fields(block)}
                found[int(row["stay"]), int(row["position"])] = row
    return found


def only(rows):
    (row,) = rows.values()
    return row


def told(row):
    return [name for name in ("flipped", "falling", "vanished", "stuck", "pruned", "audited", "rested") if row[name]]


@pytest.mark.parametrize(("kappa", "steps", "margin"), [(0.0, 3, 0.25), (0.25, 4, 0.5)])
@pytest.mark.parametrize("mode", ["sun2018", "ista"])
def test_a_margin_of_kappa_is_no_flip_yet(mode, kappa, steps, margin):
    """From 0.5 below, by 0.25 a step: at 0 after two steps, above it after three."""
    settings = dataclasses.replace(ONE_STEP, kappa=kappa)
    row = only(rows_of(Ramp([1.0, 0.0], 0.5), [[0.0, 0.5]], load_mode(mode), settings))
    assert (int(row["steps"]), float(row["margin"]), row["point"].tolist()) == (steps, margin, [0.5 + margin, 0.0])
    assert told(row) == ["flipped"]


def test_a_row_that_ends_too_early_says_that_its_margin_still_grew():
    settings = dataclasses.replace(ONE_STEP, steps=2)
    row = only(rows_of(Ramp([1.0, 0.0], 0.5), [[0.0, 0.5]], load_mode("ista"), settings))
    assert (int(row["steps"]), float(row["margin"]), row["point"].tolist()) == (2, 0.0, [0.5, 0.0])
    assert told(row) == ["falling"]


def test_growth_of_less_than_a_hundred_thousandth_is_none():
    """Steps of rate x weight^2: 0.25 x 0.006^2 = 9e-6, and 0.25 x 0.007^2 = 1.2e-5."""
    settings = dataclasses.replace(ONE_STEP, steps=3)
    for weight, expected in ((0.006, []), (0.007, ["falling"])):
        row = only(rows_of(Ramp([weight, 0.0], 0.01), [[0.0, 0.5]], load_mode("ista"), settings))
        assert told(row) == expected


def test_at_the_bounds_a_row_is_stuck():
    """One number may rise from 0.5 to 1, another fall to 0; there both stay. A third may not change."""
    model = Ramp([1.0, -1.0, 1.0], 3.0)
    row = only(rows_of(model, [[0.5, 0.5, 0.5]], load_mode("ista"), mutable=[[True, True, False]]))
    assert (int(row["steps"]), row["point"].tolist()) == (10, [0.5, -0.5, 0.0])
    assert told(row) == ["stuck"]


@pytest.mark.parametrize(("weight", "record"), [([1.0, 0.25], [0.5, 0.5]), ([1.0, -0.25], [0.5, 0.5])])
def test_a_row_that_lambda_holds_is_not_stuck(weight, record):
    """The second number could still move, up or down, but is not worth a lambda of 0.5."""
    settings = dataclasses.replace(ONE_STEP, lambdas=(0.5,), steps=40)
    row = only(rows_of(Ramp(weight, 3.0), [record], load_mode("ista"), settings))
    assert row["point"].tolist() == [0.5, 0.0] and told(row) == []


def test_the_published_update_knows_no_bounds():
    """It is never stuck, and leaves the box that `mutable` and [0, 1] make."""
    row = only(rows_of(Ramp([1.0, 0.0], 9.0), [[0.5, 0.5]], load_mode("sun2018"), mutable=[[False, False]]))
    assert row["point"].tolist() == [2.5, 0.0] and told(row) == ["falling"]


def test_where_the_model_levels_off_the_gradient_has_vanished():
    """It stops at 0.25 below zero after one step; sun2018 with lambda 0 then moves no more."""
    row = only(rows_of(Ramp([1.0, 0.0], 0.5, top=-0.25), [[0.125, 0.5]], load_mode("sun2018")))
    assert row["point"].tolist() == [0.25, 0.0] and float(row["margin"]) == -0.25 and told(row) == ["vanished"]


def test_a_record_that_nothing_moves_rests_at_once():
    """Without a gradient; or with a lambda above it; or with nothing that may change, and then only in the box."""
    flat = only(rows_of(Ramp([0.0, 0.0], 0.5), [[0.5, 0.5]], load_mode("ista")))
    assert told(flat) == ["vanished", "rested"] and int(flat["steps"]) == 10 and float(flat["margin"]) == -0.5
    dear = dataclasses.replace(ONE_STEP, lambdas=(1.0,))
    assert told(only(rows_of(Ramp([1.0, 0.0], 0.75), [[0.5, 0.5]], load_mode("ista"), dear))) == ["rested"]
    closed = only(rows_of(Ramp([1.0, 0.0], 0.75), [[0.5, 0.5]], load_mode("ista"), mutable=[[False, False]]))
    assert told(closed) == ["stuck", "rested"] and not closed["point"].any()


def test_of_all_flips_the_smallest_is_kept_and_a_place_starts_anew():
    """A flip is above 0.5: all points of lambda 1, of whose first four 0.6 is the smallest; none of lambda 0.5.

    The second row takes the first one's place in the batch, and the third has its own flips again.
    """
    settings = SearchSettings(lambdas=(1.0, 0.5, 2.0), steps=4, rate=0.25, kappa=0.0, chunk_rows=1)
    rows = rows_of(Ramp([1.0, 0.0], 0.5), [[0.0, 0.0]], Scripted(), settings)
    assert [told(rows[0, position]) for position in range(3)] == [["flipped"], [], ["flipped"]]
    assert [int(rows[0, position]["steps"]) for position in range(3)] == [4, 4, 4]
    for position, (point, margin) in enumerate([(0.6, 0.1), (0.35, -0.15), (1.2, 0.7)]):
        assert rows[0, position]["point"].tolist() == pytest.approx([point, 0.0])
        assert float(rows[0, position]["margin"]) == pytest.approx(margin)


def test_the_smallest_is_meant_by_the_mode_s_norm():
    """0.6 and 0.7 come with a second number: of the points with one, 0.9 was first and as few as 0.8."""
    settings = dataclasses.replace(ONE_STEP, lambdas=(1.0,), steps=4)
    row = only(rows_of(Ramp([1.0, 0.0], 0.5), [[0.0, 0.0]], Counting(), settings))
    assert row["point"].tolist() == pytest.approx([0.9, 0.0])


@pytest.mark.parametrize(("above", "flipped"), [(5e-5, False), (2e-4, True)])
def test_where_the_smallest_flip_is_sought_it_must_hold_in_float64_too(above, flipped):
    """It lies where the margin just passes kappa: a ten-thousandth more is asked for."""
    settings = dataclasses.replace(ONE_STEP, lambdas=(1.0,), steps=4, kappa=0.125)
    row = only(rows_of(Ramp([1.0, 0.0], 0.9 - 0.125 - above), [[0.0, 0.0]], Scripted(), settings))
    assert bool(row["flipped"]) == flipped


@pytest.mark.parametrize("any_rows", [False, True])
@pytest.mark.parametrize("places", [1, 2, 3, 8])
def test_rows_that_take_a_place_have_their_own_lambda_bounds_and_steps(places, any_rows):
    """Two stays, two lambdas: as each alone, however many places stay empty. The second's number may rise by 0.25.

    Where any number of rows will do, empty places cost nothing: four rows of three steps, and two clean records.
    """
    settings = SearchSettings(lambdas=(0.25, 0.5), steps=3, rate=0.25, kappa=0.0, chunk_rows=places)
    model = Ramp([1.0, 0.0], 2.0)
    path = RowByRow(model) if any_rows else None
    rows = rows_of(model, [[0.0, 0.5], [0.75, 0.5]], load_mode("ista"), settings, path=path)
    points = {key: float(row["point"][0]) for key, row in rows.items()}
    # 0.25 (1 - 0.25) and 0.25 (1 - 0.5) a step, three times
    assert points == {(0, 0): 0.5625, (0, 1): 0.375, (1, 0): 0.25, (1, 1): 0.25}
    assert {key: float(row["margin"]) for key, row in rows.items()} == {
        (0, 0): -1.4375, (0, 1): -1.625, (1, 0): -1.0, (1, 1): -1.0,
    }  # fmt: skip
    assert [told(rows[key]) for key in sorted(rows)] == [["falling"], ["falling"], ["stuck"], ["stuck"]]
    assert path is None or sum(path.rows) == 4 * 3 + max(2, places)


def test_the_first_step_ends_at_the_bounds_too():
    """By 0.25 up and down, where an eighth is left each way."""
    settings = dataclasses.replace(ONE_STEP, steps=1)
    row = only(rows_of(Ramp([1.0, -1.0], 3.0), [[0.875, 0.125]], load_mode("ista"), settings))
    assert row["point"].tolist() == [0.125, -0.125] and int(row["steps"]) == 1


def test_movable_and_the_nearest_feasible_point():
    """A falling slope wants up and needs room above; a rising one, below; none is held where nothing pulls up."""
    gradient = torch.tensor([[-1.0, -1.0, 1.0, 1.0, 0.0, 0.0]])
    point = torch.tensor([[0.0, 0.5, 0.0, -0.5, -0.5, 0.5]])
    low, high = torch.full_like(point, -0.5), torch.full_like(point, 0.5)
    seen = Seen(gradient, torch.zeros(1), torch.zeros(1, 1), torch.zeros(1, 1), low, high, ONE_STEP)
    assert seen.movable(point).tolist() == [[True, False, True, False, False, True]]
    assert seen.project(2.0 * point).tolist() == [[0.0, 0.5, 0.0, -0.5, -0.5, 0.5]]
    assert not seen.flipped.any()
    assert dataclasses.replace(seen, margin=torch.tensor([1e-3])).flipped.tolist() == [[True]]


def test_annealing_goes_from_first_to_last_by_a_cosine():
    """A third of the way: (1 + cos 60 degrees) / 2 = 3 / 4 of the fall is left."""
    settings = dataclasses.replace(ONE_STEP, steps=6)
    made = torch.tensor([[0.0], [2.0], [3.0], [6.0]])
    seen = Seen(made, made[:, 0], made, made, made, made, settings)
    assert annealed(seen, 1.0, 0.2).flatten().tolist() == pytest.approx([1.0, 0.8, 0.6, 0.2])
