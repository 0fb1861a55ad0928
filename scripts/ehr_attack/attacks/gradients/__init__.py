"""Gradient paths: margins of a model and their gradients with respect to its inputs, by the fastest way that is there.

`autograd` serves any torch model on any device and is the reference. The others know what a model computes and give
the same numbers, up to rounding, in less time: `manual` for LSTMClassifier and GRUClassifier, `fused` for
LSTMClassifier on a CPU.
"""

import logging
from typing import Protocol

import torch
from torch import Tensor, nn

from ehr_attack.attacks.gradients.autograd import AutogradPath
from ehr_attack.attacks.gradients.fused import FusedPath, fused_available, why_not_fused
from ehr_attack.attacks.gradients.manual import ManualPath, why_not_manual
from ehr_attack.attacks.gradients.margins import margins_of
from ehr_attack.attacks.gradients.peak import measured_peak_gflops
from ehr_attack.errors import UserError

__all__ = [
    "PATHS",
    "AutogradPath",
    "FusedPath",
    "GradientPath",
    "ManualPath",
    "freeze",
    "fused_available",
    "gradient_path",
    "margins_of",
    "measured_peak_gflops",
]

_log = logging.getLogger(__name__)


class GradientPath(Protocol):
    """A way to margins and gradients.

    name: one of `PATHS`; any_rows: a row's result does not depend on the number of rows beside it, bit by bit, so that
    fewer may be computed.
    """

    @property
    def name(self) -> str:
        """One of `PATHS`."""

    @property
    def any_rows(self) -> bool:
        """Whether the number of rows does not matter."""

    def __call__(self, inputs: Tensor, lengths: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Margins (rows,) = logit_t - logit_y, and the gradient (rows, hours, channels) of -margin by `inputs`.

        inputs: (rows, hours, channels), float32 (`autograd` and `manual` also take float64, as the model has it);
        lengths: int64 (rows,), valid hours, at least 1; labels: int64 (rows,), 0 or 1. After a row's end the gradient
        is 0.
        """


PATHS = ("fused", "manual", "autograd")
"""The names of the paths, fastest first."""

_said: set[str] = set()


def gradient_path(
    model: nn.Module, wanted: str = "auto", device: torch.device | None = None, precision: str = "float32"
) -> GradientPath:
    """The path `wanted` (auto, autograd, manual or fused) for `model`; auto is the fastest that is possible.

    `device`: where the inputs will be; None: where the model's parameters are; precision: float32, or bfloat16 for
    factors of products, which `manual` has. Says in the log which path was taken, and why faster ones were not. Raises
    UserError when a path was asked for that is not possible.
    """
    if precision == "bfloat16":
        return _in_bfloat16(model, wanted)
    if device is None:
        device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    if wanted not in ("auto", *PATHS):
        raise UserError(f"attack.path: {wanted!r} is not known; expected auto, {', '.join(PATHS)}.")
    obstacles: list[str] = []
    for name in PATHS if wanted == "auto" else (wanted,):
        obstacle = _obstacle(name, model, device)
        if obstacle is None:
            _say(f"gradients: {name}" + "".join(f"; {obstacle}" for obstacle in obstacles))
            return _make(name, model)
        obstacles.append(f"not {name}: {obstacle}")
    raise UserError(
        f"attack.path: {wanted} was asked for, but {obstacles[0].partition(': ')[2]}. Set attack.path to auto."
    )


def _in_bfloat16(model: nn.Module, wanted: str) -> GradientPath:
    obstacle = why_not_manual(model) if wanted in ("auto", "manual") else f"attack.path {wanted} has float32 only"
    if obstacle is not None:
        raise UserError(
            f"attack.precision: bfloat16 was asked for, but {obstacle}; path manual has it. Set attack.precision to "
            "float32, or attack.path to auto."
        )
    _say("gradients: manual, products in bfloat16")
    return ManualPath(model, matmul_dtype=torch.bfloat16)


def _obstacle(name: str, model: nn.Module, device: torch.device) -> str | None:
    """Why path `name` is not possible, None when it is."""
    if name == "fused":
        return why_not_fused(model, device)
    return why_not_manual(model) if name == "manual" else None


def _make(name: str, model: nn.Module) -> GradientPath:
    if name == "fused":
        return FusedPath(model)
    return ManualPath(model) if name == "manual" else AutogradPath(model)


def freeze(model: nn.Module) -> None:
    """Make gradients flow to inputs only; dropout off, recurrent layers in the mode that cuDNN's backward needs."""
    model.eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for module in model.modules():
        if isinstance(module, nn.RNNBase) and not module.dropout:
            module.train()


def _say(message: str) -> None:
    """Log a message once a process."""
    if message not in _said:
        _said.add(message)
        _log.info(message)
