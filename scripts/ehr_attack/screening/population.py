"""Where a single change stands beside the run's attacked population: ranks of susceptibility, and who needed less."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ehr_attack.attacks.selection import successes
from ehr_attack.schemas.susceptibility import OBSERVED_CELLS, SELECTED
from ehr_attack.screening import ATTACK
from ehr_attack.screening.description import RunDescription
from ehr_attack.screening.flips import Flip
from ehr_attack.storage import read_parquet

FEWEST_STAYS = 10
_KEY = ["seed", "fold", "stay_id"]


@dataclass(frozen=True)
class Ranks:
    """Ranks in one direction, 1 the most susceptible: of variables by name, of cells by hour and name.

    By S_q95; where that is equal (it is 0 where fewer than 5 % of the attacks change a cell), by S. What no attack
    changes has no rank.
    """

    variables: dict[str, int]
    cells: dict[tuple[int, str], int]


@dataclass(frozen=True)
class Costs:
    """What the attacked stays of one direction cost: n_attacked, and of those that were flipped the values changed and
    the sum of the moves, (flipped,), in shares of the variables' scales."""

    n_attacked: int
    n_edited: npt.NDArray[np.int64]
    l1: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Population:
    """The run's attacked stays, by direction (`0_to_1`, `1_to_0`).

    mode: the attack whose maps rank; costs_mode: the one that changed recorded values, "" where the run has none;
    missing: why there are no ranks or no costs, in words, "" where there are.
    """

    mode: str
    ranks: dict[str, Ranks]
    costs_mode: str
    costs: dict[str, Costs]
    missing: str

    def entry(self, direction: str, hour: int, variable: str) -> dict[str, Any]:
        """Ranks of an entry's variable and cell; None where too few stays have one, or no attack changes it."""
        ranks = self.ranks.get(direction, Ranks({}, {}))
        return {
            "rank_variable": ranks.variables.get(variable),
            "n_variables": len(ranks.variables),
            "rank_cell": ranks.cells.get((hour, variable)),
            "n_cells": len(ranks.cells),
        }

    def flip(self, direction: str, flip: Flip) -> dict[str, Any] | None:
        """The shares of the attacked stays that fewer or as many values flipped, and that needed no more than `flip`.

        No more: fewer values, or as many with no larger sum of moves of the hourly means. None where the run has no
        attack on recorded values, or attacked fewer than FEWEST_STAYS in this direction.
        """
        costs = self.costs.get(direction)
        if costs is None or costs.n_attacked < FEWEST_STAYS:
            return None
        count, size = len(flip.entries), sum(entry.cell_size for entry in flip.entries)
        as_few = costs.n_edited <= count
        no_more = (costs.n_edited < count) | ((costs.n_edited == count) & (costs.l1 <= size))
        return {
            "n_attacked": costs.n_attacked,
            "share_as_few": float(as_few.sum() / costs.n_attacked),
            "share_no_more": float(no_more.sum() / costs.n_attacked),
        }


def read_population(run: Path, description: RunDescription, model: str) -> Population:
    """The run's maps and attacks on `model` (a label): of mode `measurement` if it has it, else of what it has."""
    folders = {mode: run / "susceptibility" / model / mode for mode in description.modes}
    mapped = [mode for mode, folder in folders.items() if (folder / "variables.parquet").is_file()]
    mode = mapped[0] if mapped else ""
    costs_mode = ATTACK if ATTACK in description.modes else ""
    costs = _costs(run, model, costs_mode) if costs_mode else {}
    missing = []
    if not mode:
        missing.append("the run has no susceptibility tables of this model, so there are no ranks")
    if not costs:
        missing.append("the run has no attacks of mode measurement, so nobody's costs are there to compare with")
    return Population(
        mode=mode,
        ranks=_ranks(folders[mode]) if mode else {},
        costs_mode=costs_mode if costs else "",
        costs=costs,
        missing="; ".join(missing),
    )


def _ranks(folder: Path) -> dict[str, Ranks]:
    keys = ["direction", "policy", "basis", "variable", "s_q95", "s"]
    variables = _ranked(read_parquet(folder / "variables.parquet", keys).to_pandas())
    cells = _ranked(read_parquet(folder / "cells.parquet", [*keys, "hour"]).to_pandas())
    found = {}
    for direction in sorted(set(variables["direction"]) | set(cells["direction"])):
        own, own_cells = (part[part["direction"] == direction] for part in (variables, cells))
        found[direction] = Ranks(
            variables=dict(zip(own["variable"], own["rank"].astype(int), strict=True)),
            cells=dict(
                zip(
                    zip(own_cells["hour"], own_cells["variable"], strict=True),
                    own_cells["rank"].astype(int),
                    strict=True,
                )
            ),
        )
    return found


def _ranked(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of the selected attacks over observed cells that some attack changes, with their `rank` by direction."""
    rows = (table["policy"] == SELECTED) & (table["basis"] == OBSERVED_CELLS) & (table["s"] > 0)
    kept = table[rows].sort_values(["direction", "s_q95", "s"], ascending=[True, False, False], kind="stable")
    new = kept[["direction", "s_q95", "s"]].ne(kept[["direction", "s_q95", "s"]].shift()).any(axis=1)
    place = kept.groupby("direction").cumcount() + 1
    return kept.assign(rank=place.where(new).groupby(kept["direction"]).ffill())


def _costs(run: Path, model: str, mode: str) -> dict[str, Costs]:
    columns = [*_KEY, "mode", "direction", "feasible", "flipped", "selected", "n_edited", "l1"]
    files = sorted((run / "attacks" / model / mode).glob("seed_*/fold_*/outcomes.parquet"))
    if not files:
        return {}
    rows = pd.concat([read_parquet(file, columns).to_pandas() for file in files], ignore_index=True)
    found = {}
    for direction, own in rows.groupby("direction"):
        flipped = own[own["selected"] & successes(own)]
        found[str(direction)] = Costs(
            n_attacked=len(own.drop_duplicates(_KEY)),
            n_edited=flipped["n_edited"].to_numpy(dtype=np.int64),
            l1=flipped["l1"].to_numpy(dtype=np.float64),
        )
    return found
