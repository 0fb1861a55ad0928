"""Intervals of the variables' ranks that cover folds and seeds too, from the replicates that a run keeps."""

from pathlib import Path

from ehr_attack.schemas.susceptibility import MODELS_TOO, SELECTED, VARIABLE_AXIS
from ehr_attack.storage import read_frame
from ehr_attack.susceptibility.measures import MEASURED_SHARE
from ehr_attack.susceptibility.ranking import rank_intervals

Interval = tuple[int, int]


def published_intervals(analysis: Path, resampled: str = MODELS_TOO) -> dict[tuple[str, str, str], Interval]:
    """95 % interval of the rank of each variable that has one, by (variable, direction, basis).

    analysis: the folder of VARIABLES and REPLICATES of one model and mode; resampled: which replicates. Empty where
    patients were too few to resample. Raises UserError when a table is missing.
    """
    variables = read_frame(analysis / "variables.parquet")
    enough = variables["n_cells"] >= MEASURED_SHARE * variables["n_cells"].max()
    variables = variables[(variables["policy"] == SELECTED) & enough]
    replicates = read_frame(analysis / "replicates.parquet")
    replicates = replicates[(replicates["resampled"] == resampled) & (replicates["axis"] == VARIABLE_AXIS)]
    draws = dict(list(replicates.groupby(["direction", "basis"])))
    found: dict[tuple[str, str, str], Interval] = {}
    for (direction, basis), rows in variables.groupby(["direction", "basis"]):
        if (direction, basis) in draws:
            sums = draws[direction, basis].pivot(index="replicate", columns="name", values="s_q95")
            means = sums[list(rows["variable"])].to_numpy() / rows["n_cells"].to_numpy()
            ranked = rows["rank"].notna().to_numpy()
            low, high = (bound[ranked].astype(int).tolist() for bound in rank_intervals(means, ranked))
            keys = [(name, str(direction), str(basis)) for name in rows["variable"][ranked]]
            found |= dict(zip(keys, zip(low, high, strict=True), strict=True))
    return found
