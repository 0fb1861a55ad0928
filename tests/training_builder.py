"""A small made-up cohort whose outcome a model can learn, and how it is trained; also a program that does so.

python training_builder.py train|tune <folder>
"""

import sys
from pathlib import Path

import numpy as np

from ehr_attack.checkpoint import model_code
from ehr_attack.cohort_data import CohortData
from ehr_attack.feature_tensor import FeatureTensor
from ehr_attack.resuming import discard
from ehr_attack.training import TrainedFold, save_trained, train_fold
from ehr_attack.tuning import TunedFold, save_tuned, tune_fold
from ehr_attack.variables import load_variables

VARIABLES = load_variables()[:4]
SETTINGS = {
    "epochs": 8, "patience": None, "batch_size": 16, "lr": 0.01, "weight_decay": None, "class_balance": "weights",
    "inputs": "values", "tune": False, "device": "cpu", "precision": "float32",
}  # fmt: skip
TUNING = {"trials": 12, "lr": [0.0003, 0.3], "weight_decay": [0.0001, 0.3], "batch_size": [16, 32]}
LONG = {"epochs": 150, "lr": 0.001}
"""Changes of SETTINGS that make a training of a few seconds."""


def made_up_cohort() -> CohortData:
    """160 stays of 80 patients, 6 hours, 4 variables; the last hours of variable 0 decide the outcome."""
    random = np.random.default_rng(0)
    values = random.normal(size=(160, 6, 4)).astype(np.float32)
    labels = (values[:, 4:, 0].mean(axis=1) > 0.5).astype(np.int8)
    values[random.random(values.shape) < 0.2] = np.nan
    features = FeatureTensor(
        stay_ids=np.arange(160),
        values=values,
        carry_in=np.full((160, 4), np.nan, dtype=np.float32),
        n_hours=np.full(160, 6),
    )
    subjects = np.repeat(np.arange(80), 2)
    return CohortData(
        variable_names=tuple(variable.name for variable in VARIABLES),
        features=features,
        labels=labels,
        subject_ids=subjects,
        folds=(subjects % 4).astype(np.int32),
        file_digests={"features": "a", "stays": "b", "folds": "c"},
    )


def train(
    cohort: CohortData,
    seed: int = 0,
    fold: int = 0,
    model_name: str = "lstm",
    resume_folder: Path | None = None,
    **changes: object,
) -> TrainedFold:
    """Train a model on the cohort's other folds, with SETTINGS but for the `changes`."""
    return train_fold(
        cohort=cohort,
        fold=fold,
        model_name=model_name,
        seed=seed,
        imputation="forward",
        settings=SETTINGS | changes,
        code=model_code(model_name),
        resume_folder=resume_folder,
    )


def files_in(folder: Path) -> dict[str, Path]:
    """Where `save_trained` is to write."""
    return {
        "weights": folder / "model.safetensors",
        "sidecar": folder / "model.json",
        "history": folder / "history.parquet",
        "predictions": folder / "predictions.parquet",
    }


def save(trained: TrainedFold, folder: Path) -> dict[str, Path]:
    """Write all that a training yields into `folder`."""
    files = files_in(folder)
    save_trained(trained, VARIABLES, **{name: str(path) for name, path in files.items()})
    return files


def tune(cohort: CohortData, folder: Path, fold: int = 0, tuning: dict | None = None, **changes: object) -> TunedFold:
    """Search with TUNING but for `tuning`, and SETTINGS but for the `changes`; write the result into `folder`."""
    tuned = tune_fold(
        cohort=cohort,
        fold=fold,
        model_name="lstm",
        seed=0,
        imputation="forward",
        settings=SETTINGS | {"epochs": 6, "tune": True, "tuning": TUNING | (tuning or {})} | changes,
        code=model_code("lstm"),
        journal=folder / "study.journal",
    )
    files = {name: folder / name for name in ("hyperparameters", "trials")}
    save_tuned(tuned, **{name: str(path) for name, path in files.items()})
    return tuned


if __name__ == "__main__":
    task, target = sys.argv[1], Path(sys.argv[2])
    if task == "tune":
        tune(made_up_cohort(), target, epochs=25)
    else:
        save(train(made_up_cohort(), resume_folder=target / ".resume", **LONG), target)
        discard(target / ".resume")
