"""Made-up attacks of any number of stays, streamed to the tables that the rule susceptibility reads."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ehr_attack.schemas.attacks import OUTCOMES, PERTURBATIONS
from ehr_attack.schemas.cohort import STAYS, features_schema
from ehr_attack.storage import parquet_streams, write_parquet

HOURS, VARIABLES, FOLDS = 48, 19, 5
NAMES = [f"variable_{place}" for place in range(VARIABLES)]
MODEL, MODE = "lstm", "ista"

_STAYS_A_PATIENT = 1.3
_SUCCESS = 0.9
# Changed cells of a row at the smallest and at the largest lambda, as with ista on PhysioNet 2012.
_CHANGED = (160.0, 8.0)
_STAYS_A_PART = 200
_LATER = 10.0
"""Hours over which changes become e times as frequent."""

_Array = npt.NDArray[Any]


def make_run(folder: Path, stays: int, lambdas: int) -> dict[str, Any]:
    """Write a run's stays, features and attacks to `folder`; returns their paths, and how many rows and changes.

    Every fold has tables of its own. Changes are more frequent in late hours and in some variables; a stay's attack at
    the middle lambda is the selected one. The same arguments give the same tables.
    """
    random = np.random.default_rng(stays)
    stay_ids = np.arange(stays)
    subjects = np.sort(random.integers(0, int(stays / _STAYS_A_PATIENT) + 1, stays))
    labels, folds = random.random(stays) < 0.15, subjects % FOLDS
    recorded = {"subject_id": subjects, "died_in_hospital": labels}
    known = pa.table({"stay_id": stay_ids, **recorded})
    write_parquet(_filled(known, STAYS), folder / "stays.parquet", STAYS)
    _write_features(folder / "features.parquet", stay_ids, random)
    paths: dict[str, Any] = {"outcomes": [], "perturbations": [], "rows": 0, "changes": 0}
    for fold in range(FOLDS):
        files = {name: folder / f"fold_{fold}" / f"{name}.parquet" for name in ("outcomes", "perturbations")}
        schemas: dict[str | Path, pa.Schema] = {files["outcomes"]: OUTCOMES, files["perturbations"]: PERTURBATIONS}
        with parquet_streams(schemas) as append:
            inside = stay_ids[folds == fold]
            for start in range(0, len(inside), _STAYS_A_PART):
                part = inside[start : start + _STAYS_A_PART]
                outcomes, changes = _attacks(part, labels[part], fold, lambdas, random)
                append(files["outcomes"], outcomes)
                append(files["perturbations"], changes)
                paths["rows"] += len(outcomes)
                paths["changes"] += len(changes)
        for name, file in files.items():
            paths[name].append(str(file))
    return paths | {"features": str(folder / "features.parquet"), "stays": str(folder / "stays.parquet")}


def _attacks(
    stay_ids: _Array, labels: _Array, fold: int, lambdas: int, random: np.random.Generator
) -> tuple[pa.Table, pa.Table]:
    """Outcomes and perturbations of some stays, sorted as those of a run."""
    places = np.arange(lambdas)
    weights = np.geomspace(0.0255, 0.765, lambdas)
    expected = np.geomspace(*_CHANGED, lambdas)
    stay, place = np.repeat(stay_ids, lambdas), np.tile(places, len(stay_ids))
    success = random.random(len(stay)) < _SUCCESS
    success[place == lambdas // 2] = True
    likely = np.exp((np.arange(HOURS) - HOURS + 1) / _LATER)[:, None] * np.linspace(1.5, 0.5, VARIABLES)
    likely = (likely / likely.sum()).astype(np.float32).ravel()
    chance = np.minimum(expected[place][:, None] * likely, 0.9).astype(np.float32)
    changed = (random.random(chance.shape, dtype=np.float32) < chance) & success[:, None]
    row, cell = np.nonzero(changed)
    size = random.exponential(0.05, len(row)) + 0.002
    n_changed = np.bincount(row, minlength=len(stay))
    largest = np.zeros(len(stay))
    np.maximum.at(largest, row, size)
    key = {"model": MODEL, "mode": MODE, "seed": 0, "fold": fold, "stay_id": stay, "lambda": weights[place]}
    outcomes = key | {
        "label": np.repeat(labels, lambdas).astype(np.int8),
        "direction": np.where(np.repeat(labels, lambdas), "1_to_0", "0_to_1"),
        "l1": np.bincount(row, weights=size, minlength=len(stay)),
        "linf": largest,
        "selected": place == lambdas // 2,
        **dict.fromkeys(("flipped", "flipped_float64", "feasible"), success),
        **dict.fromkeys(("n_changed", "n_edited"), n_changed),
    }
    changes = {name: value[row] if isinstance(value, np.ndarray) else value for name, value in key.items()}
    changes |= {
        "hour": cell // VARIABLES,
        "variable": pa.DictionaryArray.from_arrays((cell % VARIABLES).astype(np.int8), NAMES).cast(pa.string()),
        "delta_scaled": np.where(cell % 2, size, -size),
    }
    return _table(outcomes, len(stay), OUTCOMES), _table(changes, len(row), PERTURBATIONS)


def _write_features(path: Path, stay_ids: _Array, random: np.random.Generator) -> None:
    schema = features_schema(NAMES)
    with parquet_streams({path: schema}) as append:
        for part in np.array_split(stay_ids, max(1, len(stay_ids) // 1000)):
            values = random.random((len(part) * HOURS, VARIABLES), dtype=np.float32)
            # Vital signs are recorded most hours, laboratory values about three times in the window.
            values[random.random(values.shape, dtype=np.float32) > np.linspace(0.9, 0.06, VARIABLES)] = np.nan
            hours = {"stay_id": np.repeat(part, HOURS), "hour": np.tile(np.arange(HOURS), len(part))}
            columns = hours | dict(zip(NAMES, values.T, strict=True))
            append(path, _table(columns, len(values), schema))


def _table(columns: dict[str, Any], rows: int, schema: pa.Schema) -> pa.Table:
    """Columns given as arrays or as one value for all rows; the schema's others are 0, or false."""
    arrays = []
    for field in schema:
        value = columns.get(field.name, False if pa.types.is_boolean(field.type) else 0)
        if isinstance(value, (np.ndarray, pa.Array)):
            arrays.append(pa.array(value).cast(field.type))
        else:
            arrays.append(pa.repeat(pa.scalar(value, type=field.type), rows))
    return pa.Table.from_arrays(arrays, schema=schema)


def _filled(table: pa.Table, schema: pa.Schema) -> pa.Table:
    for field in schema:
        if field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(len(table), field.type))
    return table
