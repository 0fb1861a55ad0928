"""Attack results as canonical tables: outcomes a row, perturbations a changed cell."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ehr_attack.schemas import OUTCOMES, PERTURBATIONS

OUTCOMES_UNSELECTED = pa.schema([field for field in OUTCOMES if field.name != "selected"])
"""The outcomes of a shard: `selected` is known only when a stay's whole grid is together."""

_Array = npt.NDArray[Any]


@dataclass(frozen=True)
class AttackContext:
    """What the rows of one attack share; stay_ids, labels, observed are aligned with the attacked stays."""

    model: str
    mode: str
    seed: int
    fold: int
    stay_ids: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int8]
    observed: npt.NDArray[np.bool_]
    lambdas: npt.NDArray[np.float64]
    variable_names: tuple[str, ...]
    scale: npt.NDArray[np.float64]


class RowRecords:
    """Gathers judged rows, block by block, and turns them into sorted tables."""

    def __init__(self, context: AttackContext) -> None:
        self._context = context
        self._outcomes: list[dict[str, _Array]] = []
        self._cells: list[dict[str, _Array]] = []

    def add(
        self,
        *,
        stay: _Array,
        position: _Array,
        steps: _Array,
        perturbation: _Array,
        margin_clean: _Array,
        margin: _Array,
        flipped: _Array,
        flipped_float64: _Array,
        feasible: _Array,
        success: _Array,
    ) -> None:
        """Add a block: every array's first axis is the row; `perturbation` (rows, hours, features), scaled units.

        `stay` and `position` index the context's stays and lambdas; `success` says whose cells are kept.
        """
        context = self._context
        changed = perturbation != 0
        magnitude = np.abs(perturbation)
        label = context.labels[stay]
        self._outcomes.append(
            {
                "stay": stay,
                "position": position,
                "label": label,
                "flipped": flipped,
                "flipped_float64": flipped_float64,
                "feasible": feasible,
                "steps": steps,
                "margin": margin,
                "p_clean": _p_death(margin_clean, label),
                "p_adversarial": _p_death(margin, label),
                "l1": magnitude.sum(axis=(1, 2)),
                "l2": np.sqrt(np.square(magnitude).sum(axis=(1, 2))),
                "linf": magnitude.max(axis=(1, 2)),
                "n_changed": changed.sum(axis=(1, 2)),
                "n_changed_observed": (changed & context.observed[stay]).sum(axis=(1, 2)),
            }
        )
        row, hour, feature = np.nonzero(changed & success[:, None, None])
        delta = perturbation[row, hour, feature]
        self._cells.append(
            {
                "stay": stay[row],
                "position": position[row],
                "hour": hour,
                "feature": feature,
                "delta_scaled": delta,
                "delta_clinical": delta * context.scale[feature],
                "observed": context.observed[stay[row], hour, feature],
            }
        )

    def tables(self) -> tuple[pa.Table, pa.Table]:
        """Outcomes (without `selected`) and perturbations, sorted by stay, lambda, hour and variable order."""
        outcomes = _joined(self._outcomes, ("position", "stay"))
        label = outcomes.get("label", np.empty(0, dtype=np.int8))
        outcomes["direction"] = np.where(label == 1, "1_to_0", "0_to_1")
        cells = _joined(self._cells, ("feature", "hour", "position", "stay"))
        names = np.asarray(self._context.variable_names)
        cells["variable"] = names[cells["feature"]] if len(cells) else names[:0]
        return self._table(outcomes, OUTCOMES_UNSELECTED), self._table(cells, PERTURBATIONS)

    def _table(self, columns: dict[str, _Array], schema: pa.Schema) -> pa.Table:
        if "stay" not in columns:
            return schema.empty_table()
        context = self._context
        rows = len(columns["stay"])
        shared = {"model": context.model, "mode": context.mode, "seed": context.seed, "fold": context.fold}
        full = columns | {name: np.full(rows, value) for name, value in shared.items()}
        full["stay_id"] = context.stay_ids[columns["stay"]]
        full["lambda"] = context.lambdas[columns["position"]]
        return pa.Table.from_arrays([pa.array(full[f.name], type=f.type) for f in schema], schema=schema)


def _p_death(margin: _Array, label: _Array) -> _Array:
    """Probability of death from logit_t - logit_y: the margin points to death for a survivor (label 0)."""
    towards_death = np.where(label == 0, margin, -margin)
    probability: _Array = 1.0 / (1.0 + np.exp(-towards_death))
    return probability


def _joined(blocks: list[dict[str, _Array]], order: tuple[str, ...]) -> dict[str, _Array]:
    """Blocks end to end, sorted by `order` (last key first, as numpy.lexsort wants it)."""
    if not blocks:
        return {}
    joined = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    places = np.lexsort([joined[key] for key in order])
    return {name: values[places] for name, values in joined.items()}
