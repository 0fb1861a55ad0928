"""A small run of every stage in one process, as the workflow would run it: synthetic records to susceptibility."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ehr_attack.attacks import label_of, needs_measurements, settings_of
from ehr_attack.attacks.baselines import Budget
from ehr_attack.attacks.fold import FoldAttack, Shard, write_attack
from ehr_attack.attacks.records import TABLES
from ehr_attack.attacks.selection import merge_shards
from ehr_attack.checkpoint import load_checkpoint, model_code
from ehr_attack.cohort_data import CohortData, load_cohort
from ehr_attack.config import load_config_file
from ehr_attack.evaluation import evaluate_predictions
from ehr_attack.features import build_features
from ehr_attack.folds import assign_folds
from ehr_attack.models import settings_of as training_settings
from ehr_attack.schemas.cohort import FOLDS
from ehr_attack.schemas.evaluation import METRICS
from ehr_attack.storage import read_frame, write_frame
from ehr_attack.susceptibility import analyse_attacks
from ehr_attack.synthetic import generate
from ehr_attack.training import save_trained, train_fold
from ehr_attack.variables import load_variables
from mimic3_builder import extract_staged, staged
from training_builder import files_in

VARIABLES = load_variables()
NAMES = [variable.name for variable in VARIABLES]
CONFIG = load_config_file(Path(__file__).parents[1] / "config.yaml")
WINDOW = 48
_TABLES_OF_MAP = ("cells", "variables", "hours", "by_model", "replicates", "tradeoff", "curves", "summary")


@dataclass(frozen=True)
class SmallRun:
    """The files of a run below `folder`, where the workflow would write them."""

    folder: Path
    folds: int

    @classmethod
    def of(cls, folder: Path, *, stays: int, seed: int = 1, folds: int = 2, **truth: Any) -> "SmallRun":
        """Generate the records (truth: `signal`, `planted`), extract them, build features and folds."""
        generate(folder / "source", stays, seed, **({"signal": "late"} | truth))
        (folder / "staged").mkdir()
        extract_staged(staged(folder / "source", folder / "staged"), folder)
        people = read_frame(folder / "stays.parquet")
        write_frame(assign_folds(people, folds, 0), folder / "folds.parquet", FOLDS)
        build_features(
            stays=folder / "stays.parquet", measurements=folder / "measurements.parquet", variable_names=NAMES,
            carry_in_hours=0, window_hours=WINDOW, out=folder / "features.parquet",
        )  # fmt: skip
        return cls(folder, folds)

    @property
    def cohort(self) -> CohortData:
        """The cohort as the stages load it."""
        files = (self.folder / f"{name}.parquet" for name in ("features", "stays", "folds"))
        return load_cohort(*files, variables=VARIABLES, window_hours=WINDOW)

    def checkpoint(self, model: str, seed: int, fold: int) -> Path:
        """The folder of a trained model."""
        return self.folder / "models" / model / str(seed) / str(fold)

    def attacks(self, model: str, mode: str, seed: int, fold: int) -> Path:
        """The folder of merged attack tables."""
        return self.folder / "attacks" / model / label_of(mode) / str(seed) / str(fold)

    def map(self, model: str, mode: str) -> Path:
        """The folder of susceptibility tables."""
        return self.folder / "susceptibility" / model / label_of(mode)

    def train(self, model: str, seed: int = 0, **settings: Any) -> None:
        """Train a model on every fold and measure it: checkpoints, predictions, and metrics.parquet."""
        predictions = []
        for fold in range(self.folds):
            trained = train_fold(
                cohort=self.cohort, fold=fold, model_name=model, seed=seed, imputation="forward",
                settings=training_settings(model, CONFIG["training"]) | {"device": "cpu"} | settings,
                code=model_code(model),
            )  # fmt: skip
            target = self.checkpoint(model, seed, fold)
            target.mkdir(parents=True)
            save_trained(trained, VARIABLES, **{name: str(path) for name, path in files_in(target).items()})
            predictions.append(trained.predictions)
        stays = read_frame(self.folder / "stays.parquet", ["stay_id", "subject_id"])
        metrics = evaluate_predictions(pd.concat(predictions, ignore_index=True), stays, 100)
        write_frame(metrics, self.folder / "models" / model / "metrics.parquet", METRICS)

    def attack(self, model: str, mode: str, seed: int = 0, **settings: Any) -> None:
        """Attack the held-out stays of every fold, and mark each stay's best attack."""
        for fold in range(self.folds):
            self.attack_fold(model, mode, self.attacks(model, mode, seed, fold), seed=seed, fold=fold, **settings)

    def attack_fold(
        self, model: str, mode: str, target: Path, *, seed: int = 0, fold: int = 0, shards: int = 1,
        matched: Path | None = None, **settings: Any,
    ) -> None:  # fmt: skip
        """Attack one fold in so many shards, merged in `target`; matched: the merged tables that a baseline follows."""
        cohort, trained = self.cohort, self.checkpoint(model, seed, fold)
        checkpoint = load_checkpoint(
            trained / "model.safetensors", trained / "model.json", model_name=model, variables=VARIABLES
        )
        budget = matched and Budget.read(str(matched / "outcomes.parquet"), str(matched / "perturbations.parquet"))
        files: dict[str, list[str]] = {name: [] for name in TABLES}
        for index in range(shards):
            shard = target / "shards" / str(index)
            shard.mkdir(parents=True)
            of_shard = FoldAttack(
                cohort=cohort, checkpoint=checkpoint, variables=VARIABLES, mode_name=mode,
                seed=seed, fold=fold, shard=Shard(index, shards),
                settings=settings_of(label_of(mode), CONFIG["attack"]) | {"device": "cpu"} | settings,
                measurements=self.folder / "measurements.parquet" if needs_measurements(mode) else None,
                budget=budget,
            )  # fmt: skip
            paths = {name: str(shard / f"{name}.parquet") for name in TABLES}
            write_attack(of_shard, **paths)
            for name, path in paths.items():
                files[name].append(path)
        merge_shards(
            **files, n_cells=WINDOW * len(NAMES), weight=0.5,
            **{f"out_{name}": str(target / f"{name}.parquet") for name in TABLES},
        )  # fmt: skip

    def analyse(self, model: str, mode: str, seeds: tuple[int, ...] = (0,), resamples: int = 100) -> Path:
        """Measure susceptibility over all seeds and folds; the folder of its tables."""
        target = self.map(model, mode)
        target.mkdir(parents=True)
        merged = [self.attacks(model, mode, seed, fold) for seed in seeds for fold in range(self.folds)]
        analyse_attacks(
            *([str(folder / f"{name}.parquet") for folder in merged] for name in ("outcomes", "perturbations")),
            str(self.folder / "features.parquet"), str(self.folder / "stays.parquet"), model=model, mode=label_of(mode),
            variable_names=NAMES, window_hours=WINDOW, resamples=resamples,
            out={name: str(target / f"{name}.parquet") for name in _TABLES_OF_MAP},
        )  # fmt: skip
        return target
