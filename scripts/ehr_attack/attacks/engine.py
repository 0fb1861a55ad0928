"""The attack engine: all rows (stay x lambda) of many stays through one fixed-size batch.

Model weights are frozen and gradients go to the input only. Three exact savings: the clean gradient of a stay is
shared by all its lambdas; a row whose first update leaves it at zero stays there for ever and costs nothing; one
forward pass serves the flip check and the next gradient. Finished rows leave the batch and waiting rows take their
place. The batch always has the same number of rows, so a row's result does not depend on its neighbours.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ehr_attack.attacks.mode import Mode
from ehr_attack.progress import Progress

_ROWS_A_BLOCK = 1024


@dataclass(frozen=True)
class Victims:
    """Correctly classified stays to attack.

    inputs: float32 (stays, hours, features), scaled; lengths: int64 (stays,), valid hours; labels: int64 (stays,), the
    true and predicted class; mutable: bool (stays, hours, features), cells that a constrained attack may change;
    constants: float32 (stays, hours, channels), what the model sees after the features and no attack changes, or None.
    """

    inputs: Tensor
    lengths: Tensor
    labels: Tensor
    mutable: Tensor
    constants: Tensor | None = None

    def seen(self, stays: Tensor, features: Tensor) -> Tensor:
        """What the model sees of `stays` (rows,) with `features` (rows, hours, features) in place of their inputs."""
        if self.constants is None:
            return features
        return torch.cat([features, self.constants[stays].to(features)], dim=-1)


@dataclass(frozen=True)
class SearchSettings:
    """lambdas: the mode's own grid; steps: updates before giving up; rate: step size; kappa: margin of a flip."""

    lambdas: Sequence[float]
    steps: int
    rate: float
    kappa: float
    chunk_rows: int


@dataclass(frozen=True)
class FinishedRows:
    """Rows whose search has ended.

    stay, position: int64 (rows,), index into the victims and into the lambda grid; perturbation: float32
    (rows, hours, features); steps: int64 (rows,), updates made; flipped: bool (rows,), by the mode's float32 rule.
    """

    stay: Tensor
    position: Tensor
    perturbation: Tensor
    steps: Tensor
    flipped: Tensor


def search(
    model: nn.Module, victims: Victims, mode: Mode, settings: SearchSettings, progress: Progress
) -> Iterator[FinishedRows]:
    """Attack every victim at every lambda; yield blocks of finished rows, in no particular order.

    The model maps (batch, time, feature) and lengths (batch,) to two logits; its weights are frozen here.
    """
    freeze(model)
    gradients = _clean_gradients(model, victims, settings.chunk_rows)
    problem = _Problem(victims, mode, settings, gradients)
    moving = problem.moving_rows()
    yield from _fixed_rows(problem, moving, progress)
    yield from _moving_rows(model, problem, moving.nonzero().flatten(), progress)


def freeze(model: nn.Module) -> None:
    """Make gradients flow to inputs only; dropout off, recurrent layers in the mode that cuDNN's backward needs."""
    model.eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for module in model.modules():
        if isinstance(module, nn.RNNBase) and not module.dropout:
            module.train()


def margins(model: nn.Module, inputs: Tensor, lengths: Tensor, labels: Tensor) -> Tensor:
    """logit_t - logit_y of every row, (rows,): positive where the prediction is not the label."""
    logits = model(inputs, lengths)
    margin: Tensor = (logits[:, 1] - logits[:, 0]) * (1 - 2 * labels).to(logits.dtype)
    return margin


def in_chunks(model: nn.Module, inputs: Tensor, lengths: Tensor, labels: Tensor, chunk_rows: int) -> Tensor:
    """`margins` without gradients, in batches padded to `chunk_rows`, so that neighbours do not matter."""
    with torch.no_grad():
        parts = [
            margins(
                model,
                *(_pad(part[start : start + chunk_rows], chunk_rows) for part in (inputs, lengths, labels)),
            )
            for start in range(0, len(inputs), chunk_rows)
        ]
    return torch.cat(parts)[: len(inputs)] if parts else inputs.new_zeros(0)


@dataclass(frozen=True)
class _Problem:
    """The rows of one search: row number = stay x number of lambdas + position in the grid."""

    victims: Victims
    mode: Mode
    settings: SearchSettings
    gradients: Tensor

    @property
    def grid(self) -> Tensor:
        return torch.tensor(self.settings.lambdas, dtype=torch.float32, device=self.victims.inputs.device)

    @property
    def n_rows(self) -> int:
        return len(self.victims.inputs) * len(self.settings.lambdas)

    def stay_of(self, rows: Tensor) -> Tensor:
        return rows.div(len(self.settings.lambdas), rounding_mode="floor")

    def position_of(self, rows: Tensor) -> Tensor:
        return rows.remainder(len(self.settings.lambdas))

    def lambdas_of(self, rows: Tensor) -> Tensor:
        return self.grid[self.position_of(rows)][:, None, None]

    def first_step(self, rows: Tensor) -> Tensor:
        """The perturbation of `rows` after one update from zero, from the shared clean gradient."""
        stays = self.stay_of(rows)
        zero = torch.zeros_like(self.victims.inputs[stays])
        return self.update(zero, self.gradients[stays], self.lambdas_of(rows), stays)

    def update(self, perturbation: Tensor, gradient: Tensor, lambdas: Tensor, stays: Tensor) -> Tensor:
        """One update of the mode, kept in the box and in the mutable cells when the mode is constrained."""
        moved = self.mode.step(perturbation, gradient, lambdas, self.settings.rate)
        if not self.mode.constrained:
            return moved
        inputs = self.victims.inputs[stays]
        boxed = torch.where(moved == 0, moved, (inputs + moved).clamp(0.0, 1.0) - inputs)
        return boxed * self.victims.mutable[stays]

    def moving_rows(self) -> Tensor:
        """Bool (rows,): False where the first update leaves a row at zero, where it then stays for ever."""
        blocks = torch.split(torch.arange(self.n_rows, device=self.victims.inputs.device), _ROWS_A_BLOCK)
        return torch.cat([self.first_step(rows).flatten(1).any(dim=1) for rows in blocks])


def _pad(values: Tensor, rows: int) -> Tensor:
    """Repeat the first row at the end until there are `rows` of them."""
    if len(values) == rows:
        return values
    return torch.cat([values, values[:1].expand(rows - len(values), *values.shape[1:])])


def _gradients(model: nn.Module, victims: Victims, stays: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Margins (rows,) of `stays` (rows,) at `inputs`, and the gradient of logit_y - logit_t with respect to these."""
    leaf = inputs.detach().requires_grad_(True)
    margin = margins(model, victims.seen(stays, leaf), victims.lengths[stays], victims.labels[stays])
    (gradient,) = torch.autograd.grad(-margin.sum(), leaf)
    return margin.detach(), gradient


def _clean_gradients(model: nn.Module, victims: Victims, chunk_rows: int) -> Tensor:
    count = len(victims.inputs)
    chunks = torch.split(torch.arange(count, device=victims.inputs.device), chunk_rows)
    padded = (_pad(stays, chunk_rows) for stays in chunks)
    return torch.cat([_gradients(model, victims, stays, victims.inputs[stays])[1] for stays in padded])[:count]


def _fixed_rows(problem: _Problem, moving: Tensor, progress: Progress) -> Iterator[FinishedRows]:
    """Rows that never leave zero: as if all steps had been made, without a flip."""
    for rows in torch.split((~moving).nonzero().flatten(), _ROWS_A_BLOCK):
        stays = problem.stay_of(rows)
        progress.advance(len(rows))
        yield FinishedRows(
            stay=stays,
            position=problem.position_of(rows),
            perturbation=torch.zeros_like(problem.victims.inputs[stays]),
            steps=torch.full_like(rows, problem.settings.steps),
            flipped=torch.zeros_like(rows, dtype=torch.bool),
        )


class _Batch:
    """The fixed-size batch: `row` is -1 where a place is empty (it then holds a harmless copy of the first victim)."""

    def __init__(self, problem: _Problem, places: int) -> None:
        device = problem.victims.inputs.device
        self.problem = problem
        self.row = torch.full((places,), -1, dtype=torch.int64, device=device)
        self.steps = torch.zeros(places, dtype=torch.int64, device=device)
        self.perturbation = problem.victims.inputs.new_zeros((places, *problem.victims.inputs.shape[1:]))

    @property
    def stay(self) -> Tensor:
        return self.problem.stay_of(self.row.clamp(min=0))

    @property
    def empty(self) -> Tensor:
        return (self.row < 0).nonzero().flatten()

    def fill(self, rows: Tensor) -> None:
        """Seat `rows` in empty places, one update done already."""
        places = self.empty[: len(rows)]
        self.row[places] = rows
        self.steps[places] = 1
        self.perturbation[places] = self.problem.first_step(rows)

    def evaluate(self, model: nn.Module) -> tuple[Tensor, Tensor]:
        """Margins (places,) and gradients (places, hours, features) at the current perturbations."""
        victims, stays = self.problem.victims, self.stay
        return _gradients(model, victims, stays, victims.inputs[stays] + self.perturbation)

    def take(self, places: Tensor, flipped: Tensor) -> FinishedRows:
        """Remove the rows in `places`."""
        rows = self.row[places]
        finished = FinishedRows(
            stay=self.problem.stay_of(rows),
            position=self.problem.position_of(rows),
            perturbation=self.perturbation[places],
            steps=self.steps[places],
            flipped=flipped[places],
        )
        self.row[places] = -1
        self.perturbation[places] = 0.0
        return finished

    def advance(self, gradient: Tensor) -> None:
        """One update of every row."""
        lambdas = self.problem.lambdas_of(self.row.clamp(min=0))
        self.perturbation = self.problem.update(self.perturbation, gradient, lambdas, self.stay)
        self.perturbation[self.empty] = 0.0
        self.steps += 1


def _moving_rows(model: nn.Module, problem: _Problem, waiting: Tensor, progress: Progress) -> Iterator[FinishedRows]:
    settings = problem.settings
    batch = _Batch(problem, settings.chunk_rows)
    finished: list[FinishedRows] = []
    held = successes = done = 0
    batch.fill(waiting[: settings.chunk_rows])
    waiting = waiting[settings.chunk_rows :]
    while len(batch.empty) < settings.chunk_rows:
        margin, gradient = batch.evaluate(model)
        flipped = margin > settings.kappa
        leaving = ((batch.row >= 0) & (flipped | (batch.steps >= settings.steps))).nonzero().flatten()
        taken = batch.take(leaving, flipped) if len(leaving) else None
        batch.advance(gradient)
        if taken is None:
            continue
        finished.append(taken)
        held, done, successes = held + len(leaving), done + len(leaving), successes + int(taken.flipped.sum())
        progress.advance(len(leaving), f"{successes / done:.0%} of the searched rows flipped")
        incoming = waiting[: len(batch.empty)]
        batch.fill(incoming)
        waiting = waiting[len(incoming) :]
        if held >= _ROWS_A_BLOCK:
            yield _join(finished)
            finished, held = [], 0
    if finished:
        yield _join(finished)


def _join(blocks: Sequence[FinishedRows]) -> FinishedRows:
    return FinishedRows(
        stay=torch.cat([block.stay for block in blocks]),
        position=torch.cat([block.position for block in blocks]),
        perturbation=torch.cat([block.perturbation for block in blocks]),
        steps=torch.cat([block.steps for block in blocks]),
        flipped=torch.cat([block.flipped for block in blocks]),
    )
