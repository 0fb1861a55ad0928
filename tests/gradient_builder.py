"""Models, batches and comparisons for tests of the gradient paths."""

import copy

import torch

from ehr_attack.attacks.gradients import AutogradPath, freeze, fused_available, gradient_path
from real_parts import skip_or_fail

# Relative to the largest entry of a row's gradient: float32 has 6e-8 a rounding, and 48 hours of them add up.
FLOAT32 = 1e-5


def made(model_class, channels, units, seed=0):
    """A frozen model that reacts to its input, and no two of whose weights are alike."""
    torch.manual_seed(seed)
    model = model_class(channels, hidden_size=units)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.0)
    freeze(model)
    return model


def made_up(channels, rows, hours, seed=0, whole=False):
    random = torch.Generator().manual_seed(seed)
    inputs = torch.rand((rows, hours, channels), generator=random)
    lengths = torch.randint(hours if whole else 1, hours + 1, (rows,), generator=random)
    labels = torch.randint(0, 2, (rows,), generator=random)
    return inputs, lengths, labels


def exact(model, inputs, lengths, labels):
    return AutogradPath(copy.deepcopy(model).double())(inputs.double(), lengths, labels)


def assert_agrees(found, expected, tolerance):
    """Margins by their own size, gradients by the largest entry of their row."""
    margins, gradients = (values.double() for values in found)
    assert torch.allclose(margins, expected[0], rtol=tolerance, atol=tolerance)
    largest = expected[1].abs().amax(dim=(1, 2), keepdim=True)
    assert gradients.shape == expected[1].shape
    assert bool(((gradients - expected[1]).abs() <= tolerance * largest).all())


def path_of(name, model):
    if name == "fused" and not fused_available():
        skip_or_fail("no C++ compiler: install one (on Debian and Ubuntu: apt-get install g++)")
    return gradient_path(model, name)
