"""Training a model on one fold: whole-tensor batches, class balancing, the best epoch by inner validation loss."""

import copy
import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn.functional import cross_entropy

from ehr_attack.checkpoint import save_checkpoint
from ehr_attack.cohort_data import CohortData
from ehr_attack.devices import choose_device, make_deterministic
from ehr_attack.errors import UserError
from ehr_attack.folds import inner_validation
from ehr_attack.inputs import model_inputs
from ehr_attack.mistakes import learning_split, scaling_stays, seed_of
from ehr_attack.models import build_model, chosen_settings, inputs_of, label_of
from ehr_attack.models.contract import FitsInputs, check_model
from ehr_attack.preprocessing import Preprocessing
from ehr_attack.progress import Progress
from ehr_attack.schemas import HISTORY, PREDICTIONS
from ehr_attack.storage import write_frame
from ehr_attack.variables import Variable

_log = logging.getLogger(__name__)
_PREDICTION_BATCH = 512


@dataclass(frozen=True)
class TrainedFold:
    """What training on a fold yields; `history` and `predictions` follow the canonical schemas."""

    model: torch.nn.Module
    preprocessing: Preprocessing
    history: pd.DataFrame
    predictions: pd.DataFrame
    details: dict[str, Any]


@dataclass(frozen=True)
class _Tensors:
    inputs: Tensor
    lengths: Tensor
    labels: Tensor


def train_fold(
    *,
    cohort: CohortData,
    fold: int,
    model_name: str,
    seed: int,
    imputation: str,
    settings: dict[str, Any],
    label: str = "",
    mistake: str = "",
) -> TrainedFold:
    """Train `model_name` on all folds but `fold` and predict every stay.

    model_name: a name of `MODELS` or a user's own `package.module:Class`. settings: the config's `training` block
    (epochs, batch_size, lr, weight_decay, class_balance, inputs, device, precision). The preprocessing is fitted on the
    training split, without the inner validation patients and the held-out fold. On a CPU the result depends on the
    arguments only (one thread). `label`: the model's name in the results, by default that of `model_name`; `mistake`:
    one of `ehr_attack.mistakes` to make on purpose, "" for none. Raises UserError when the device is not there or a
    user's own model does not work.
    """
    random_seed = _seed_of(seed_of(seed, mistake), fold)
    make_deterministic(random_seed)
    device = choose_device(settings["device"], "training.device")
    split = split_stays(cohort, fold, random_seed)
    learnt = learning_split(split, mistake)
    scaled = scaling_stays(learnt, mistake)
    fitted = Preprocessing.fit(cohort.features.values[scaled], cohort.variable_names, imputation)
    kind = inputs_of(model_name, settings["inputs"])
    tensors = _to_tensors(cohort, fitted, kind, device)
    model = build_model(model_name, tensors.inputs.shape[-1])
    check_model(model, model_name, tensors.inputs.shape[-1], tensors.inputs.shape[1])
    model = model.to(device)
    settings = chosen_settings(model, settings)
    name = label or label_of(model_name)
    history, chosen = _fit(model, tensors, learnt, settings, random_seed, f"{name} fold {fold}")
    labels: dict[str, Any] = {"model": name, "seed": seed, "fold": fold}
    predictions = pd.DataFrame(
        {
            **labels,
            "split": split,
            "stay_id": cohort.features.stay_ids,
            "label": cohort.labels,
            "p_death": predict(model, tensors.inputs, tensors.lengths),
        }
    )
    return TrainedFold(
        model=model,
        preprocessing=fitted,
        history=history.assign(**labels),
        predictions=predictions,
        details=labels
        | {"architecture": model_name, "inputs": kind, "mistake": mistake}
        | {"chosen_epoch": chosen, "device": device.type, "training": settings},
    )


def save_trained(
    trained: TrainedFold,
    variables: Sequence[Variable],
    *,
    weights: str,
    sidecar: str,
    history: str,
    predictions: str,
) -> None:
    """Write the checkpoint (weights as safetensors, all else as JSON), the training history and the predictions."""
    save_checkpoint(
        model=trained.model,
        preprocessing=trained.preprocessing,
        details=trained.details | {"units": {variable.name: variable.unit for variable in variables}},
        weights=Path(weights),
        sidecar=Path(sidecar),
    )
    write_frame(trained.history, history, HISTORY)
    write_frame(trained.predictions, predictions, PREDICTIONS)


def split_stays(cohort: CohortData, fold: int, seed: int) -> npt.NDArray[np.str_]:
    """The split of every stay, (stays,): `test` is the held-out fold, `validation` an inner part of the others."""
    split = np.where(cohort.folds == fold, "test", "train").astype("<U10")
    training = np.flatnonzero(split == "train")
    inner = inner_validation(cohort.labels[training], cohort.subject_ids[training], seed)
    split[training[inner]] = "validation"
    return split


def predict(model: torch.nn.Module, inputs: Tensor, lengths: Tensor) -> npt.NDArray[np.float64]:
    """Probability of death of every row of `inputs` (rows, hours, features), as float64 (rows,)."""
    return torch.softmax(logits_of(model, inputs, lengths).double(), dim=1)[:, 1].cpu().numpy()


@torch.no_grad()
def logits_of(model: torch.nn.Module, inputs: Tensor, lengths: Tensor) -> Tensor:
    """Logits (rows, 2) of `inputs` (rows, hours, features), in evaluation mode, batch by batch."""
    model.eval()
    batches = zip(torch.split(inputs, _PREDICTION_BATCH), torch.split(lengths, _PREDICTION_BATCH), strict=True)
    return torch.cat([model(batch, length) for batch, length in batches])


def _seed_of(seed: int, fold: int) -> int:
    """A seed that differs for every fold, so that folds do not share their initial weights."""
    return int(np.random.SeedSequence([seed, fold]).generate_state(1)[0])


def _to_tensors(cohort: CohortData, fitted: Preprocessing, kind: str, device: torch.device) -> _Tensors:
    features = cohort.features
    inputs = model_inputs(fitted, kind, features.values, features.carry_in, features.n_hours)
    return _Tensors(
        inputs=torch.from_numpy(inputs).to(device),
        lengths=torch.from_numpy(features.n_hours).to(device),
        labels=torch.from_numpy(cohort.labels.astype(np.int64)).to(device),
    )


def _fit(
    model: torch.nn.Module,
    tensors: _Tensors,
    split: npt.NDArray[np.str_],
    settings: dict[str, Any],
    seed: int,
    label: str,
) -> tuple[pd.DataFrame, int]:
    """Train in place; leave the weights of the epoch with the smallest validation loss in `model`."""
    train = np.flatnonzero(split == "train")
    validation = torch.from_numpy(np.flatnonzero(split == "validation")).to(tensors.inputs.device)
    weights = _class_weights(tensors.labels[torch.from_numpy(train).to(tensors.labels.device)])
    batch_weights = weights if settings["class_balance"] == "weights" else None
    _fit_inputs(model, tensors, train)
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings["lr"], weight_decay=settings["weight_decay"])
    random = np.random.default_rng(seed)
    train_labels = tensors.labels.cpu().numpy()[train]
    rows: list[dict[str, float]] = []
    best_loss, best_epoch, best_weights = float("inf"), 0, copy.deepcopy(model.state_dict())
    with Progress(f"training {label}", settings["epochs"], "epochs") as progress:
        for epoch in range(1, settings["epochs"] + 1):
            order = _epoch_order(train, train_labels, settings["class_balance"], random)
            loss = _train_epoch(model, tensors, _batches(order, settings, tensors), optimiser, batch_weights, settings)
            measured = _validate(model, tensors, validation, weights)
            rows.append({"epoch": epoch, "train_loss": loss, **measured})
            if measured["validation_loss"] < best_loss:
                best_loss, best_epoch = measured["validation_loss"], epoch
                best_weights = copy.deepcopy(model.state_dict())
            progress.advance(1, f"validation AUROC {measured['validation_auroc']:.3f}")
    if best_epoch == 0:
        raise UserError(
            "training.lr: the loss was not a finite number in any epoch; the training diverged. "
            f"Lower training.lr (now {settings['lr']})."
        )
    model.load_state_dict(best_weights)
    history = pd.DataFrame(rows)
    return history.assign(chosen=history["epoch"] == best_epoch), best_epoch


def _fit_inputs(model: torch.nn.Module, tensors: _Tensors, train: npt.NDArray[np.int64]) -> None:
    """Let a model that has buffers to fit (see `ehr_attack.models`) fit them to the training stays."""
    if isinstance(model, FitsInputs):
        rows = torch.from_numpy(train).to(tensors.inputs.device)
        model.fit_inputs(tensors.inputs[rows], tensors.lengths[rows])


def _class_weights(labels: Tensor) -> Tensor:
    """Weights (2,) under which both classes weigh the same and the mean weight of a stay is one."""
    counts = torch.bincount(labels, minlength=2).clamp(min=1)
    return len(labels) / (2.0 * counts)


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


def _batches(order: npt.NDArray[np.int64], settings: dict[str, Any], tensors: _Tensors) -> Iterator[Tensor]:
    return iter(torch.split(torch.from_numpy(order).to(tensors.inputs.device), settings["batch_size"]))


def _train_epoch(
    model: torch.nn.Module,
    tensors: _Tensors,
    batches: Iterator[Tensor],
    optimiser: torch.optim.Optimizer,
    weights: Tensor | None,
    settings: dict[str, Any],
) -> float:
    """One pass over `batches`; the mean loss of a stay."""
    model.train()
    total, count = torch.zeros((), device=tensors.inputs.device), 0
    for batch in batches:
        with _autocast(settings["precision"], tensors.inputs.device):
            logits = model(tensors.inputs[batch], tensors.lengths[batch])
        loss = cross_entropy(logits.float(), tensors.labels[batch], weight=weights)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        total += loss.detach() * len(batch)
        count += len(batch)
    return float(total) / count


def _autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def _validate(model: torch.nn.Module, tensors: _Tensors, rows: Tensor, weights: Tensor) -> dict[str, float]:
    """Class-balanced log loss and AUROC (NaN with one class) on the inner validation stays."""
    logits, labels = logits_of(model, tensors.inputs[rows], tensors.lengths[rows]), tensors.labels[rows]
    loss = float(cross_entropy(logits, labels, weight=weights))
    truth = labels.cpu().numpy()
    score = (logits[:, 1] - logits[:, 0]).cpu().numpy()
    defined = 0 < truth.sum() < truth.size and np.isfinite(score).all()
    auroc = float(roc_auc_score(truth, score)) if defined else float("nan")
    return {"validation_loss": loss, "validation_auroc": auroc}
