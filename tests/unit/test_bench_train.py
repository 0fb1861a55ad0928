"""The benchmark of training: its count of operations is right, and the usual loop learns what ours does."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, linear
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.train import HOURS, VARIABLES, report, targets, training_flop
from benchmarks.usual_loop import Stays, train_padded, train_plain
from ehr_attack.fitting import Tensors, build_optimiser, train_epoch
from ehr_attack.models.lstm import LSTMClassifier


def by_hand(model: LSTMClassifier, inputs: torch.Tensor) -> torch.Tensor:
    """The model's forward pass hour by hour, in products that torch can count."""
    lstm: nn.LSTM = model.lstm
    hidden = cell = torch.zeros(len(inputs), lstm.hidden_size)
    for hour in range(inputs.shape[1]):
        gates = linear(inputs[:, hour], lstm.weight_ih_l0, lstm.bias_ih_l0)
        gates = gates + linear(hidden, lstm.weight_hh_l0, lstm.bias_hh_l0)
        kept_in, forgotten, new, out = gates.chunk(4, dim=1)
        cell = forgotten.sigmoid() * cell + kept_in.sigmoid() * new.tanh()
        hidden = out.sigmoid() * cell.tanh()
    return model.output(torch.relu(model.dense(hidden)))


def test_operations_are_those_that_torch_counts_in_the_model_written_by_hand():
    model, inputs = LSTMClassifier(VARIABLES), torch.rand(2, HOURS, VARIABLES)
    torch.testing.assert_close(by_hand(model, inputs), model(inputs))
    with FlopCounterMode(display=False) as counter:
        cross_entropy(by_hand(model, inputs), torch.tensor([0, 1])).backward()
    # The first hour's hidden state is a constant that nothing flows back to.
    first_hour = 2 * 4 * 128 * 128
    assert counter.get_total_flops() / len(inputs) == pytest.approx(training_flop() - first_hour)


@pytest.mark.parametrize("loop", [train_plain, train_padded])
def test_the_usual_loop_learns_what_ours_does(loop):
    """In the same order, with the same start, the weights after an epoch are the same up to rounding."""
    inputs, labels = torch.rand(24, 5, 4), torch.arange(24) % 2
    torch.manual_seed(1)
    usual = LSTMClassifier(4)
    ours = LSTMClassifier(4)
    ours.load_state_dict(usual.state_dict())
    losses = loop(usual, Stays(inputs, labels), 8, shuffle=False)
    settings = {"lr": 0.001, "weight_decay": 0.0, "class_balance": "none", "batch_size": 8, "precision": "float32"}
    tensors = Tensors(inputs, torch.full((24,), 5), labels)
    loss = train_epoch(ours, tensors, torch.arange(24), build_optimiser(ours, settings), torch.ones(2), settings)
    assert sum(losses) / 3 == pytest.approx(loss, rel=1e-5)
    for name, weight in ours.state_dict().items():
        torch.testing.assert_close(weight, usual.state_dict()[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("numbers", "met"),
    [
        ({}, [True, True, True]),
        ({"speedup_vs_loop": 2.9}, [False, True, True]),
        ({"bound_share_fp32": 0.34, "bound_share_bf16": 0.54}, [True, False, False]),
        ({"bound_share_bf16": None}, [True, True]),
    ],
)
def test_targets_are_judged_by_their_numbers(numbers, met):
    good = {"speedup_vs_loop": 3.0, "bound_share_fp32": 0.35, "bound_share_bf16": 0.55}
    assert [target["met"] for target in targets(good | numbers)] == met


def test_the_report_leaves_out_what_a_processor_does_not_have():
    names = ["loop plain", "loop padded", "ours float32"]
    best = {f"{name} {batch}": 1000.0 for name in names for batch in (64, 128)} | {"product float32": 100.0}
    result = {
        "date": "2026-11-24", "machine": {"cpu": "a processor", "cores": 2, "ram_gb": 8.0}, "versions": {"torch": "2"},
        "load_before": 0.1, "load_after": 0.2, "rounds": 3, "best": best, "median": best, "stays_per_second": 1000.0,
        "flop_per_stay": 2e7, "speedup_vs_plain_loop": 1.0, "largest_possible_speedup": 5.0, "targets": [],
    }  # fmt: skip
    text = "\n".join(report(result))
    assert "bfloat16" not in text
    assert "1,000 (1,000) | 1,000 (1,000)" in text and "100 GFLOP/s in float32" in text
