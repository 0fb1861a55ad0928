"""The attack on every correctly classified held-out stay of a run, as the workflow does it: search, proof and tables.

`PYTHONPATH=scripts python -m benchmarks.whole_attack --run <results/name> --kind physionet2012 --mode ista` attacks all
folds of a run that has been trained and prints JSON: seconds, rows, updates, success. On a CPU, `--processes 2` attacks
two folds at a time, one thread each, as `snakemake --cores 2` does. With `--device cuda`, one fold after the other.
`--models` takes checkpoints of another run of the same variables: to attack more stays than were trained on.
"""

import argparse
import functools
import json
import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from ehr_attack.attacks.fold import FoldAttack, Shard, attack_fold
from ehr_attack.attacks.records import TABLES
from ehr_attack.checkpoint import load_checkpoint
from ehr_attack.cohort_data import load_cohort
from ehr_attack.paths import CONFIG_SCHEMA_FILE
from ehr_attack.storage import parquet_streams
from ehr_attack.variables import load_variables


@dataclass(frozen=True)
class FoldResult:
    """What the attack of one fold came to; updates: of all rows together; gpu_gb: the most that a GPU held."""

    fold: int
    seconds: float
    stays: int
    rows: int
    updates: int
    flipped_stays: int
    successful_stays: int
    gpu_gb: float


def default_settings() -> dict[str, Any]:
    """The config's `attack` block as the schema has it; every correctly classified stay is attacked."""
    schema = yaml.safe_load(CONFIG_SCHEMA_FILE.read_text(encoding="utf-8"))["properties"]["attack"]["properties"]
    keys = ("steps", "rate", "kappa", "mutable", "mutable_hours", "prune", "chunk_rows", "path", "precision", "levels")
    lambdas = {name: part["default"] for name, part in schema["lambdas"]["properties"].items()}
    return {key: schema[key]["default"] for key in keys} | {"lambdas": lambdas, "max_stays": None}


def attacked(fold: int, options: argparse.Namespace) -> FoldResult:
    """Attack one fold, tables and all, in this process."""
    run: Path = options.run
    models: Path = options.models or run / "models" / "lstm" / "seed_0"
    variables = load_variables("clinical", options.kind)
    cohort = load_cohort(
        run / "features/features.parquet",
        run / "extract/stays.parquet",
        run / "folds/folds.parquet",
        variables=variables,
        window_hours=48,
    )
    weights = models / f"fold_{fold}" / "model.safetensors"
    checkpoint = load_checkpoint(weights, weights.with_suffix(".json"), model_name="lstm", variables=variables)
    settings = default_settings() | {"device": options.device, "chunk_rows": options.chunk_rows}
    settings |= {"prune": options.prune, "path": options.path, "steps": options.steps}
    attack = FoldAttack(
        cohort=cohort, checkpoint=checkpoint, variables=variables, mode_name=options.mode, seed=0, fold=fold,
        shard=Shard(0, 1), settings=settings, measurements=run / "extract/measurements.parquet",
    )  # fmt: skip
    start = time.perf_counter()
    outcomes = []
    files = {options.out / f"{options.mode}_{fold}_{name}.parquet": schema for name, schema in TABLES.items()}
    with parquet_streams(files) as append:
        for part in attack_fold(attack):
            for path, name in zip(files, TABLES, strict=True):
                append(path, getattr(part, name))
            outcomes.append(part.outcomes.select(["stay_id", "steps", "flipped", "feasible"]).to_pandas())
    seconds = time.perf_counter() - start
    steps = np.concatenate([part["steps"].to_numpy() for part in outcomes])
    by_stay = [part.groupby("stay_id")[["flipped", "feasible"]].any() for part in outcomes]
    return FoldResult(
        fold=fold,
        seconds=seconds,
        stays=sum(map(len, by_stay)),
        rows=len(steps),
        updates=int(steps.sum()),
        flipped_stays=sum(int(part["flipped"].sum()) for part in by_stay),
        successful_stays=sum(int(part["feasible"].sum()) for part in by_stay),
        gpu_gb=torch.cuda.max_memory_allocated() / 1e9 if options.device == "cuda" else 0.0,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Attack the folds and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="results folder with features, extract and folds")
    parser.add_argument("--models", type=Path, help="folder of fold_<k>/model.safetensors; default: the run's lstm")
    parser.add_argument("--kind", default="synthetic", help="source.kind of the run")
    parser.add_argument("--mode", default="ista")
    parser.add_argument("--folds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--path", default="auto")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--chunk-rows", type=int)
    parser.add_argument("--prune", action="store_true")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("results/whole_attack"), help="folder for the tables")
    options = parser.parse_args(arguments)
    start = time.perf_counter()
    work = functools.partial(attacked, options=options)
    if options.processes > 1:
        with multiprocessing.get_context("spawn").Pool(options.processes, maxtasksperchild=1) as pool:
            results = pool.map(work, options.folds, chunksize=1)
    else:
        results = list(map(work, options.folds))
    seconds = time.perf_counter() - start
    attack_seconds = sum(result.seconds for result in results)
    updates = sum(result.updates for result in results)
    print(
        json.dumps(
            {
                "device": torch.cuda.get_device_name() if options.device == "cuda" else "cpu",
                "mode": options.mode,
                "wall_seconds": seconds,
                "attack_seconds": attack_seconds,
                "rows": sum(result.rows for result in results),
                "updates": updates,
                "us_per_row_step": attack_seconds / max(updates, 1) * 1e6,
                "success": sum(r.successful_stays for r in results) / max(1, sum(r.stays for r in results)),
                "folds": [asdict(result) for result in results],
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
