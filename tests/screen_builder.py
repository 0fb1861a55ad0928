"""A small finished run with made-up records, built by the stages' own functions, and a slow way to judge a record."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import torch

from ehr_attack.checkpoint import load_checkpoint, model_code
from ehr_attack.cohort_data import load_cohort
from ehr_attack.feature_tensor import load_tensor
from ehr_attack.features import build_features
from ehr_attack.inputs import model_inputs
from ehr_attack.schemas.cohort import FOLDS, MEASUREMENTS, STAYS
from ehr_attack.screening.description import RunDescription
from ehr_attack.storage import write_frame, write_parquet
from ehr_attack.training import save_trained, train_fold
from ehr_attack.variables import load_variables
from training_builder import SETTINGS, files_in

VARIABLES = load_variables()
NAMES = [variable.name for variable in VARIABLES]
HOURS, CARRY_IN = 12, 6.0
FIRST_ID = 73_140_001
ATTACK = {"steps": 60, "rate": 0.02, "kappa": 0.01, "mutable": "all", "mutable_hours": None}
_TYPICAL = {
    "heart_rate": (86, 15), "sbp": (121, 20), "dbp": (62, 12), "temperature": (36.9, 0.6), "resp_rate": (18, 4),
    "spo2": (96, 2), "lactate": (2.4, 1.1), "paco2": (41, 7), "ph": (7.38, 0.06), "albumin": (3.1, 0.5),
    "bicarbonate": (24, 4), "calcium": (8.4, 0.6), "creatinine": (1.4, 0.5), "glucose": (135, 35),
    "magnesium": (2.0, 0.3), "potassium": (4.1, 0.5), "sodium": (138, 4), "bun": (28, 10), "platelets": (210, 70),
}  # fmt: skip


@dataclass(frozen=True)
class SmallRun:
    """Where it lies, its records as a frame, and its folds by stay."""

    folder: Path
    measurements: pd.DataFrame
    stays: pd.DataFrame
    folds: Mapping[int, int]
    model: str
    imputation: str


def make_run(
    folder: Path, stays: int = 110, folds: int = 2, model: str = "lstm", imputation: str = "forward", epochs: int = 20
) -> SmallRun:
    """Made-up stays of up to HOURS hours whose last lactates decide; the last stay is never held out."""
    run = folder / "small"
    records, cohort = made_up(stays)
    fold = np.arange(stays) % folds
    fold[-1] = -1
    paths = {name: run / place for name, place in _PLACES.items()}
    write_frame(cohort, paths["stays"], STAYS)
    write_measurements(records, paths["measurements"])
    write_frame(pd.DataFrame({"stay_id": cohort["stay_id"], "fold": fold}), paths["folds"], FOLDS)
    features_of(paths["stays"], paths["measurements"], paths["features"])
    data = load_cohort(
        *(paths[name] for name in ("features", "stays", "folds")), variables=VARIABLES, window_hours=HOURS
    )
    for number in range(folds):
        trained = train_fold(
            cohort=data, fold=number, model_name=model, seed=0, imputation=imputation,
            settings=SETTINGS | {"epochs": epochs}, code=model_code(model),
        )  # fmt: skip
        target = run / "models" / model / "seed_0" / f"fold_{number}"
        save_trained(trained, VARIABLES, **{name: str(path) for name, path in files_in(target).items()})
    describe(run, model, folds, imputation)
    by_stay = dict(zip(cohort["stay_id"].tolist(), fold.tolist(), strict=True))
    return SmallRun(run, records, cohort, by_stay, model, imputation)


_PLACES = {
    "stays": "extract/stays.parquet",
    "measurements": "extract/measurements.parquet",
    "features": "features/features.parquet",
    "folds": "folds/folds.parquet",
}


def describe(run: Path, model: str, folds: int, imputation: str, **changes: Any) -> None:
    """Write the run's `run.json`."""
    values: dict[str, Any] = {
        "run": "small", "profile": "clinical", "kind": "mimic3", "window_hours": HOURS, "carry_in_hours": CARRY_IN,
        "imputation": imputation, "models": (model,), "seeds": (0,), "folds": folds, "modes": ("measurement",),
        "attack": ATTACK, "levels": 4,
    }  # fmt: skip
    RunDescription(**values | changes).write(run / "run.json")


def made_up(stays: int, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Records (some before hour 0, some hours with two values) and the stays table; every eighth stay ends early."""
    random = np.random.default_rng(seed)
    ids = FIRST_ID + np.arange(stays)
    n_hours = np.where(np.arange(stays) % 8 == 7, HOURS - 4, HOURS)
    rows: list[tuple[int, float, str, float]] = []
    died = np.zeros(stays, dtype=bool)
    for stay, stay_id in enumerate(ids.tolist()):
        level = random.normal()
        died[stay] = level + 0.8 * random.normal() > 0.4
        for variable in VARIABLES:
            middle, spread = _TYPICAL[variable.name]
            shift = level * spread if variable.name == "lactate" else 0.0
            for hour in np.flatnonzero(random.random(n_hours[stay] + 3) < 0.3) - 3:
                for minute in random.choice(60, size=random.choice([1, 1, 2]), replace=False):
                    value = middle + shift + spread * random.normal()
                    value = np.round(np.rint(value / variable.precision) * variable.precision, 9)
                    value = min(max(value, variable.low_exclusive + variable.precision), variable.high_inclusive)
                    rows.append((stay_id, float(hour + minute / 60), variable.name, float(value)))
    moment = pd.Timestamp("2150-01-01")
    cohort = pd.DataFrame(
        {
            "stay_id": ids, "subject_id": ids, "hadm_id": ids, "intime": moment, "outtime": moment, "age_years": 60.0,
            "sex": "F", "care_unit": "MICU", "los_icu_days": 2.0, "los_hospital_days": 3.0, "died_in_hospital": died,
            "source": "test", "source_set": None, "hours_observable": n_hours,
        }
    )  # fmt: skip
    return pd.DataFrame(rows, columns=["stay_id", "hours", "variable", "value"]), cohort


def write_measurements(records: pd.DataFrame, path: Path) -> None:
    """Write records as the canonical table."""
    write_parquet(pa.Table.from_pandas(records, preserve_index=False), path, MEASUREMENTS)


def features_of(stays: Path, measurements: Path, out: Path) -> None:
    """Run the stage that makes the features."""
    build_features(
        stays=stays,
        measurements=measurements,
        variable_names=NAMES,
        carry_in_hours=CARRY_IN,
        window_hours=HOURS,
        out=out,
    )


def with_changes(records: pd.DataFrame, changes: Iterable[tuple[int, Mapping[str, Any]]]) -> pd.DataFrame:
    """Records in which every (stay, change as screen.json prints it) is carried out, each on exactly one row."""
    edited = records.copy()
    for stay, change in changes:
        found = edited.index[
            (edited["stay_id"] == stay)
            & (edited["hours"] == change["hours"])
            & (edited["variable"] == change["variable"])
            & (edited["value"] == change["value_before"])
        ]
        assert len(found) >= 1
        edited.loc[found[0], "value"] = change["value_after"]
    return edited


def judged(run: SmallRun, records: pd.DataFrame, folder: Path) -> tuple[list[int], npt.NDArray[np.float64]]:
    """Stay ids, and the logit of death of each by each model (folds, stays): SQL, preprocessing, model."""
    folder.mkdir(parents=True, exist_ok=True)
    write_measurements(records, folder / "measurements.parquet")
    write_frame(run.stays, folder / "stays.parquet", STAYS)
    features_of(folder / "stays.parquet", folder / "measurements.parquet", folder / "features.parquet")
    tensor = load_tensor(folder / "features.parquet", NAMES, HOURS)
    found = []
    for sidecar in sorted((run.folder / "models" / run.model / "seed_0").glob("fold_*/model.json")):
        checkpoint = load_checkpoint(
            sidecar.with_suffix(".safetensors"), sidecar, model_name=run.model, variables=VARIABLES
        )
        inputs = model_inputs(
            checkpoint.preprocessing, checkpoint.inputs, tensor.values, tensor.carry_in, tensor.n_hours
        )
        with torch.no_grad():
            logits = checkpoint.model(torch.from_numpy(inputs), torch.from_numpy(tensor.n_hours)).double().numpy()
        found.append(logits[:, 1] - logits[:, 0])
    return tensor.stay_ids.tolist(), np.stack(found)
