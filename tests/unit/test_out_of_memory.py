"""An attack on a GPU whose memory does not take the batch: fewer rows at once, the same results."""

import logging

import pytest
import torch
from torch import Tensor

from ehr_attack.attacks import load_mode
from ehr_attack.attacks.engine import in_chunks, search
from ehr_attack.attacks.gradients import AutogradPath
from ehr_attack.attacks.memory import RowsAtOnce
from ehr_attack.attacks.mode import SearchSettings
from ehr_attack.attacks.rows import Victims, joined
from ehr_attack.errors import UserError
from ehr_attack.progress import Progress


class SmallMemory:
    """Any function of rows on a device that takes `most` of them at once."""

    def __init__(self, function, most: int) -> None:
        self.function, self.most, self.calls = function, most, []

    def __call__(self, *rows: Tensor):
        self.calls.append(len(rows[0]))
        if len(rows[0]) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return self.function(*rows)


class Sum(torch.nn.Module):
    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        total = inputs.flatten(1).sum(dim=1) - 1.0
        return torch.stack([-total, total], dim=1)


def test_rows_are_halved_until_they_fit_and_then_no_more(caplog):
    function = SmallMemory(lambda a, b: (a + b, a * b), most=3)
    at_once = RowsAtOnce()
    first, second = torch.arange(10.0), torch.arange(10.0) + 1
    with caplog.at_level(logging.WARNING):
        total, product = at_once(function, first, second)
    assert torch.equal(total, first + second) and torch.equal(product, first * second)
    assert function.calls == [10, 5, 2, 2, 2, 2, 2]
    assert [record.getMessage() for record in caplog.records] == [
        "out of GPU memory with 10 rows at once; going on with 5 (attack.chunk_rows)",
        "out of GPU memory with 5 rows at once; going on with 2 (attack.chunk_rows)",
    ]
    function.calls.clear()
    at_once(function, first, second)
    assert function.calls == [2] * 5


def test_a_single_row_that_does_not_fit_ends_in_one_message():
    with pytest.raises(UserError, match="does not take a single row"):
        RowsAtOnce()(SmallMemory(torch.sin, most=0), torch.ones(4))


def test_another_error_passes_through():
    def broken(rows: Tensor) -> Tensor:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        RowsAtOnce()(broken, torch.ones(4))


class TightPath(AutogradPath):
    """The autograd path of a device that takes five rows."""

    def __call__(self, inputs: Tensor, lengths: Tensor, labels: Tensor):
        return SmallMemory(super().__call__, most=5)(inputs, lengths, labels)


def found_by(path) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    inputs = torch.rand(7, 4, 2, generator=generator) / 8
    victims = Victims(
        inputs=inputs,
        lengths=torch.full((7,), 4),
        labels=torch.zeros(7, dtype=torch.int64),
        mutable=torch.ones_like(inputs, dtype=torch.bool),
    )
    settings = SearchSettings(lambdas=(0.1, 0.3), steps=60, rate=0.05, kappa=0.01, chunk_rows=16, prune=False)
    with Progress("attack", 14, "rows", quiet=True) as progress:
        rows = joined(list(search(Sum(), victims, load_mode("ista"), settings, progress, path=path)))
    order = torch.argsort(rows.stay * 2 + rows.position)
    return {name: getattr(rows, name)[order] for name in ("stay", "position", "point", "steps", "flipped", "margin")}


def test_an_attack_goes_on_with_fewer_rows_and_finds_the_same(caplog):
    with caplog.at_level(logging.WARNING):
        tight = found_by(TightPath(Sum()))
    assert "going on with 4" in caplog.text
    free = found_by(AutogradPath(Sum()))
    assert free["flipped"].any()
    assert all(torch.equal(tight[name], free[name]) for name in free)


def test_verification_goes_on_with_fewer_rows_too(caplog):
    class Tight(Sum):
        def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
            return SmallMemory(super().forward, most=3)(inputs, lengths)

    inputs, lengths, labels = torch.rand(9, 4, 2), torch.full((9,), 4), torch.zeros(9, dtype=torch.int64)
    with caplog.at_level(logging.WARNING):
        tight = in_chunks(Tight(), inputs, lengths, labels, 8)
    assert torch.equal(tight, in_chunks(Sum(), inputs, lengths, labels, 8))
    assert "going on with 2" in caplog.text
