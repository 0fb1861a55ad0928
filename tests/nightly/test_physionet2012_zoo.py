"""Every model of the zoo on PhysioNet 2012, on held-out patients; `make nightly` trains them first."""

from pathlib import Path

import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

LEAST = {"clinical": {"logistic": 0.78, "lstm": 0.77, "ensemble": 0.79}, "all": {"logistic": 0.83, "ensemble": 0.83}}
LEAK = 0.90
BELOW_LOGISTIC = 0.005


@pytest.fixture(params=["clinical", "all"])
def profile(request) -> str:
    return request.param


@pytest.fixture
def models(project_dir, profile) -> Path:
    folder = project_dir / "results" / f"zoo_{profile}" / "models"
    assert folder.is_dir(), "run `make zoo-physionet2012` first"
    return folder


def held_out(models: Path, metric: str) -> pd.Series:
    """The mean over the five held-out folds, by model."""
    frame = pd.concat(map(pd.read_parquet, models.glob("*/metrics.parquet")))
    folds = frame[(frame["metric"] == metric) & frame["fold"].notna()]
    assert (folds.groupby("model").size() == 5).all()
    return folds.groupby("model")["value"].mean()


def on_validation(models: Path) -> pd.Series:
    """The mean AUROC on the folds' inner validation patients, by which a model may be chosen."""
    scores = {}
    for folder in models.iterdir():
        folds = [
            pd.read_parquet(file).query("split == 'validation'") for file in folder.glob("*/*/predictions.parquet")
        ]
        scores[folder.name] = sum(roc_auc_score(fold["label"], fold["p_death"]) for fold in folds) / len(folds)
    return pd.Series(scores)


def test_models_discriminate_and_none_is_too_good_to_be_true(models, profile):
    auroc = held_out(models, "auroc")
    assert {name: value for name, value in auroc.items() if value < LEAST[profile].get(name, 0.70)} == {}
    assert auroc.max() < LEAK


def test_the_model_that_validation_chooses_is_no_worse_than_the_baseline(models):
    auroc = held_out(models, "auroc")
    assert auroc[on_validation(models).idxmax()] >= auroc["logistic"] - BELOW_LOGISTIC


def test_the_chosen_model_is_calibrated_once_recalibrated(models):
    frame = pd.read_parquet(models / on_validation(models).idxmax() / "metrics.parquet")
    pooled = frame[frame["fold"].isna()].set_index("metric")["value"]
    assert 0.8 <= pooled["calibration_slope_recalibrated"] <= 1.2
