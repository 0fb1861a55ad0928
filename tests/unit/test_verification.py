"""The three flags and their margins, by hand on a linear model; what rounding loses and wins back."""

import dataclasses

import numpy as np
import pytest
import torch
from test_attack_engine import Linear

from ehr_attack.attacks.rows import FinishedRows, Victims
from ehr_attack.attacks.space import CellSpace
from ehr_attack.attacks.verification import Judge

HOURS, FEATURES = 1, 2
STEP = 0.1  # charted precision, scaled units


def rows(*points, flipped=True):
    count = len(points)
    whole = torch.zeros(count, dtype=torch.int64)
    flags = torch.zeros(count, dtype=torch.bool)
    return FinishedRows(
        stay=whole, position=torch.arange(count), point=torch.tensor(points), steps=whole, flipped=flags | flipped,
        margin=torch.zeros(count), falling=flags, vanished=flags, stuck=flags, pruned=flags, audited=flags,
        rested=flags,
    )  # fmt: skip


def judge(constrained=True, kappa=0.01):
    """margin of death = x0 + 2 x1 - 1; the record (0.2, 0.2) has -0.4, so a survivor."""
    model = Linear([[1.0, 2.0]], bias=-1.0)
    inputs = torch.full((1, HOURS, FEATURES), 0.2)
    victims = Victims(inputs, torch.tensor([HOURS]), torch.tensor([0]), torch.ones_like(inputs, dtype=torch.bool))
    space = CellSpace(inputs, victims.mutable)

    def charted(stays, point, outward):
        steps = point.double() / STEP
        whole = torch.sign(steps) * torch.ceil(steps.abs() - 1e-6) if outward else torch.round(steps)
        return whole * STEP

    return Judge(model, victims, space, charted, constrained=constrained, kappa=kappa, chunk_rows=4)


def test_margins_and_flags_by_hand():
    judged = judge().judge(rows([0.5, 0.0], [0.0, 0.21], [0.0, 0.0]))
    assert judged.margin_clean.tolist() == pytest.approx([-0.4] * 3, abs=1e-7)
    assert judged.margin_float64.tolist() == pytest.approx([0.1, 0.02, -0.4], abs=1e-7)
    assert judged.flipped_float64.tolist() == [True, True, False]
    # 0.5 is five steps; 0.21 is nearest to two, which miss the margin, so it is rounded away from zero to three.
    assert judged.point[0].tolist() == pytest.approx([0.5, 0.0])
    assert judged.point[1].tolist() == pytest.approx([0.0, 0.3])
    assert judged.margin_feasible.tolist() == pytest.approx([0.1, 0.2, -0.4], abs=1e-7)
    assert judged.feasible.tolist() == judged.success.tolist() == [True, True, False]
    assert judged.margin.tolist() == judged.margin_feasible.tolist()


def test_a_flip_that_only_the_search_saw_is_told_apart():
    """The search claims a flip of 0.405; in float64 the margin 0.005 does not pass kappa."""
    judged = judge().judge(rows([0.405, 0.0]))
    assert judged.found.flipped.tolist() == [True] and judged.flipped_float64.tolist() == [False]


def test_an_unconstrained_mode_counts_what_it_found():
    judged = judge(constrained=False, kappa=0.0).judge(rows([0.43, 0.0], [-3.0, 0.0], flipped=True))
    assert judged.success.tolist() == [True, True]  # by its own rule, as published, whatever float64 says
    assert judged.flipped_float64.tolist() == [True, False]
    assert judged.point[0].tolist() == pytest.approx([0.43, 0.0])
    assert judged.margin.tolist() == judged.margin_float64.tolist()


def test_what_was_not_searched_is_no_success():
    block = rows([0.5, 0.0])
    block = dataclasses.replace(block, pruned=torch.tensor([True]))
    assert judge().judge(block).success.tolist() == [False]


def test_each_row_is_judged_by_itself():
    """The same numbers alone and among others."""
    random = np.random.default_rng(0)
    points = random.normal(0, 0.3, size=(7, 2)).astype(np.float32).tolist()
    together = judge().judge(rows(*points))
    for index, point in enumerate(points):
        alone = judge().judge(rows(point))
        assert alone.margin_float64[0] == together.margin_float64[index]
        assert alone.margin_feasible[0] == together.margin_feasible[index]
