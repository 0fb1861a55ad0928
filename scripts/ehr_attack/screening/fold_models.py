"""The trained models of a run: one a fold, of one model and seed."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ehr_attack.checkpoint import Checkpoint, load_checkpoint
from ehr_attack.errors import UserError
from ehr_attack.feature_tensor import CARRY_IN_HOUR
from ehr_attack.models import MODELS, label_of
from ehr_attack.screening import RUN_FILE
from ehr_attack.screening.description import RunDescription
from ehr_attack.storage import read_parquet


@dataclass(frozen=True)
class FoldModels:
    """The checkpoints of all folds, by fold; `model`: their label; `digest`: SHA-256 that names these weights."""

    model: str
    seed: int
    checkpoints: dict[int, Checkpoint]
    digest: str


def load_fold_models(
    run: Path,
    description: RunDescription,
    *,
    model: str | None = None,
    seed: int | None = None,
    data: Mapping[str, str] | None = None,
) -> FoldModels:
    """Read the models of every fold, on the CPU.

    model: as `--model` names it, None: the run's first; seed: None: the run's first; data: digests of the files that
    they must have been trained on. Raises UserError when a model is missing, damaged or of another version, and for a
    user's own model that was not named on the command line: a file of the run's folder alone has nothing imported.
    """
    architecture, seed = description.architecture(model), description.seed(seed)
    label = label_of(architecture)
    if architecture not in MODELS and model != architecture:
        raise UserError(
            f"model {label} is a module of your own. Name it in full, so that it is imported by your word and not by a "
            f"file's: --model {architecture}"
        )
    folder = run / "models" / label / f"seed_{seed}"
    checkpoints = {}
    for fold in range(description.folds):
        weights, sidecar = (folder / f"fold_{fold}" / name for name in ("model.safetensors", "model.json"))
        if not (weights.is_file() and sidecar.is_file()):
            raise UserError(
                f"{weights.parent}: no trained model here. Expected the models of {description.folds} folds; run "
                f"`snakemake {weights}` with the run's config."
            )
        checkpoints[fold] = load_checkpoint(
            weights, sidecar, model_name=architecture, variables=description.variables, data=data
        )
    _check_settings(run, description, checkpoints)
    weights_digests = [str(checkpoint.details["weights_sha256"]) for checkpoint in checkpoints.values()]
    return FoldModels(label, seed, checkpoints, hashlib.sha256("".join(weights_digests).encode()).hexdigest())


def _check_settings(run: Path, description: RunDescription, checkpoints: dict[int, Checkpoint]) -> None:
    """Raise UserError where the models, or the features they were trained on, are of other settings than `run.json`."""
    remedy = f"{run / RUN_FILE} is of another config than the models. Run snakemake with the config of this run."
    imputations = {checkpoint.preprocessing.imputation for checkpoint in checkpoints.values()}
    if imputations != {description.imputation}:
        raise UserError(f"features.imputation: {remedy} (The models know {', '.join(sorted(imputations))}.)")
    features = run / "features" / "features.parquet"
    if not features.is_file():
        return
    if (read_parquet(features, ["hour"])["hour"].to_numpy() == CARRY_IN_HOUR).any() and not description.carry_in_hours:
        raise UserError(f"features.carry_in_hours: {remedy} (Its features hold values from before hour 0.)")
