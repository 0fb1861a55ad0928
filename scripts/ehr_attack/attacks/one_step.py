"""Running a baseline: one change a stay, matched in size to an attack on it, and whether the prediction flips."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ehr_attack.attacks.baselines import Baseline, Budget
from ehr_attack.attacks.gradients import GradientPath
from ehr_attack.attacks.mode import SearchSettings
from ehr_attack.attacks.problem import evaluated
from ehr_attack.attacks.queue import padded
from ehr_attack.attacks.rows import FinishedRows, Victims
from ehr_attack.attacks.space import Space
from ehr_attack.progress import Progress


def perturb_once(
    victims: Victims,
    space: Space,
    path: GradientPath,
    baseline: Baseline,
    budget: Budget,
    settings: SearchSettings,
    seed: tuple[int, ...],
    progress: Progress,
) -> Iterator[FinishedRows]:
    """Change every victim once, by `baseline`, within the box; yield a block a chunk.

    victims: with `keys`, by which `budget` and the random numbers (seed, key) are found, so that the result does not
    depend on the sharding.
    """
    assert victims.keys is not None, "a baseline finds its budget by the stay's id"
    device = victims.inputs.device
    for chunk in torch.split(torch.arange(len(victims.inputs), device=device), settings.chunk_rows):
        stays = padded(chunk, settings.chunk_rows)
        zero = torch.zeros(len(stays), space.size, device=device)
        _, gradient = evaluated(victims, space, path, stays, zero)
        low, high = space.bounds(stays)
        slopes, lowest, highest = (
            part.view(-1, *victims.inputs.shape[1:]).double().cpu().numpy() for part in (gradient, low, high)
        )
        changes = [
            baseline(
                budget.magnitudes[key], slopes[row], lowest[row], highest[row], np.random.default_rng([*seed, key])
            )
            for row, key in enumerate(victims.keys[stays].tolist())
        ]
        point = torch.clamp(torch.from_numpy(np.stack(changes)).to(device, torch.float32).flatten(1), low, high)
        margin, _ = evaluated(victims, space, path, stays, point)
        finished = _finished(chunk, point, margin, settings)
        progress.advance(len(chunk), f"{float(finished.flipped.float().mean()):.1%} of the last {len(chunk)} flipped")
        yield finished


def _finished(stays: Tensor, point: Tensor, margin: Tensor, settings: SearchSettings) -> FinishedRows:
    """The first len(stays) rows of a chunk, each after one step."""
    count = len(stays)
    no = torch.zeros_like(stays, dtype=torch.bool)
    return FinishedRows(
        stay=stays,
        position=torch.zeros_like(stays),
        point=point[:count],
        steps=torch.ones_like(stays),
        flipped=margin[:count] > settings.kappa,
        margin=margin[:count],
        falling=no,
        vanished=no,
        stuck=no,
        pruned=no,
        audited=no,
        rested=no,
    )
