"""What an attack mode must do to be run by the engine, checked on a few made-up rows."""

from collections.abc import Iterator

import torch
from torch import Tensor

from ehr_attack.attacks.mode import Mode, SearchSettings, Seen, State
from ehr_attack.errors import UserError

_ROWS, _SIZE, _UPDATES = 3, 5, 2


def check_mode(mode: Mode, name: str) -> None:
    """Make two updates of three made-up rows, and of the first of them alone.

    Raises UserError that says what of the contract of `Mode` is not kept.
    """
    try:
        rate = 0.02
        factor = mode.lambda_factor(rate)
        settings = SearchSettings((float("nan") if factor is None else factor,), 4, rate, 0.01, _ROWS)
        random = torch.Generator().manual_seed(0)
        gradients = torch.randn(_UPDATES, _ROWS, _SIZE, generator=random)
        pairs = zip(*(_updates(mode, gradients[:, :rows], settings) for rows in (_ROWS, 1)), strict=True)
        problem = next(filter(None, (_problem(together, alone) for together, alone in pairs)), "")
    except Exception as error:  # a user's mode may fail in any way
        raise UserError(
            f"attack.modes: {name!r} fails on {_ROWS} rows of {_SIZE} numbers: {type(error).__name__}: {error}. "
            "Expected `update(state, seen)` as ehr_attack.attacks.mode.Mode describes it."
        ) from error
    if problem:
        raise UserError(f"attack.modes: {name!r} {problem}")


def _updates(mode: Mode, gradients: Tensor, settings: SearchSettings) -> Iterator[State]:
    """The state after each update, with gradients (updates, rows, size) at points that do not flip."""
    rows = gradients.shape[1]
    limit = torch.ones(rows, _SIZE)
    state = mode.start(torch.zeros(rows, _SIZE))
    for made, gradient in enumerate(gradients):
        seen = Seen(
            gradient,
            torch.full((rows,), -1.0),
            torch.full((rows, 1), settings.lambdas[0]),
            torch.full((rows, 1), float(made)),
            -limit,
            limit,
            settings,
        )
        state = mode.update(state, seen)
        yield state


def _problem(together: State, alone: State) -> str:
    """What is wrong, in words; empty when all is well."""
    if not isinstance(together, dict) or not isinstance(together.get("point"), Tensor):
        return "gives a state without `point`; expected a dict of tensors, one of them `point`, the perturbation."
    for key, value in together.items():
        if not isinstance(value, Tensor) or value.shape[:1] != (_ROWS,):
            return f"gives {key!r} of {_ROWS} rows as {_words(value)}; expected a tensor whose first axis is the row."
    if together["point"].shape != (_ROWS, _SIZE) or not bool(together["point"].isfinite().all()):
        return f"gives `point` as {_words(together['point'])}; expected finite numbers of shape ({_ROWS}, {_SIZE})."
    if not torch.allclose(together["point"][:1], alone["point"]):
        return "moves a row otherwise when others are beside it; expected each row to be updated by itself."
    return ""


def _words(value: object) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
