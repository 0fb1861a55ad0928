"""Transfer: does the change that flips one model flip another, too?

The selected change of each attacked stay is carried over in clinical units and put into what the other model sees of
the same held-out stay, through that model's own preprocessing. Where cells were changed, the other model's scaled cells
are; where recorded values were, its record is edited and imputed anew. What was recorded, and when, stays as it was.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from ehr_attack.attacks import CHUNK_ROWS, entry_of, needs_measurements
from ehr_attack.attacks.engine import in_chunks
from ehr_attack.attacks.selection import ROW_KEY
from ehr_attack.checkpoint import Checkpoint, load_checkpoint
from ehr_attack.cohort_data import CohortData
from ehr_attack.devices import make_deterministic
from ehr_attack.directions import DIRECTIONS
from ehr_attack.errors import UserError
from ehr_attack.inputs import model_inputs
from ehr_attack.resampling import patient_weights, percentile_interval, wider_interval
from ehr_attack.schemas.verdicts import TRANSFER
from ehr_attack.storage import parquet_batches, read_frame, read_json, write_frame
from ehr_attack.suppression import MINIMUM, count_text, part_text
from ehr_attack.variables import Variable

_log = logging.getLogger(__name__)
_SEED = 20180823
_ROWS_A_BATCH = 250_000
_KEY = [name for name in ROW_KEY if name not in ("model", "mode")]
"""Of an attack in the tables of one model and mode."""

_Flags = npt.NDArray[np.bool_]
_Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Changes:
    """The selected changes that one attack made to stays, as (stays, hours, variables) in clinical units.

    stays: (stays,), indices into the cohort; delta: float64, changes of the imputed cells, or in modes that change
    recorded values of the hourly means; directions: text, one a stay.
    """

    stays: _Ints
    delta: npt.NDArray[np.float64]
    directions: npt.NDArray[np.str_]


def selected_changes(outcomes: pd.DataFrame, perturbations: str | Path, cohort: CohortData) -> Changes:
    """The selected changes in OUTCOMES, and the table PERTURBATIONS, of one model, mode, seed and fold.

    The table, which holds all changes, is never in memory at once. Raises UserError when it is missing, or of a run
    with other variables.
    """
    rows = outcomes.loc[outcomes["selected"], [*_KEY, "direction"]].reset_index(drop=True)
    places = rows[_KEY].rename_axis("row").reset_index()
    delta = np.zeros((len(rows), *cohort.features.values.shape[1:]))
    names = pd.Index(cohort.variable_names)
    for batch in parquet_batches(perturbations, [*_KEY, "hour", "variable", "delta_clinical"], _ROWS_A_BATCH):
        cells = batch.to_pandas().merge(places, on=_KEY, how="inner", validate="many_to_one")
        variable = names.get_indexer(pd.Index(cells["variable"]))
        if (variable < 0).any():
            raise UserError(
                f"{perturbations}: holds changes of variables that the run does not have. The file was made with other "
                "settings; delete it and run snakemake again."
            )
        delta[cells["row"], cells["hour"], variable] = cells["delta_clinical"]
    stays = np.searchsorted(cohort.features.stay_ids, rows["stay_id"].to_numpy())
    return Changes(stays.astype(np.int64), delta, rows["direction"].to_numpy(dtype=str))


def correct_and_flipped(
    checkpoint: Checkpoint, cohort: CohortData, changes: Changes, mode_name: str
) -> tuple[_Flags, _Flags]:
    """Of each stay, whether the model classifies it correctly as it is, and whether it does not once changed."""
    stays = changes.stays
    labels = torch.from_numpy(cohort.labels[stays].astype(np.int64))
    lengths = torch.from_numpy(cohort.features.n_hours[stays])
    clean, changed = (
        in_chunks(checkpoint.model, torch.from_numpy(inputs), lengths, labels, CHUNK_ROWS["cpu"]).numpy()
        for inputs in _clean_and_changed(checkpoint, cohort, changes, mode_name)
    )
    return clean < 0, changed > 0


def _clean_and_changed(
    checkpoint: Checkpoint, cohort: CohortData, changes: Changes, mode_name: str
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """What the model sees of the stays, and what it sees of them with their changes."""
    features, stays, fitted = cohort.features, changes.stays, checkpoint.preprocessing
    values, carry_in, n_hours = features.values[stays], features.carry_in[stays], features.n_hours[stays]
    clean = model_inputs(fitted, checkpoint.inputs, values, carry_in, n_hours)
    if needs_measurements(mode_name):
        edited = values.astype(np.float64) + changes.delta
        return clean, model_inputs(fitted, checkpoint.inputs, edited, carry_in, n_hours)
    changed, n_values = clean.copy(), len(cohort.variable_names)
    moved = clean[..., :n_values] + changes.delta / fitted.scale
    if entry_of(mode_name).constrained:
        moved = np.where(changes.delta != 0, moved.clip(0.0, 1.0), moved)
    changed[..., :n_values] = moved
    return clean, changed


def write_transfer(
    *,
    weights: Sequence[str],
    sidecars: Sequence[str],
    outcomes: Sequence[str],
    perturbations: Sequence[str],
    cohort: CohortData,
    architectures: Mapping[str, str],
    modes: Mapping[str, str],
    variables: Sequence[Variable],
    resamples: int,
    out: str,
) -> None:
    """Write TRANSFER: every ordered pair of models, and of the seeds of a model, at each mode and direction.

    weights, sidecars: the checkpoints of all models, seeds and folds, in one order; outcomes, perturbations: the merged
    tables of all models, modes, seeds and folds, in one order. architectures, modes: by label, as the config names
    them. Raises UserError when a file is missing, damaged, or does not belong to the others.
    """
    make_deterministic(0)
    files = _by_fold(weights, sidecars, architectures)
    tried: list[pd.DataFrame] = []
    trained = {(model, seed) for of_fold in files.values() for model, seed in of_fold}
    attacks = zip(outcomes, perturbations, strict=True) if len(trained) > 1 else ()
    by_fold: dict[int, list[tuple[pd.DataFrame, str]]] = {}
    for outcome_file, cell_file in attacks:
        found = read_frame(outcome_file, [*ROW_KEY, "direction", "selected"])
        found = found[found["selected"]]
        if len(found):
            by_fold.setdefault(int(found["fold"].iloc[0]), []).append((found, cell_file))
    for fold, of_fold in by_fold.items():
        loaded = {
            key: load_checkpoint(
                Path(weight), Path(sidecar), model_name=architectures[key[0]], variables=variables,
                data=cohort.file_digests,
            )
            for key, (weight, sidecar) in files[fold].items()
        }  # fmt: skip
        for found, cell_file in of_fold:
            tried += _trials(found, cell_file, loaded, cohort, modes)
    rows = list(_rates(pd.concat(tried, ignore_index=True), resamples)) if tried else []
    write_frame(pd.DataFrame(rows, columns=TRANSFER.names), out, TRANSFER)


def _by_fold(
    weights: Sequence[str], sidecars: Sequence[str], architectures: Mapping[str, str]
) -> dict[int, dict[tuple[str, int], tuple[str, str]]]:
    """Fold -> (model, seed) -> files of its checkpoint."""
    found: dict[int, dict[tuple[str, int], tuple[str, str]]] = {}
    for weight, sidecar in zip(weights, sidecars, strict=True):
        details = read_json(sidecar)
        try:
            model, seed, fold = str(details["model"]), int(details["seed"]), int(details["fold"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise UserError(f"{sidecar}: not a checkpoint description. Delete it and run snakemake again.") from error
        if model not in architectures:
            raise UserError(f"{sidecar}: of a model {model}, which is none of this run's. Delete it and run again.")
        found.setdefault(fold, {})[model, seed] = (weight, sidecar)
    return found


def _trials(
    outcomes: pd.DataFrame,
    perturbations: str | Path,
    loaded: Mapping[tuple[str, int], Checkpoint],
    cohort: CohortData,
    modes: Mapping[str, str],
) -> Iterator[pd.DataFrame]:
    """Every stay's change on every other model: one row a stay that this model classifies correctly, flipped or not."""
    first = outcomes.iloc[0]
    origin, mode = (str(first["model"]), int(first["seed"])), str(first["mode"])
    changes = selected_changes(outcomes, perturbations, cohort)
    for target, checkpoint in loaded.items():
        correct, flipped = correct_and_flipped(checkpoint, cohort, changes, modes[mode])
        if target == origin:
            counts = part_text(int(flipped.sum()), len(flipped)), count_text(len(flipped))
            _log.info("%s, seed %d, %s: %s of %s changes flip their own model", *origin, mode, *counts)
            continue
        labels: dict[str, Any] = {"mode": mode, "from_model": origin[0], "from_seed": origin[1]}
        labels |= {"to_model": target[0], "to_seed": target[1]}
        yield pd.DataFrame(
            {
                "direction": changes.directions[correct],
                "subject_id": cohort.subject_ids[changes.stays[correct]],
                "flipped": flipped[correct],
            }
        ).assign(**labels)


def _rates(trials: pd.DataFrame, resamples: int) -> Iterator[dict[str, Any]]:
    """Rows of TRANSFER; the rate is null below ten stays or patients."""
    pair = ["mode", "from_model", "from_seed", "to_model", "to_seed"]
    for key, group in trials.groupby(pair, sort=False):
        for direction in DIRECTIONS:
            part = group[group["direction"] == direction]
            subjects, flipped = part["subject_id"].to_numpy(dtype=np.int64), part["flipped"].to_numpy(dtype=np.float64)
            counts = {
                "n_stays": len(part),
                "n_patients": int(np.unique(subjects).size),
                "n_flipped": int(flipped.sum()),
            }
            rate = low = high = float("nan")
            if min(counts["n_stays"], counts["n_patients"]) >= MINIMUM:
                draws = (weight @ flipped / weight.sum() for weight in patient_weights(subjects, resamples, _SEED))
                rate = float(flipped.mean())
                ends = map(float, percentile_interval(np.fromiter(draws, dtype=np.float64)))
                low, high = wider_interval(rate, counts["n_patients"], *ends)
            yield (
                dict(zip(pair, key, strict=True))
                | {"direction": direction, "rate": rate, "low": low, "high": high}
                | counts
            )
