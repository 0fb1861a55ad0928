"""What the models of sequences share: valid hours, and what they read from the states of all hours."""

import torch
from torch import Tensor


def valid_hours(inputs: Tensor, lengths: Tensor | None) -> Tensor:
    """Bool (batch, time), True before the end of a row; `lengths` (batch,), int64, None: all are valid."""
    batch, time = inputs.shape[:2]
    if lengths is None:
        return torch.ones((batch, time), dtype=torch.bool, device=inputs.device)
    return torch.arange(time, device=inputs.device)[None, :] < lengths[:, None]


def last_valid(states: Tensor, lengths: Tensor | None) -> Tensor:
    """The state (batch, features) after each row's last valid hour; states: (batch, time, features)."""
    if lengths is None:
        return states[:, -1]
    return states[torch.arange(len(states), device=states.device), lengths - 1]
