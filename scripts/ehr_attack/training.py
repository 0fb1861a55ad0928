"""Training a model on one fold: its splits, its preprocessing, its predictions, and the files that keep them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from ehr_attack.checkpoint import save_checkpoint
from ehr_attack.cohort_data import CohortData
from ehr_attack.devices import choose_device, make_deterministic, reuse_freed_memory
from ehr_attack.fitting import Tensors, fit, logits_of
from ehr_attack.folds import inner_validation
from ehr_attack.inputs import model_inputs
from ehr_attack.mistakes import learning_split, scaling_stays, seed_of
from ehr_attack.models import build_model, chosen_settings, inputs_of, label_of
from ehr_attack.models.contract import check_model
from ehr_attack.preprocessing import Preprocessing
from ehr_attack.resuming import ResumeFile
from ehr_attack.schemas.training import HISTORY, PREDICTIONS
from ehr_attack.storage import write_frame
from ehr_attack.variables import Variable


@dataclass(frozen=True)
class TrainedFold:
    """What training on a fold yields; `history` and `predictions` follow the canonical schemas."""

    model: torch.nn.Module
    preprocessing: Preprocessing
    history: pd.DataFrame
    predictions: pd.DataFrame
    details: dict[str, Any]


@dataclass(frozen=True)
class PreparedFold:
    """A fold ready to be trained: the splits, the preprocessing fitted on its training stays, and the model's inputs.

    split: the true one of every stay, (stays,); train, validation: row indices of `tensors` that training takes.
    """

    model_name: str
    name: str
    fold: int
    seed: int
    labels: dict[str, Any]
    split: npt.NDArray[np.str_]
    train: npt.NDArray[np.int64]
    validation: npt.NDArray[np.int64]
    preprocessing: Preprocessing
    inputs: str
    tensors: Tensors

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.tensors.inputs.device

    @property
    def identity(self) -> dict[str, Any]:
        """Plain values that, with the settings, code and data, decide what training makes of it."""
        return self.labels | {
            "architecture": self.model_name,
            "inputs": self.inputs,
            "device": self.device.type,
            "preprocessing": self.preprocessing.to_dict(),
        }

    def fresh_model(self) -> torch.nn.Module:
        """The model with its initial weights, the same each time. Raises UserError when it breaks its contract."""
        make_deterministic(self.seed)
        hours, channels = self.tensors.inputs.shape[1:]
        model = build_model(self.model_name, channels)
        check_model(model, self.model_name, channels, hours)
        return model.to(self.device)

    def predictions(self, model: torch.nn.Module, cohort: CohortData) -> pd.DataFrame:
        """What `model` predicts for every stay, whatever its split; PREDICTIONS."""
        return pd.DataFrame(
            {
                **self.labels,
                "split": self.split,
                "stay_id": cohort.features.stay_ids,
                "label": cohort.labels,
                "p_death": predict(model, self.tensors.inputs, self.tensors.lengths),
            }
        )


def prepare_fold(
    cohort: CohortData,
    fold: int,
    model_name: str,
    seed: int,
    imputation: str,
    settings: Mapping[str, Any],
    *,
    label: str = "",
    mistake: str = "",
) -> PreparedFold:
    """Split the stays, fit the preprocessing and make the inputs; see `train_fold` for the arguments and errors."""
    name, random_seed = label or label_of(model_name), mixed_seed(seed_of(seed, mistake), fold)
    make_deterministic(random_seed)
    reuse_freed_memory()
    device = choose_device(settings["device"], "training.device")
    split = split_stays(cohort, fold, random_seed)
    learnt = learning_split(split, mistake)
    scaled = scaling_stays(learnt, mistake)
    fitted = Preprocessing.fit(cohort.recorded[scaled], cohort.variable_names, imputation)
    kind = inputs_of(model_name, settings["inputs"])
    return PreparedFold(
        model_name=model_name,
        name=name,
        fold=fold,
        seed=random_seed,
        labels={"model": name, "seed": seed, "fold": fold},
        split=split,
        train=np.flatnonzero(learnt == "train"),
        validation=np.flatnonzero(learnt == "validation"),
        preprocessing=fitted,
        inputs=kind,
        tensors=_to_tensors(cohort, fitted, kind, device),
    )


def train_fold(
    *,
    cohort: CohortData,
    fold: int,
    model_name: str,
    seed: int,
    imputation: str,
    settings: dict[str, Any],
    code: Mapping[str, str],
    tuned: Mapping[str, Any] | None = None,
    resume_folder: Path | None = None,
    label: str = "",
    mistake: str = "",
) -> TrainedFold:
    """Train `model_name` on all folds but `fold` and predict every stay.

    model_name: a name of `MODELS` or a user's own `package.module:Class`. settings: the config's `training` block (see
    `fit`; inputs and device). tuned: what a search chose (`hyperparameters.load_chosen`), whose settings win. The
    preprocessing is fitted on the training split, without the inner validation patients and the held-out fold. code:
    digests of the code that trains, for the checkpoint. resume_folder: where the state is kept now and then, and from
    where a killed training goes on. `label`: the model's name in the results, by default that of `model_name`;
    `mistake`: one of `ehr_attack.mistakes` to make on purpose, "" for none. On a CPU the result depends on the
    arguments only (one thread), interrupted or not. Raises UserError when the device is not there, the training
    diverges, or a user's own model does not work.
    """
    settings = settings | (tuned["settings"] if tuned else {})
    prepared = prepare_fold(cohort, fold, model_name, seed, imputation, settings, label=label, mistake=mistake)
    model = prepared.fresh_model()
    details = prepared.identity | {
        "mistake": mistake,
        "training": chosen_settings(model, settings),
        "tuned": dict(tuned) if tuned else None,
        "code": dict(code),
        "data": dict(cohort.file_digests),
    }
    resume = None if resume_folder is None else ResumeFile(resume_folder, details)
    history, chosen = fit(
        model,
        prepared.tensors,
        train=prepared.train,
        validation=prepared.validation,
        settings=details["training"],
        seed=prepared.seed,
        label=f"{prepared.name} fold {fold}",
        resume=resume,
    )
    return TrainedFold(
        model=model,
        preprocessing=prepared.preprocessing,
        history=history.assign(**prepared.labels),
        predictions=prepared.predictions(model, cohort),
        details=details | {"chosen_epoch": chosen},
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


def mixed_seed(seed: int, number: int) -> int:
    """A seed that differs for every number: of the fold, so that folds do not share their initial weights."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def _to_tensors(cohort: CohortData, fitted: Preprocessing, kind: str, device: torch.device) -> Tensors:
    features = cohort.features
    inputs = model_inputs(fitted, kind, features.values, features.carry_in, features.n_hours)
    return Tensors(
        inputs=torch.from_numpy(inputs).to(device),
        lengths=torch.from_numpy(features.n_hours).to(device),
        labels=torch.from_numpy(cohort.labels.astype(np.int64)).to(device),
    )
