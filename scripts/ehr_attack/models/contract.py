"""What a model must do to be trained and attacked, checked on a few made-up stays."""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from ehr_attack.errors import UserError

_ROWS = 3


@runtime_checkable
class FitsInputs(Protocol):
    """A model with buffers that depend on the training inputs, such as means by which it standardises."""

    def fit_inputs(self, inputs: Tensor, lengths: Tensor) -> None:
        """Set the buffers by inputs (stays, time, feature) and lengths (stays,) of the training stays."""


@runtime_checkable
class HasMembers(Protocol):
    """A model that averages members, each of which has a loss, a learning rate and a weight decay of its own."""

    @property
    def members(self) -> list[nn.Module]:
        """The members; together they hold all parameters."""

    def member_logits(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits (members, batch, 2), the mean of which over the members is the model's output."""


def check_model(model: nn.Module, name: str, n_features: int, n_hours: int) -> None:
    """Check the contract of `ehr_attack.models` on made-up inputs (3, n_hours, n_features).

    The model is left in training mode, torch's random state as it was. Raises UserError that says what is not kept.
    """
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    random = torch.Generator().manual_seed(0)
    inputs = torch.rand((_ROWS, n_hours, n_features), generator=random).to(device).requires_grad_(True)
    lengths = torch.tensor([n_hours, max(1, n_hours // 2), 1], device=device)
    with torch.random.fork_rng(devices=[]):
        model.eval()
        try:
            problem = _problem(model, inputs, lengths)
        except Exception as error:
            message = f"fails on inputs {tuple(inputs.shape)} and lengths ({_ROWS},): {type(error).__name__}: {error}"
            raise UserError(f"training.models: {name!r} {message}.") from error
        finally:
            model.train()
    if problem:
        raise UserError(f"training.models: {name!r} {problem}")


def _problem(model: nn.Module, inputs: Tensor, lengths: Tensor) -> str:
    """What is wrong, in words; empty when all is well."""
    logits = model(inputs, lengths)
    if not isinstance(logits, Tensor) or logits.shape != (len(inputs), 2):
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        return f"gives {shape} for a batch of {len(inputs)}; expected logits of shape ({len(inputs)}, 2)."
    if not bool(logits.isfinite().all()):
        return "gives logits that are not finite numbers for inputs in [0, 1]."
    if not logits.requires_grad or torch.autograd.grad(logits.sum(), inputs, allow_unused=True)[0] is None:
        return "gives logits that do not depend on the inputs by a gradient; the attack needs one."
    with torch.no_grad():
        if not torch.equal(model(inputs, lengths), model(inputs, lengths)):
            return "gives other logits for the same inputs in evaluation mode; expected the same."
        padded = inputs.clone()
        ended = torch.arange(inputs.shape[1], device=inputs.device)[None, :] >= lengths[:, None]
        padded[ended] = 9.0
        if not torch.equal(model(padded, lengths), model(inputs, lengths)):
            return "looks at hours after the end of a stay; expected it to heed `lengths`, the valid hours of each row."
    return ""
