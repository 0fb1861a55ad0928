"""Who is attacked: the correctly classified held-out stays of a fold, all or a balanced sample of them."""

import logging

import numpy as np
import numpy.typing as npt
import torch

from ehr_attack.attacks.engine import in_chunks
from ehr_attack.attacks.gradients import freeze
from ehr_attack.checkpoint import Checkpoint
from ehr_attack.cohort_data import CohortData
from ehr_attack.inputs import model_inputs

_log = logging.getLogger(__name__)


def held_out_inputs(
    cohort: CohortData, checkpoint: Checkpoint, fold: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Indices of the fold's held-out stays, and what the model sees of them, value channels first."""
    stays = np.flatnonzero(cohort.folds == fold)
    features = cohort.features
    values, carry_in, n_hours = features.values[stays], features.carry_in[stays], features.n_hours[stays]
    return stays, model_inputs(checkpoint.preprocessing, checkpoint.inputs, values, carry_in, n_hours)


def attacked_stays(
    model: torch.nn.Module,
    cohort: CohortData,
    stays: npt.NDArray[np.int64],
    inputs: npt.NDArray[np.float32],
    *,
    chunk_rows: int,
    max_stays: int | None,
    seed: int,
    fold: int,
) -> npt.NDArray[np.int64]:
    """Positions, within the fold, of the correctly classified stays to attack: all, or a sample of `max_stays`."""
    freeze(model)
    device = next(model.parameters()).device
    labels = cohort.labels[stays].astype(np.int64)
    margin = in_chunks(
        model,
        torch.from_numpy(inputs).to(device),
        torch.from_numpy(cohort.features.n_hours[stays]).to(device),
        torch.from_numpy(labels).to(device),
        chunk_rows,
    )
    correct = np.flatnonzero((margin < 0).cpu().numpy())
    _log.info("fold %d: %d of %d held-out stays are classified correctly", fold, len(correct), len(stays))
    if max_stays is None or len(correct) <= max_stays:
        return correct
    return balanced_sample(correct, labels[correct], max_stays, np.random.default_rng([seed, fold]))


def balanced_sample(
    candidates: npt.NDArray[np.int64], labels: npt.NDArray[np.int64], limit: int, random: np.random.Generator
) -> npt.NDArray[np.int64]:
    """`limit` of the candidates, half of each label as far as there are enough; sorted.

    Susceptibility is reported per direction, so a balanced sample favours no direction and spends no time in vain.
    """
    shuffled = random.permutation(len(candidates))
    deaths, survivors = (shuffled[labels[shuffled] == label] for label in (1, 0))
    n_deaths = min(len(deaths), max(limit // 2, limit - len(survivors)))
    return np.sort(candidates[np.concatenate([deaths[:n_deaths], survivors[: limit - n_deaths]])])
