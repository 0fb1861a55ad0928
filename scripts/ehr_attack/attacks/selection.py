"""Choosing, of the successful attacks on a stay, the one with the best balance of magnitude and sparsity."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from ehr_attack.attacks import entry_of
from ehr_attack.schemas.attacks import CHANGES, OUTCOMES, PERTURBATIONS
from ehr_attack.storage import read_parquet, write_parquet

ROW_KEY = ["model", "mode", "seed", "fold", "stay_id", "lambda"]
_STAY_KEY = ROW_KEY[:-1]
_SORTING: list[tuple[str, Literal["ascending", "descending"]]] = [
    ("stay_id", "ascending"),
    ("lambda", "ascending"),
]


def successes(outcomes: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Bool (rows,): `feasible` for constrained modes, `flipped` for the published one (mode `sun2018`)."""
    constrained = outcomes["mode"].map(lambda mode: entry_of(mode).constrained)
    success = np.where(constrained.to_numpy(dtype=bool), outcomes["feasible"], outcomes["flipped"])
    return success.astype(bool)


def distance_scores(outcomes: pd.DataFrame, n_cells: int, weight: float) -> npt.NDArray[np.float64]:
    """sqrt(w MP^2 + (1 - w) PP^2) (Sun et al. 2018), MP the largest change, PP the share of the cells changed."""
    maximum = outcomes["linf"].to_numpy(dtype=np.float64)
    share = outcomes["n_changed"].to_numpy(dtype=np.float64) / n_cells
    scores: npt.NDArray[np.float64] = np.sqrt(weight * maximum**2 + (1.0 - weight) * share**2)
    return scores


def mark_selected(outcomes: pd.DataFrame, n_cells: int, weight: float) -> npt.NDArray[np.bool_]:
    """Bool (rows,): the successful row of each stay with the smallest distance score, ties to the larger lambda.

    outcomes: canonical outcomes without `selected`; n_cells: hours x variables. A stay without success has none.
    """
    candidates = outcomes[_STAY_KEY].assign(
        score=distance_scores(outcomes, n_cells, weight),
        larger_first=-outcomes["lambda"],
        row=np.arange(len(outcomes)),
    )[successes(outcomes)]
    best = candidates.sort_values([*_STAY_KEY, "score", "larger_first"], kind="stable").drop_duplicates(_STAY_KEY)
    selected = np.zeros(len(outcomes), dtype=bool)
    selected[best["row"].to_numpy()] = True
    return selected


def merge_shards(
    outcomes: Sequence[str],
    perturbations: Sequence[str],
    changes: Sequence[str],
    *,
    n_cells: int,
    weight: float,
    out_outcomes: str,
    out_perturbations: str,
    out_changes: str,
) -> None:
    """Join the shards' tables, sorted by stay and lambda, and mark each stay's best attack in the outcomes."""
    joined = pa.concat_tables([read_parquet(path) for path in outcomes]).sort_by(_SORTING)
    selected = mark_selected(joined.to_pandas(), n_cells, weight)
    write_parquet(joined.append_column("selected", pa.array(selected)), out_outcomes, OUTCOMES)
    write_parquet(_in_row_order(perturbations), out_perturbations, PERTURBATIONS)
    write_parquet(_in_row_order(changes), out_changes, CHANGES)


def _in_row_order(paths: Sequence[str]) -> pa.Table:
    """The shards' tables, sorted by stay and lambda; each is sorted within a row already, and the sort is stable."""
    table = pa.concat_tables([read_parquet(path) for path in paths])
    return table.take(np.lexsort([table[key].to_numpy() for key in ("lambda", "stay_id")]))
