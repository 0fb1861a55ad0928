"""Every gradient path against autograd in float64, and that against finite differences of the model itself."""

import copy
import logging

import pytest
import torch
from torch import nn

from ehr_attack.attacks.gradients import (
    PATHS,
    AutogradPath,
    ManualPath,
    fused_available,
    gradient_path,
    manual_gru,
    manual_lstm,
)
from ehr_attack.attacks.gradients.manual import why_not_manual
from ehr_attack.errors import UserError
from ehr_attack.models.gru import GRUClassifier
from ehr_attack.models.logistic import LogisticClassifier
from ehr_attack.models.lstm import LSTMClassifier
from gradient_builder import FLOAT32, assert_agrees, exact, made, made_up, path_of
from real_parts import skip_or_fail

SIZES = [  # channels, units, rows, hours
    (1, 5, 1, 1),
    (19, 5, 63, 48),
    (35, 128, 1, 48),
    (19, 128, 64, 48),
    (1, 128, 65, 1),
    (35, 5, 65, 7),
]


def test_autograd_agrees_with_finite_differences():
    model = made(LSTMClassifier, 3, 5).double()
    inputs, lengths, labels = made_up(3, 4, 6)
    inputs = inputs.double()
    margins, gradient = AutogradPath(model)(inputs, lengths, labels)
    step = 1e-6
    for row, (length, label) in enumerate(zip(lengths.tolist(), labels.tolist(), strict=True)):

        def loss(record, length=length, label=label):  # logit_y - logit_t, of the row alone and only its valid hours
            logits = model(record[None, :length])[0]
            return float(logits[label] - logits[1 - label])

        assert loss(inputs[row]) == pytest.approx(-float(margins[row]), abs=1e-12)
        for hour in range(6):
            for channel in range(3):
                up, down = inputs[row].clone(), inputs[row].clone()
                up[hour, channel] += step
                down[hour, channel] -= step
                slope = (loss(up) - loss(down)) / (2 * step)
                assert float(gradient[row, hour, channel]) == pytest.approx(slope, abs=1e-8)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("model_class", [LSTMClassifier, GRUClassifier])
def test_by_hand_in_float64_is_autograd(model_class, sizes, whole):
    channels, units, rows, hours = sizes
    model = made(model_class, channels, units)
    inputs, lengths, labels = made_up(channels, rows, hours, whole=whole)
    found = ManualPath(copy.deepcopy(model).double())(inputs.double(), lengths, labels)
    assert_agrees(found, exact(model, inputs, lengths, labels), 1e-12)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    "name, model_class", [("manual", LSTMClassifier), ("manual", GRUClassifier), ("fused", LSTMClassifier)]
)
def test_in_float32_a_path_agrees_with_float64(name, model_class, sizes, whole):
    channels, units, rows, hours = sizes
    model = made(model_class, channels, units)
    batch = made_up(channels, rows, hours, whole=whole)
    assert_agrees(path_of(name, model)(*batch), exact(model, *batch), FLOAT32)


@pytest.mark.parametrize("model_class", [LSTMClassifier, GRUClassifier])
def test_cells_for_the_gpu_agree_in_float64(model_class):
    """On CUDA the cells are functions of tensors, which torch.compile takes whole; here they run as they are."""
    model = made(model_class, 19, 12)
    inputs, lengths, labels = made_up(19, 9, 10)
    module, by_hand = {
        LSTMClassifier: (manual_lstm, manual_lstm.ManualLSTM),
        GRUClassifier: (manual_gru, manual_gru.ManualGRU),
    }[model_class]
    cells = module.forward_cell, module.backward_cell
    path = by_hand(copy.deepcopy(model).double(), torch.float64, cells)
    assert_agrees(path(inputs.double(), lengths, labels), exact(model, inputs, lengths, labels), 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("model_class", [LSTMClassifier, GRUClassifier])
def test_compiled_cells_agree(model_class, caplog):
    if not fused_available():
        skip_or_fail("torch.compile needs a C++ compiler as well")
    model = made(model_class, 3, 8)
    batch = made_up(3, 5, 4)
    path = ManualPath(model, compiled=True)
    with caplog.at_level(logging.INFO):
        assert_agrees(path(*batch), exact(model, *batch), FLOAT32)
    assert "uncompiled" not in caplog.text


@pytest.mark.parametrize("model_class", [LSTMClassifier, GRUClassifier])
def test_products_in_bfloat16_are_near(model_class):
    """bfloat16 has 8 bits: a product is off by half a percent or so, and no more."""
    model = made(model_class, 19, 32)
    batch = made_up(19, 40, 24)
    margins, gradients = ManualPath(model, matmul_dtype=torch.bfloat16)(*batch)
    true_margins, true_gradients = exact(model, *batch)
    assert margins.dtype == gradients.dtype == torch.float32
    assert float((margins - true_margins).abs().max()) < 0.02 * float(true_margins.abs().max())
    error = (gradients - true_gradients).abs().amax(dim=(1, 2)) / true_gradients.abs().amax(dim=(1, 2))
    assert 1e-4 < float(error.median()) < 0.03


# Autograd multiplies what stands after a row's end by zero: only there must it be finite.
AFTER_THE_END = [
    ("autograd", LSTMClassifier, [7.5]),
    ("autograd", GRUClassifier, [7.5]),
    ("manual", LSTMClassifier, [7.5, float("nan"), float("inf")]),
    ("manual", GRUClassifier, [7.5, float("nan"), float("inf")]),
    ("fused", LSTMClassifier, [7.5, float("nan"), float("inf")]),
]


@pytest.mark.parametrize("name, model_class, garbage", AFTER_THE_END)
def test_what_stands_after_the_end_does_not_matter(name, model_class, garbage):
    model = made(model_class, 4, 8)
    inputs, lengths, labels = made_up(4, 9, 6)
    path = path_of(name, model)
    margins, gradients = path(inputs, lengths, labels)
    ended = torch.arange(6)[None, :] >= lengths[:, None]
    assert bool(ended.any())
    assert bool((gradients[ended] == 0).all())
    assert bool((gradients[~ended] != 0).any(dim=1).all())
    for value in garbage:
        inputs[ended] = value
        again = path(inputs, lengths, labels)
        assert torch.equal(again[0], margins)
        assert torch.equal(again[1], gradients)


@pytest.mark.parametrize("name", ["manual", "fused"])
def test_nan_stays_in_its_row(name):
    model = made(LSTMClassifier, 4, 8)
    inputs, lengths, labels = made_up(4, 6, 5, whole=True)
    path = path_of(name, model)
    margins, gradients = path(inputs, lengths, labels)
    inputs[2, 3, 1] = float("nan")
    with_nan = path(inputs, lengths, labels)
    others = torch.arange(6) != 2
    assert bool(with_nan[0][2].isnan())
    assert bool(with_nan[1][2].isnan().any())
    assert torch.equal(with_nan[0][others], margins[others])
    assert torch.equal(with_nan[1][others], gradients[others])


@pytest.mark.parametrize("name", ["autograd", "manual", "fused"])
def test_nan_in_a_weight_gives_nan_margins(name):
    model = made(LSTMClassifier, 4, 8)
    model.lstm.weight_hh_l0.data[3, 2] = float("nan")
    margins, _ = path_of(name, model)(*made_up(4, 5, 3, whole=True))
    assert bool(margins.isnan().all())


@pytest.mark.parametrize("name", PATHS)
def test_no_rows(name):
    margins, gradients = path_of(name, made(LSTMClassifier, 4, 8))(*made_up(4, 0, 5))
    assert margins.shape == (0,)
    assert gradients.shape == (0, 5, 4)


@pytest.mark.parametrize("name", PATHS)
def test_inputs_are_left_alone_and_results_kept(name):
    """A path may keep its memory for the next call: what it gave before must stay."""
    path = path_of(name, made(LSTMClassifier, 4, 8))
    inputs, lengths, labels = made_up(4, 7, 5)
    before = inputs.clone()
    first = path(inputs, lengths, labels)
    kept = [values.clone() for values in first]
    assert torch.equal(inputs, before)
    path(*made_up(4, 7, 5, seed=1))
    assert all(torch.equal(*pair) for pair in zip(first, kept, strict=True))


class OtherForward(LSTMClassifier):
    """A subclass that computes something else: no hand-written path may serve it."""

    def forward(self, inputs, lengths=None):
        return 2 * super().forward(inputs, lengths)


def test_auto_takes_the_fastest(caplog, monkeypatch):
    path_of("fused", made(LSTMClassifier, 4, 8))
    monkeypatch.setattr("ehr_attack.attacks.gradients._said", set())
    caplog.clear()
    with caplog.at_level(logging.INFO):
        assert gradient_path(made(LSTMClassifier, 4, 8)).name == "fused"
        assert gradient_path(made(LSTMClassifier, 4, 8)).name == "fused"
    assert [record.getMessage() for record in caplog.records] == ["gradients: fused"]
    assert gradient_path(made(LSTMClassifier, 4, 8).double()).name == "manual"
    assert gradient_path(made(GRUClassifier, 4, 8)).name == "manual"
    assert gradient_path(OtherForward(4)).name == "autograd"
    assert gradient_path(LogisticClassifier(4)).name == "autograd"


def test_layers_that_no_path_by_hand_knows():
    model = LSTMClassifier(4, hidden_size=8)
    model.lstm = nn.LSTM(4, 8, num_layers=2, batch_first=True)
    assert gradient_path(model).name == "autograd"
    model.lstm = nn.LSTM(4, 8, bidirectional=True, batch_first=True)
    assert why_not_manual(model) is not None


@pytest.mark.parametrize(
    "wanted, model, device, message",
    [
        ("quick", LSTMClassifier(4), "cpu", "expected auto, fused, manual, autograd"),
        ("fused", GRUClassifier(4), "cpu", "the kernel is for LSTMClassifier"),
        ("fused", LSTMClassifier(4).double(), "cpu", "float32"),
        ("fused", LSTMClassifier(4), "cuda", "for the CPU, not cuda"),
        ("manual", LogisticClassifier(4), "cpu", "for LSTMClassifier and GRUClassifier, not LogisticClassifier"),
    ],
)
def test_a_path_that_is_not_possible(wanted, model, device, message):
    with pytest.raises(UserError, match=r"attack\.path") as raised:
        gradient_path(model, wanted, torch.device(device))
    assert message in str(raised.value)


def test_wrong_dtypes_are_refused():
    model = made(LSTMClassifier, 4, 8)
    inputs, lengths, labels = made_up(4, 3, 5)
    for name in ("manual", "fused"):
        with pytest.raises(ValueError, match="float64"):
            path_of(name, model)(inputs.double(), lengths, labels)


def test_products_in_bfloat16_are_for_models_with_a_gradient_by_hand():
    model = made(LSTMClassifier, 4, 8)
    batch = made_up(4, 9, 5)
    margin, gradient = gradient_path(model, precision="bfloat16")(*batch)
    exact_margin, exact_gradient = AutogradPath(model)(*batch)
    assert not torch.equal(margin, exact_margin)
    torch.testing.assert_close(margin, exact_margin, atol=0.02, rtol=0.05)
    assert torch.cosine_similarity(gradient.flatten(), exact_gradient.flatten(), dim=0) > 0.99
    for other, path in ((OtherForward(4), "auto"), (model, "fused")):
        with pytest.raises(UserError, match=r"attack\.precision: bfloat16 was asked for, but .*path manual has it"):
            gradient_path(other, path, precision="bfloat16")
