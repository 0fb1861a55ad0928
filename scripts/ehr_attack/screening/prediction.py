"""What the models say of stays: the probability of death by each, and by the mean of their logits."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from ehr_attack.fitting import logits_of
from ehr_attack.progress import Progress
from ehr_attack.screening.stays import HELD_OUT, Source, StayBatch

_Floats = npt.NDArray[np.float64]
STAYS_A_BATCH = 1024


def predictions(source: Source, device: torch.device | str = "cpu") -> pd.DataFrame:
    """One row a stay, sorted by id: `stay_id`, `p_death`, then `fold` (held-out stays) or `p_death_fold_<k>` each.

    p_death: of the model of the fold that held the stay out; of a new stay, that of the mean over the folds of the
    logit, log(p / (1 - p)). Models are trained with balanced outcomes unless configured otherwise: a score, no
    calibrated risk.
    """
    parts = []
    with Progress("predict", len(source.stay_ids)) as progress:
        for batch in source.batches(STAYS_A_BATCH, with_events=False):
            parts.append(_predicted(source.kind, batch, fold_logits(batch, device)))
            progress.advance(len(batch.stay_ids))
    empty = pd.DataFrame({"stay_id": pd.Series(dtype=np.int64), "p_death": pd.Series(dtype=np.float64)})
    frame = pd.concat(parts, ignore_index=True) if parts else empty
    return frame.sort_values("stay_id", ignore_index=True)


def fold_logits(batch: StayBatch, device: torch.device | str = "cpu") -> _Floats:
    """The logit of death, logit_1 - logit_0, of every stay by each model, float64 (folds, stays)."""
    lengths = torch.from_numpy(batch.n_hours).to(device)
    found = []
    with torch.no_grad():
        for checkpoint in batch.checkpoints.values():
            inputs = torch.from_numpy(batch.inputs(checkpoint)).to(device)
            logits = logits_of(checkpoint.model.to(device), inputs, lengths).double().cpu().numpy()
            found.append(logits[:, 1] - logits[:, 0])
    return np.stack(found)


def probability(logit: npt.ArrayLike) -> _Floats:
    """1 / (1 + exp(-logit))."""
    values: _Floats = 1.0 / (1.0 + np.exp(-np.asarray(logit, dtype=np.float64)))
    return values


def _predicted(kind: str, batch: StayBatch, logits: _Floats) -> pd.DataFrame:
    columns: dict[str, npt.NDArray[np.generic]] = {
        "stay_id": batch.stay_ids,
        "p_death": probability(logits.mean(axis=0)),
    }
    folds: Sequence[int] = list(batch.checkpoints)
    if kind == HELD_OUT:
        columns["fold"] = np.full(len(batch.stay_ids), folds[0])
    else:
        columns |= {f"p_death_fold_{fold}": probability(of_fold) for fold, of_fold in zip(folds, logits, strict=True)}
    return pd.DataFrame(columns)
