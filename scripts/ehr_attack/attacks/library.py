"""Attacks on any two-class torch model of time series, without this project's data or workflow."""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor, nn

from ehr_attack.attacks import CELLS, CHUNK_ROWS, MODES, entry_of, load_mode
from ehr_attack.attacks.contract import check_mode
from ehr_attack.attacks.engine import in_chunks, search
from ehr_attack.attacks.gradients import freeze, gradient_path
from ehr_attack.attacks.library_tables import Block, tables_of
from ehr_attack.attacks.mode import Mode, SearchSettings
from ehr_attack.attacks.rows import Victims
from ehr_attack.attacks.space import CellSpace
from ehr_attack.attacks.verification import Judge
from ehr_attack.errors import UserError
from ehr_attack.progress import Progress

LAMBDAS = tuple(np.geomspace(0.0005, 0.015, 25).tolist())
"""The grid of Sun et al. (KDD 2018), on the scale of mode `sun2018`; the other modes multiply it by a factor."""


@dataclass(frozen=True)
class AttackResult:
    """What an attack found.

    outcomes: one row a sample and lambda: sample (position in the inputs), label, lambda (NaN where the mode has none),
    flipped (by the mode's own float32 rule), flipped_float64 (recomputed alone), success (in the box and the mutable
    cells, recomputed alone; in mode `sun2018`, flipped), steps, margin (logit_t - logit_y), l1, linf, n_changed; with
    `prune`, pruned (not searched) and audited (searched although a smaller lambda failed).
    perturbations: one row a changed cell of a success: sample, lambda, time, feature, delta.
    n_samples, n_correct: samples given, and of them those classified correctly, which alone are attacked.
    """

    outcomes: pd.DataFrame
    perturbations: pd.DataFrame
    n_samples: int
    n_correct: int
    shape: tuple[int, int]

    @property
    def success_rate(self) -> float:
        """Share of the attacked samples with at least one success; NaN where none was attacked."""
        return float(self.outcomes.groupby("sample")["success"].any().mean()) if len(self.outcomes) else float("nan")

    def smallest(self, norm: str = "l1") -> pd.DataFrame:
        """The smallest success of each sample by `norm` (l1, linf, n_changed), one row a sample that has one."""
        found = self.outcomes[self.outcomes["success"]]
        return found.sort_values([norm, "lambda"], kind="stable").drop_duplicates("sample").sort_values("sample")

    def perturbation(self, sample: int, weight: float = float("nan")) -> npt.NDArray[np.float64]:
        """The change (time, feature) of `sample` at lambda `weight`; zero where it had no success."""
        dense = np.zeros(self.shape)
        cells = self.perturbations[self.perturbations["sample"] == sample]
        at = cells["lambda"].isna() if np.isnan(weight) else np.isclose(cells["lambda"], weight)
        cells = cells[at]
        dense[cells["time"], cells["feature"]] = cells["delta"]
        return dense


def run_attack(
    model: nn.Module,
    inputs: Tensor | npt.ArrayLike,
    labels: Tensor | npt.ArrayLike,
    *,
    mode: str | Mode = "ista",
    lambdas: Sequence[float] | npt.NDArray[np.floating[Any]] | None = None,
    steps: int = 100,
    rate: float = 0.02,
    kappa: float = 0.01,
    mutable: Tensor | npt.ArrayLike | None = None,
    box: tuple[float, float] = (0.0, 1.0),
    lengths: Tensor | npt.ArrayLike | None = None,
    prune: bool = False,
    chunk_rows: int | None = None,
    path: str = "auto",
    device: str | torch.device | None = None,
    progress: bool = True,
) -> AttackResult:
    """Find small changes of `inputs` that turn the model's correct predictions around.

    model: maps (batch, time, feature), with `lengths` also their (batch,), to two logits a row (or to one, of class 1
    against class 0); it is left as it was. inputs: float (samples, time, feature). labels: 0 or 1
    (samples,). mode: the name of one that varies cells (`ista`, `ead`, `fmn_l1`, `sigma_zero`, `sun2018`), or a `Mode`
    of your own. lambdas: weights of the sparse term, on the scale of the mode; None: 25 of them. steps, rate, kappa:
    updates before giving up, step size, margin of the logits that a flip must pass. mutable: bool, what may change, of
    the shape of the inputs or one that broadcasts to it; None: everything. box: limits of a changed input. lengths:
    valid steps of each sample. prune: skip the lambdas above a sample's first failure (a heuristic; 5 % are searched
    all the same). chunk_rows: rows (sample x lambda) attacked at once. path: how gradients are computed (auto,
    autograd, manual, fused). device: where; None: where the model is.

    Only correctly classified samples are attacked; with none, the result is empty. A sample that no cell of may change
    ends without a flip; so does one whose logits or gradients are not finite on the way. Raises UserError for inputs,
    labels or weights that are not finite or do not fit.

    >>> import torch
    >>> class Sum(torch.nn.Module):  # predicts class 1 when the values of a series add up to more than 3
    ...     def forward(self, inputs):
    ...         total = inputs.flatten(1).sum(dim=1) - 3.0
    ...         return torch.stack([-total / 2, total / 2], dim=1)
    >>> inputs = torch.full((2, 4, 2), 0.25)  # both add up to 2
    >>> result = run_attack(Sum(), inputs, labels=[0, 1], lambdas=[0.5], progress=False)
    >>> result.n_samples, result.n_correct, result.success_rate
    (2, 1, 1.0)
    >>> bool(abs(result.smallest()["l1"].item() - 1.0) < 0.1)  # just over 1 is missing
    True
    """
    where = torch.device(device) if device is not None else _device_of(model)
    kind = _checked_mode(mode)
    victims = _victims(inputs, labels, mutable, lengths, where)
    adapted = _adapted(model, where, lengths is not None)
    if steps < 1:
        raise UserError(f"steps: {steps}; expected at least 1.")
    grid = _grid(lambdas, kind.lambda_factor(rate))
    settings = SearchSettings(
        lambdas=grid,
        steps=steps,
        rate=rate,
        kappa=kappa if kind.constrained else 0.0,
        chunk_rows=chunk_rows or CHUNK_ROWS.get(where.type, CHUNK_ROWS["cpu"]),
        prune=prune and len(grid) > 1,
    )
    correct = _correct(adapted, victims, settings.chunk_rows)
    attacked = victims.subset(correct)
    blocks = _attacked(adapted, attacked, kind, settings, box, path, progress) if len(correct) else iter(())
    time, feature = victims.inputs.shape[1:]
    samples, classes = correct.cpu().numpy(), attacked.labels.cpu().numpy()
    outcomes, perturbations = tables_of(list(blocks), samples, classes, settings, feature)
    return AttackResult(outcomes, perturbations, len(victims.inputs), len(correct), (time, feature))


class _Adapted(nn.Module):
    """The user's model with lengths that it may not take, and with one logit made two."""

    def __init__(self, model: nn.Module, with_lengths: bool) -> None:
        super().__init__()
        self.model, self._with_lengths = model, with_lengths

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        logits: Tensor = self.model(inputs, lengths) if self._with_lengths else self.model(inputs)
        if logits.ndim == 1 or logits.shape[-1] == 1:
            single = logits.reshape(len(inputs))
            return torch.stack([torch.zeros_like(single), single], dim=1)
        if logits.shape != (len(inputs), 2):
            raise UserError(f"the model gives logits of shape {tuple(logits.shape)}; expected (batch, 2) or (batch,).")
        return logits


def _checked_mode(mode: str | Mode) -> Mode:
    if isinstance(mode, Mode):
        check_mode(mode, type(mode).__name__)
        return mode
    if ":" not in mode and (mode not in MODES or entry_of(mode).kind != CELLS):
        known = ", ".join(name for name, entry in MODES.items() if entry.kind == CELLS)
        raise UserError(f"mode: {mode!r} cannot be run here; expected one of {known}, or a Mode of your own.")
    return load_mode(mode)


def _grid(lambdas: Sequence[float] | npt.NDArray[np.floating[Any]] | None, factor: float | None) -> tuple[float, ...]:
    """The mode's lambdas, rising; one NaN where it has none."""
    if factor is None:
        return (float("nan"),)
    grid = np.sort(
        np.asarray([factor * weight for weight in LAMBDAS] if lambdas is None else lambdas, dtype=np.float64)
    )
    if grid.ndim != 1 or not len(grid) or not (grid >= 0).all():
        raise UserError(f"lambdas: {lambdas}; expected a list of numbers from 0 up.")
    return tuple(grid.tolist())


def _device_of(model: nn.Module) -> torch.device:
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def _victims(
    inputs: Tensor | npt.ArrayLike,
    labels: Tensor | npt.ArrayLike,
    mutable: Tensor | npt.ArrayLike | None,
    lengths: Tensor | npt.ArrayLike | None,
    device: torch.device,
) -> Victims:
    values = torch.as_tensor(inputs, dtype=torch.float32, device=device).detach()
    classes = torch.as_tensor(labels, device=device).to(torch.int64)
    if values.ndim != 3 or classes.shape != values.shape[:1]:
        raise UserError(
            f"inputs {tuple(values.shape)} and labels {tuple(classes.shape)} do not fit; expected (samples, time, "
            "feature) and (samples,)."
        )
    if not bool(torch.isfinite(values).all()):
        raise UserError("inputs: some are NaN or infinite; fill them before the attack, as the model sees them filled.")
    if not bool(((classes == 0) | (classes == 1)).all()):
        raise UserError("labels: expected 0 or 1 for every sample.")
    steps = values.shape[1]
    valid = torch.full_like(classes, steps) if lengths is None else torch.as_tensor(lengths, device=device)
    if valid.shape != classes.shape or not bool(((valid >= 1) & (valid <= steps)).all()):
        raise UserError(f"lengths: expected one of 1 to {steps} for every sample.")
    free = torch.ones_like(values, dtype=torch.bool) if mutable is None else torch.as_tensor(mutable, device=device)
    try:
        free = free.to(torch.bool).expand_as(values)
    except RuntimeError as error:
        raise UserError(
            f"mutable: shape {tuple(free.shape)}; expected that of the inputs, {tuple(values.shape)}, or one that "
            "broadcasts to it."
        ) from error
    inside = torch.arange(steps, device=device)[None, :] < valid[:, None]
    return Victims(values, valid.to(torch.int64), classes, free & inside[:, :, None])


def _adapted(model: nn.Module, device: torch.device, with_lengths: bool) -> _Adapted:
    """A frozen copy of the user's model in float32. Raises UserError when a weight is no finite number."""
    for name, parameter in model.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            raise UserError(f"model: the parameter {name} holds NaN or infinite numbers; an attack on it says nothing.")
    adapted = _Adapted(copy.deepcopy(model).to(device).float(), with_lengths)
    freeze(adapted)
    return adapted


def _correct(model: nn.Module, victims: Victims, chunk_rows: int) -> Tensor:
    """Positions of the correctly classified samples."""
    return (in_chunks(model, victims.inputs, victims.lengths, victims.labels, chunk_rows) < 0).nonzero().flatten()


def _attacked(
    model: _Adapted,
    victims: Victims,
    mode: Mode,
    settings: SearchSettings,
    box: tuple[float, float],
    path: str,
    show: bool,
) -> Iterator[Block]:
    """Judged rows, block by block; of the points only the entries that changed."""
    space = CellSpace(victims.inputs, victims.mutable, box)
    judge = Judge(
        model,
        victims,
        space,
        _inside(space),
        constrained=mode.constrained,
        kappa=settings.kappa,
        chunk_rows=settings.chunk_rows,
    )
    # A model of this project is known by its class, and may have a faster path than autograd.
    ours = type(model.model).__module__.startswith("ehr_attack.models.")
    gradients = gradient_path(model.model if ours else model, path, victims.inputs.device)
    with Progress("attack", len(victims.inputs) * len(settings.lambdas), "rows", quiet=not show) as progress:
        for block in search(model, victims, mode, settings, progress, space=space, path=gradients):
            yield Block.of(judge.judge(block))


def _inside(space: CellSpace) -> Callable[[Tensor, Tensor, bool], Tensor]:
    """What is feasible where nothing but the box and the mutable cells is asked for."""

    def feasible(stays: Tensor, point: Tensor, outward: bool) -> Tensor:
        low, high = space.bounds(stays)
        return torch.clamp(point.double(), low.double(), high.double())

    return feasible
