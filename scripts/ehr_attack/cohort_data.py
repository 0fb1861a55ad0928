"""The cohort in memory: features, labels and folds of every stay, aligned by stay."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ehr_attack.errors import UserError
from ehr_attack.feature_tensor import FeatureTensor, load_tensor
from ehr_attack.storage import file_digest, read_frame
from ehr_attack.variables import Variable


@dataclass(frozen=True)
class CohortData:
    """Hourly features with labels; every array's first axis is the stay, sorted by stay id.

    file_digests: SHA-256 of the files that it was read from, by the table's name.
    `recorded_values`: as `features.values`, where those are not what was recorded but were filled beforehand.
    """

    variable_names: tuple[str, ...]
    features: FeatureTensor
    labels: npt.NDArray[np.int8]
    subject_ids: npt.NDArray[np.int64]
    folds: npt.NDArray[np.int32]
    file_digests: Mapping[str, str] = field(default_factory=dict)
    recorded_values: npt.NDArray[np.float32] | None = None

    @property
    def recorded(self) -> npt.NDArray[np.float32]:
        """What was recorded, float32 (stays, hours, variables), clinical units, NaN where nothing was."""
        return self.features.values if self.recorded_values is None else self.recorded_values

    def observed(self, stays: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Where a value was recorded, bool (rows, hours, variables), of the stays of these indices (rows,)."""
        return ~np.isnan(self.recorded[stays])


def load_cohort(
    features: str | Path,
    stays: str | Path,
    folds: str | Path,
    recorded: str | Path | None = None,
    *,
    variables: Sequence[Variable],
    window_hours: int,
) -> CohortData:
    """Read and align the three tables. Raises UserError when they do not hold the same stays.

    recorded: the features as recorded, where `features` were filled beforehand.
    """
    variable_names = tuple(variable.name for variable in variables)
    tensor = load_tensor(Path(features), variable_names, window_hours)
    table = (
        read_frame(stays, ["stay_id", "subject_id", "died_in_hospital"])
        .merge(read_frame(folds), on="stay_id", how="inner", validate="one_to_one")
        .sort_values("stay_id", ignore_index=True)
    )
    if not np.array_equal(table["stay_id"].to_numpy(), tensor.stay_ids):
        raise UserError(
            f"{features}, {stays} and {folds} do not hold the same stays; they come from different runs. "
            "Delete the run's features and folds folders and run snakemake again."
        )
    return CohortData(
        variable_names=variable_names,
        features=tensor,
        labels=table["died_in_hospital"].to_numpy(dtype=np.int8),
        subject_ids=table["subject_id"].to_numpy(dtype=np.int64),
        folds=table["fold"].to_numpy(dtype=np.int32),
        file_digests={
            name: file_digest(path) for name, path in (("features", features), ("stays", stays), ("folds", folds))
        },
        recorded_values=load_tensor(Path(recorded), variable_names, window_hours).values if recorded else None,
    )
