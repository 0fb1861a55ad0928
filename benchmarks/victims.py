"""The stays and the model that the attack's benchmark attacks, made by the workflow itself.

Fold 0 of 5 of PhysioNet 2012 set A, or of the synthetic cohort where that is not there: the LSTM is trained on the
other folds, and correctly classified held-out stays are drawn, half of each outcome as far as there are enough.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from benchmarks.attack_files import STAYS, WEIGHTS
from benchmarks.publishing import FOLDER
from ehr_attack.attacks import CHUNK_ROWS
from ehr_attack.attacks.held_out import attacked_stays, held_out_inputs
from ehr_attack.checkpoint import load_checkpoint
from ehr_attack.cohort_data import load_cohort
from ehr_attack.training import predict
from ehr_attack.variables import load_variables

PROJECT = FOLDER.parent
REAL, SYNTHETIC = "PhysioNet 2012 set A", "the synthetic cohort"
WINDOW_HOURS, FOLD, SEED = 48, 0, 0


@dataclass(frozen=True)
class Cohort:
    """What was made ready: whose stays, how many are held out and correctly classified, and how good the model is."""

    data: str
    held_out: int
    correct: int
    auroc: float


def prepare(folder: Path, work: Path, shared: Path, stays: int, overlays: Sequence[Path] = ()) -> Cohort:
    """Train the model with the workflow in `work` and write weights and `stays` victims into `folder`.

    shared: the folder whose data/physionet2012 may hold set A. overlays: further config files.
    """
    source = shared / "data" / "physionet2012"
    real = source.is_dir()
    results = _run_workflow(work, source if real else None, overlays)
    weights = results / "models" / "lstm" / f"seed_{SEED}" / f"fold_{FOLD}" / WEIGHTS
    variables = load_variables("clinical", "physionet2012" if real else "mimic3")
    cohort = load_cohort(
        results / "features" / "features.parquet",
        results / "extract" / "stays.parquet",
        results / "folds" / "folds.parquet",
        variables=variables,
        window_hours=WINDOW_HOURS,
    )
    checkpoint = load_checkpoint(weights, weights.with_suffix(".json"), model_name="lstm", variables=variables)
    if (cohort.features.n_hours != WINDOW_HOURS).any():
        raise SystemExit("The benchmark needs stays that last the whole window; the other tools know no lengths.")
    held_out, inputs = held_out_inputs(cohort, checkpoint, FOLD)
    labels = cohort.labels[held_out].astype(np.int64)
    attacked = partial(
        attacked_stays, checkpoint.model, cohort, held_out, inputs, chunk_rows=CHUNK_ROWS["cpu"], seed=SEED, fold=FOLD
    )
    chosen = attacked(max_stays=stays)
    p_death = predict(checkpoint.model, torch.from_numpy(inputs), torch.from_numpy(cohort.features.n_hours[held_out]))
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / STAYS, inputs=inputs[chosen], labels=labels[chosen])
    shutil.copyfile(weights, folder / WEIGHTS)
    return Cohort(
        REAL if real else SYNTHETIC, len(held_out), len(attacked(max_stays=None)), float(roc_auc_score(labels, p_death))
    )


def _run_workflow(work: Path, source: Path | None, overlays: Sequence[Path]) -> Path:
    """Run the workflow up to the trained model of the fold; what is there already is not made again."""
    results = Path("results") / "bench"
    target = results / "models" / "lstm" / f"seed_{SEED}" / f"fold_{FOLD}" / WEIGHTS
    preset = [PROJECT / "workflow" / "presets" / "physionet2012.yaml"] if source else []
    files = [*preset, *(overlay.resolve() for overlay in overlays)]
    command = [
        sys.executable, "-m", "snakemake", "--cores", "2", "--quiet", "--snakefile", PROJECT / "Snakefile",
        "--directory", work, *(["--configfile", *files] if files else []),
        "--config", "run={name: bench}", "--", target,
    ]  # fmt: skip
    work.mkdir(parents=True, exist_ok=True)
    environment = os.environ | ({"PHYSIONET2012_DIR": str(source.resolve())} if source else {})
    subprocess.run(list(map(str, command)), check=True, env=environment)
    return work / results
