"""The optimisation of one model: whole-tensor batches, class balancing, early stopping by inner validation loss."""

import logging
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn.functional import cross_entropy

from ehr_attack.errors import UserError
from ehr_attack.models import chosen_settings
from ehr_attack.models.contract import FitsInputs, HasMembers
from ehr_attack.progress import Progress
from ehr_attack.resuming import ResumeFile, rng_states, set_rng_states

_log = logging.getLogger(__name__)
_PREDICTION_BATCH = 512


@dataclass(frozen=True)
class Tensors:
    """Model inputs (stays, hours, features), valid hours (stays,) and labels (stays,) int64, on one device."""

    inputs: Tensor
    lengths: Tensor
    labels: Tensor


@dataclass
class _Best:
    epoch: int = 0
    loss: float = math.inf
    weights: dict[str, Tensor] = field(default_factory=dict)


def fit(
    model: torch.nn.Module,
    tensors: Tensors,
    *,
    train: npt.NDArray[np.int64],
    validation: npt.NDArray[np.int64],
    settings: Mapping[str, Any],
    seed: int,
    label: str,
    resume: ResumeFile | None = None,
    after_epoch: Callable[[int, Mapping[str, float]], None] | None = None,
) -> tuple[pd.DataFrame, int]:
    """Train `model` in place; leave in it the weights of the epoch with the smallest validation loss.

    train, validation: row indices of `tensors`. settings: the config's `training` block (epochs, patience, batch_size,
    lr, weight_decay, class_balance, precision). resume: where the state is kept, and taken from, after a kill; the
    result is the same to the bit. after_epoch: told each epoch's number and losses; what it raises ends the training.
    Returns the history, a row an epoch, and the chosen epoch. Raises UserError when the training diverged.
    """
    device = tensors.inputs.device
    train_rows, validation_rows = (torch.from_numpy(rows).to(device) for rows in (train, validation))
    train_labels = tensors.labels[train_rows]
    weights = class_weights(train_labels)
    if isinstance(model, FitsInputs):
        model.fit_inputs(tensors.inputs[train_rows], tensors.lengths[train_rows])
    optimiser = build_optimiser(model, settings)
    run = _Run(model, optimiser, np.random.default_rng(seed), resume)
    with Progress(f"training {label}", settings["epochs"], "epochs") as progress:
        progress.advance(run.epoch)
        while not run.ended(settings):
            order = _epoch_order(train, train_labels.cpu().numpy(), settings["class_balance"], run.random)
            loss = train_epoch(model, tensors, torch.from_numpy(order).to(device), optimiser, weights, settings)
            measured = {"train_loss": loss, **_validate(model, tensors, validation_rows, weights)}
            run.record(measured)
            progress.advance(1, f"validation AUROC {measured['validation_auroc']:.3f}")
            if after_epoch is not None:
                after_epoch(run.epoch, measured)
    if run.best.epoch == 0:
        raise UserError(
            "training.lr: the loss was not a finite number in any epoch; the training diverged. "
            f"Lower training.lr (now {settings['lr'] or 'that of each member'})."
        )
    if run.epoch < settings["epochs"]:
        _log.info("%s: stopped after epoch %d, the best was epoch %d", label, run.epoch, run.best.epoch)
    model.load_state_dict(run.best.weights)
    history = pd.DataFrame(run.rows)
    return history.assign(chosen=history["epoch"] == run.best.epoch), run.best.epoch


class _Run:
    """What a training is made of after each epoch: model, optimiser, random states, history and the best weights."""

    def __init__(
        self,
        model: torch.nn.Module,
        optimiser: torch.optim.Optimizer,
        random: np.random.Generator,
        resume: ResumeFile | None,
    ) -> None:
        self._model, self._optimiser, self._resume = model, optimiser, resume
        self.random = random
        self.best = _Best()
        self.rows: list[dict[str, float]] = []
        if resume is not None and (stored := resume.load()) is not None:
            self._restore(*stored)
            _log.info("going on after epoch %d, where an earlier run was interrupted", self.epoch)

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return len(self.rows)

    def ended(self, settings: Mapping[str, Any]) -> bool:
        """Whether all epochs are done, none has been the best for `patience` epochs, or the weights are lost."""
        patience = settings["patience"]
        waited = patience is not None and self.epoch - self.best.epoch >= patience
        lost = bool(self.rows) and not math.isfinite(self.rows[-1]["train_loss"])
        return self.epoch >= settings["epochs"] or waited or lost

    def record(self, measured: Mapping[str, float]) -> None:
        """Add an epoch to the history, keep its weights if it is the best, and now and then the whole state."""
        self.rows.append({"epoch": self.epoch + 1, **measured})
        if measured["validation_loss"] < self.best.loss:
            weights = {name: tensor.detach().clone() for name, tensor in self._model.state_dict().items()}
            self.best = _Best(self.epoch, measured["validation_loss"], weights)
        if self._resume is not None and self._resume.due():
            self._resume.save(self._tensors(), self._values())

    def _tensors(self) -> dict[str, Tensor]:
        moments = {
            f"optimiser/{index}/{name}": value
            for index, state in self._optimiser.state_dict()["state"].items()
            for name, value in state.items()
        }
        model = {f"model/{name}": tensor for name, tensor in self._model.state_dict().items()}
        best = {f"best/{name}": tensor for name, tensor in self.best.weights.items()}
        return moments | model | best | {f"rng/{name}": state for name, state in rng_states().items()}

    def _values(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "best_epoch": self.best.epoch,
            "best_loss": self.best.loss,
            "order": self.random.bit_generator.state,
        }

    def _restore(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        device = next(self._model.parameters()).device
        self._model.load_state_dict(_below("model/", tensors))
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in _below("optimiser/", tensors).items():
            index, _, part = name.partition("/")
            moments.setdefault(int(index), {})[part] = value
        groups = self._optimiser.state_dict()["param_groups"]
        self._optimiser.load_state_dict({"state": moments, "param_groups": groups})
        weights = {name: tensor.to(device) for name, tensor in _below("best/", tensors).items()}
        self.best = _Best(values["best_epoch"], values["best_loss"], weights)
        self.rows = list(values["rows"])
        self.random.bit_generator.state = values["order"]
        set_rng_states(_below("rng/", tensors))


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def build_optimiser(model: torch.nn.Module, settings: Mapping[str, Any]) -> torch.optim.Optimizer:
    """AdamW by `settings` (lr, weight_decay; see `chosen_settings`), in one fused kernel where there is one."""
    fused = next(model.parameters()).device.type in ("cpu", "cuda")
    members = model.members if isinstance(model, HasMembers) else [model]
    return torch.optim.AdamW([_group(member, settings) for member in members], fused=fused)


def _group(member: torch.nn.Module, settings: Mapping[str, Any]) -> dict[str, Any]:
    chosen = chosen_settings(member, settings)
    return {"params": list(member.parameters()), "lr": chosen["lr"], "weight_decay": chosen["weight_decay"]}


def class_weights(labels: Tensor) -> Tensor:
    """Weights (2,) under which both classes weigh the same and the mean weight of a stay is one."""
    counts = torch.bincount(labels, minlength=2).clamp(min=1)
    return len(labels) / (2.0 * counts)


def train_epoch(
    model: torch.nn.Module,
    tensors: Tensors,
    order: Tensor,
    optimiser: torch.optim.Optimizer,
    weights: Tensor,
    settings: Mapping[str, Any],
) -> float:
    """One pass over the rows `order` (int64) of `tensors` in batches; the mean loss of a stay.

    weights: class weights (2,), used when settings["class_balance"] is "weights".
    """
    model.train()
    batch_weights = weights if settings["class_balance"] == "weights" else None
    total, count = torch.zeros((), device=order.device), 0
    for batch in torch.split(order, settings["batch_size"]):
        loss = training_step(
            model,
            tensors.inputs.index_select(0, batch),
            tensors.lengths.index_select(0, batch),
            tensors.labels.index_select(0, batch),
            optimiser,
            batch_weights,
            settings["precision"],
        )
        total += loss * len(batch)
        count += len(batch)
    return float(total) / count


def training_step(
    model: torch.nn.Module,
    inputs: Tensor,
    lengths: Tensor,
    labels: Tensor,
    optimiser: torch.optim.Optimizer,
    weights: Tensor | None,
    precision: str,
) -> Tensor:
    """Forward, backward and update on one batch; its loss, a scalar tensor without gradient."""
    with _autocast(precision, inputs.device):
        members = (
            model.member_logits(inputs, lengths) if isinstance(model, HasMembers) else model(inputs, lengths)[None]
        )
    # The mean of the members' losses: each learns as it would alone, whatever the others say.
    loss = cross_entropy(members.float().flatten(0, 1), labels.repeat(len(members)), weight=weights)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return loss.detach()


@torch.no_grad()
def logits_of(model: torch.nn.Module, inputs: Tensor, lengths: Tensor) -> Tensor:
    """Logits (rows, 2) of `inputs` (rows, hours, features), in evaluation mode, batch by batch."""
    model.eval()
    batches = zip(torch.split(inputs, _PREDICTION_BATCH), torch.split(lengths, _PREDICTION_BATCH), strict=True)
    return torch.cat([model(batch, length) for batch, length in batches])


def _epoch_order(
    train: npt.NDArray[np.int64], labels: npt.NDArray[np.int64], balance: str, random: np.random.Generator
) -> npt.NDArray[np.int64]:
    """The training stays of one epoch in random order; `oversample` draws the rarer class up to the commoner one."""
    if balance == "oversample":
        deaths, survivors = train[labels == 1], train[labels == 0]
        rare, common = sorted((deaths, survivors), key=len)
        drawn = random.choice(rare, size=len(common) - len(rare), replace=True)
        train = np.concatenate([common, rare, drawn])
    return random.permutation(train)


def _autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def _validate(model: torch.nn.Module, tensors: Tensors, rows: Tensor, weights: Tensor) -> dict[str, float]:
    """Class-balanced log loss and AUROC (NaN with one class) on the inner validation stays."""
    logits, labels = logits_of(model, tensors.inputs[rows], tensors.lengths[rows]), tensors.labels[rows]
    loss = float(cross_entropy(logits, labels, weight=weights))
    truth = labels.cpu().numpy()
    score = (logits[:, 1] - logits[:, 0]).cpu().numpy()
    defined = 0 < truth.sum() < truth.size and np.isfinite(score).all()
    auroc = float(roc_auc_score(truth, score)) if defined else float("nan")
    return {"validation_loss": loss, "validation_auroc": auroc}
