"""Made-up tables of a run's susceptibility with known effects, for verdicts and stability."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from ehr_attack.schemas.attacks import OUTCOMES
from ehr_attack.schemas.evaluation import METRICS
from ehr_attack.schemas.susceptibility import BASES, HOURS, MODELS_TOO, OBSERVED_CELLS, PATIENTS, REPLICATES, VARIABLES
from ehr_attack.schemas.training import PREDICTIONS
from ehr_attack.storage import write_frame
from ehr_attack.variables import load_variables

KNOWN = load_variables()
NAMES = [variable.name for variable in KNOWN]
N_HOURS = 8
DIRECTIONS = ("0_to_1", "1_to_0")
DRAWS = 60


def blank(schema, rows: int) -> pd.DataFrame:
    """A frame with the columns of `schema`: zeros, False and empty text."""
    of_type = {"string": "", "bool": False}
    return pd.DataFrame({field.name: [of_type.get(str(field.type), 0)] * rows for field in schema})


def write_map(
    folder: Path,
    sums: Mapping[str, Mapping[str, np.ndarray]],
    *,
    spread: float = 0.02,
    n_stays: int = 40,
    model: str = "lstm",
    mode: str = "ista",
    seed: int = 0,
    measured: np.ndarray | None = None,
) -> dict[str, str]:
    """Write variables, hours and replicates .parquet; sums: direction -> axis -> S in the order of the names or hours.

    Both bases hold the same, but for `measured`, bool (hours, variables): where it is False, the sums over observed
    cells miss their even part of the cells. Replicates are the sums times independent factors 1 +- `spread`, those of
    `patients` are nonsense, which nobody must read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    tables: dict[str, list[pd.DataFrame]] = {"variable": [], "hour": [], "replicates": []}
    for direction, by_axis in sums.items():
        for basis in BASES:
            labels = {"model": model, "mode": mode, "direction": direction, "basis": basis}
            seen = measured if basis == OBSERVED_CELLS and measured is not None else np.ones((N_HOURS, len(NAMES)))
            for axis, whole in by_axis.items():
                over = 0 if axis == "variable" else 1
                n_cells = np.asarray(seen).sum(axis=over).astype(int)
                values = np.where(n_cells > 0, np.asarray(whole) * n_cells / seen.shape[over], np.nan)
                table = blank(VARIABLES if axis == "variable" else HOURS, len(values)).assign(
                    **labels,
                    policy="selected",
                    n_rows=n_stays,
                    n_cells=n_cells,
                    n_stays=n_stays,
                    n_patients=n_stays,
                    s=values,
                    s_q95=values,
                )
                table[axis] = NAMES if axis == "variable" else np.arange(len(values))
                tables[axis] += [table, table.assign(policy="all", s_q95=1e9)]
                for resampled in (PATIENTS, MODELS_TOO):
                    drawn = values * random.normal(1.0, spread, (DRAWS, len(values)))
                    flat = blank(REPLICATES, drawn.size).assign(**labels, resampled=resampled, axis=axis)
                    flat["replicate"] = np.repeat(np.arange(DRAWS), len(values))
                    flat["name"] = np.tile(table[axis].astype(str), DRAWS)
                    tables["replicates"].append(flat.assign(s_q95=-1.0 if resampled == PATIENTS else drawn.ravel()))
    files = {name: str(folder / f"{name}.parquet") for name in ("variables", "hours", "replicates")}
    for axis, schema, path in zip(tables, (VARIABLES, HOURS, REPLICATES), files.values(), strict=True):
        write_frame(pd.concat(tables[axis], ignore_index=True), path, schema)
    return files


def write_metrics(path: Path, auroc: tuple[float, float, float], seeds: int = 1) -> str:
    """METRICS of one model: `auroc` pooled and of a fold, the other metrics 0.5 (0.4 to 0.6)."""
    rows = []
    for seed in range(seeds):
        for metric in ("auroc", "f1", "precision", "recall", "brier"):
            value, low, high = auroc if metric == "auroc" else (0.5, 0.4, 0.6)
            counts = {"n_stays": 200, "n_patients": 180, "n_deaths": 30}
            row = {"model": "lstm", "seed": seed, "metric": metric, "value": value, "low": low, "high": high} | counts
            rows += [row | {"fold": None}, row | {"fold": 0, "value": 0.1, "low": 0.0, "high": 0.2}]
    write_frame(pd.DataFrame(rows).astype({"fold": "Int32"}), path, METRICS)
    return str(path)


def write_outcomes(path: Path, fold: int, flipped: Mapping[str, int], stays: int = 20) -> str:
    """OUTCOMES of one fold: `stays` a direction at two lambdas, of which `flipped` have a selected attack each.

    A selected attack changes 4 cells, the largest by 0.1; the others of the stay change 50, by 0.9.
    """
    parts = []
    for number, (direction, successes) in enumerate(flipped.items()):
        for place, weight in enumerate((0.001, 0.01)):
            part = blank(OUTCOMES, stays).assign(
                model="lstm", mode="ista", fold=fold, direction=direction, **{"lambda": weight}
            )
            part["stay_id"] = 1000 * fold + 100 * number + np.arange(stays)
            part["selected"] = (np.arange(stays) < successes) & (np.arange(stays) % 2 == place)
            part["n_changed"] = np.where(part["selected"], 4, 50)
            part["linf"] = np.where(part["selected"], 0.1, 0.9)
            parts.append(part)
    write_frame(pd.concat(parts, ignore_index=True), path, OUTCOMES)
    return str(path)


def write_predictions(path: Path, fold: int, seed: int = 0, stays: int = 20) -> str:
    """PREDICTIONS of one fold for the stays of `write_outcomes`; most deaths are predicted."""
    random = np.random.default_rng([fold, seed])
    parts = []
    for split in ("train", "validation", "test"):
        part = blank(PREDICTIONS, 2 * stays).assign(model="lstm", seed=seed, fold=fold, split=split)
        held_out = fold if split == "test" else 1 - fold
        part["stay_id"] = 1000 * held_out + 100 * np.repeat([0, 1], stays) + np.tile(np.arange(stays), 2)
        part["label"] = np.repeat([0, 1], stays)
        part["p_death"] = np.clip(0.3 + 0.3 * part["label"] + random.normal(0, 0.2, 2 * stays), 0.01, 0.99)
        parts.append(part)
    write_frame(pd.concat(parts, ignore_index=True), path, PREDICTIONS)
    return str(path)
