"""Which cells of the cohort hold a recorded value, read without ever holding the values."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ehr_attack.errors import UserError
from ehr_attack.feature_tensor import CARRY_IN_HOUR
from ehr_attack.storage import parquet_batches

_ROWS_A_BATCH = 100_000


def load_recorded(
    path: str, stay_ids: npt.NDArray[np.int64], variable_names: Sequence[str], window_hours: int
) -> npt.NDArray[np.bool_]:
    """Bool (stays, hours, variables): whether the features hold a value there.

    stay_ids: the cohort's, sorted. Raises UserError when the file is missing, or made of other stays or settings.
    """
    recorded = np.zeros((len(stay_ids), window_hours, len(variable_names)), dtype=bool)
    for batch in parquet_batches(path, ["stay_id", "hour", *variable_names], _ROWS_A_BATCH):
        ids, hours = batch["stay_id"].to_numpy(), batch["hour"].to_numpy()
        stay = np.searchsorted(stay_ids, ids).clip(max=len(stay_ids) - 1)
        if (stay_ids[stay] != ids).any() or hours.min() < CARRY_IN_HOUR or hours.max() >= window_hours:
            raise UserError(
                f"{path}: expected the stays of the cohort, and the hours {CARRY_IN_HOUR} to {window_hours - 1}. "
                "The file was made with other settings; delete it and run snakemake again."
            )
        inside = hours != CARRY_IN_HOUR
        values = np.column_stack([batch[name].to_numpy(zero_copy_only=False) for name in variable_names])
        recorded[stay[inside], hours[inside]] = ~np.isnan(values[inside])
    return recorded
