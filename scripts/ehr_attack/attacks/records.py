"""Attack results as canonical tables: outcomes a row, perturbations a changed cell, changes a recorded value."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ehr_attack.attacks.charted import ChangedValues
from ehr_attack.attacks.queue import left_out
from ehr_attack.attacks.verification import JudgedRows
from ehr_attack.schemas.attacks import CHANGES, OUTCOMES, PERTURBATIONS

OUTCOMES_UNSELECTED = pa.schema([field for field in OUTCOMES if field.name != "selected"])
"""The outcomes of a shard: `selected` is known only when a stay's whole grid is together."""

STAYS_A_PART = 256

_Array = npt.NDArray[Any]
_Columns = dict[str, _Array]
_NO_FLAGS = (
    "flipped",
    "flipped_float64",
    "feasible",
    "success",
    "still_falling",
    "gradient_vanished",
    "stuck_at_bounds",
)
_NO_SIZE = ("steps", "l1", "l2", "linf", "n_changed", "n_changed_observed", "n_edited")


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
    units: tuple[str, ...]
    scale: npt.NDArray[np.float64]
    prune: bool = False


@dataclass(frozen=True)
class AttackTables:
    """Canonical tables of some stays: outcomes (without `selected`), perturbations, changes."""

    outcomes: pa.Table
    perturbations: pa.Table
    changes: pa.Table

    @classmethod
    def joined(cls, parts: "list[AttackTables]") -> "AttackTables":
        """Parts end to end; empty tables where there is none."""
        return cls(
            *(
                pa.concat_tables([schema.empty_table(), *(getattr(part, name) for part in parts)])
                for name, schema in TABLES.items()
            )
        )


TABLES = {"outcomes": OUTCOMES_UNSELECTED, "perturbations": PERTURBATIONS, "changes": CHANGES}


class RowRecords:
    """Gathers judged rows in any order and gives them as sorted tables, a fixed number of stays a part.

    A part is given as soon as all rows of its stays are there, so that a long attack is written while it runs, and
    the parts do not depend on the order in which rows end.
    """

    def __init__(self, context: AttackContext) -> None:
        self._context = context
        n_stays, n_positions = len(context.stay_ids), len(context.lambdas)
        starts = range(0, n_stays, STAYS_A_PART)
        self._missing = [min(STAYS_A_PART, n_stays - start) * n_positions for start in starts]
        self._held: dict[int, list[tuple[_Columns, _Columns, _Columns]]] = defaultdict(list)
        self._next = 0

    def add(self, rows: JudgedRows, cells: _Array, changed_values: ChangedValues | None = None) -> None:
        """Add a block of rows.

        cells: (rows, hours, features), the change of each cell in scaled units; changed_values: of the recorded values,
        in modes that change these; `row` counts in this block.
        """
        context = self._context
        stay = rows.found.stay.cpu().numpy()
        outcomes = _outcome_columns(context, rows, cells)
        success = outcomes["success"]
        row, hour, feature = np.nonzero((cells != 0) & success[:, None, None])
        delta = cells[row, hour, feature]
        changed = {
            "stay": stay[row],
            "position": outcomes["position"][row],
            "hour": hour,
            "feature": feature,
            "delta_scaled": delta,
            "delta_clinical": delta * context.scale[feature],
            "observed": context.observed[stay[row], hour, feature],
        }
        values: _Columns = {}
        if changed_values is not None:
            values = _where(vars(changed_values), success[changed_values.row])
            values["stay"], values["position"] = stay[values["row"]], outcomes["position"][values.pop("row")]
        for part in np.unique(stay // STAYS_A_PART):
            self._held[part].append(
                tuple(  # type: ignore[arg-type]
                    _where(columns, columns["stay"] // STAYS_A_PART == part) if columns else columns
                    for columns in (outcomes, changed, values)
                )
            )
            self._missing[part] -= int((stay // STAYS_A_PART == part).sum())

    def parts(self) -> Iterator[AttackTables]:
        """The next parts, as far as they are complete."""
        while self._next < len(self._missing) and self._missing[self._next] == 0:
            yield self._tables(self._held.pop(self._next, []))
            self._next += 1

    def _tables(self, blocks: list[tuple[_Columns, _Columns, _Columns]]) -> AttackTables:
        context = self._context
        outcomes = _joined([block[0] for block in blocks], ("position", "stay"))
        outcomes["direction"] = np.where(outcomes["label"] == 1, "1_to_0", "0_to_1")
        needless = _prune(outcomes, len(context.lambdas), context.prune)
        names, units = np.asarray(context.variable_names), np.asarray(context.units)
        cells = _joined([block[1] for block in blocks], ("feature", "hour", "position", "stay"))
        values = _joined(
            [block[2] for block in blocks if block[2]], ("value_after", "hours", "feature", "position", "stay")
        )
        for columns in filter(None, (cells, values)):
            columns["variable"], columns["unit"] = names[columns["feature"]], units[columns["feature"]]
        kept = [_where(part, ~needless(part)) if part else part for part in (cells, values)]
        return AttackTables(
            self._table(outcomes, OUTCOMES_UNSELECTED),
            self._table(kept[0], PERTURBATIONS),
            self._table(kept[1], CHANGES),
        )

    def _table(self, columns: _Columns, schema: pa.Schema) -> pa.Table:
        if "stay" not in columns:
            return schema.empty_table()
        context = self._context
        rows = len(columns["stay"])
        shared = {"model": context.model, "mode": context.mode, "seed": context.seed, "fold": context.fold}
        full = columns | {name: np.full(rows, value) for name, value in shared.items()}
        full["stay_id"] = context.stay_ids[columns["stay"]]
        full["lambda"] = context.lambdas[columns["position"]]
        arrays = [pa.array(full[f.name], type=f.type, from_pandas=f.name == "lambda") for f in schema]
        return pa.Table.from_arrays(arrays, schema=schema)


def _outcome_columns(context: AttackContext, rows: JudgedRows, cells: _Array) -> _Columns:
    found = {
        name: getattr(rows.found, name).cpu().numpy() for name in ("stay", "position", "steps", "flipped", "margin")
    }
    magnitude, changed = np.abs(cells), cells != 0
    label = context.labels[found["stay"]]
    margin_clean, margin = rows.margin_clean.numpy(), rows.margin.numpy()
    n_changed = changed.sum(axis=(1, 2))
    return {
        "stay": found["stay"],
        "position": found["position"],
        "label": label,
        "flipped": found["flipped"],
        "flipped_float64": rows.flipped_float64.numpy(),
        "feasible": rows.feasible.numpy(),
        "success": rows.success.numpy(),
        "steps": found["steps"],
        "margin": margin,
        "margin_clean": margin_clean,
        "margin_float32": found["margin"].astype(np.float64),
        "margin_float64": rows.margin_float64.numpy(),
        "margin_feasible": rows.margin_feasible.numpy(),
        "p_clean": _p_death(margin_clean, label),
        "p_adversarial": _p_death(margin, label),
        "l1": magnitude.sum(axis=(1, 2)),
        "l2": np.sqrt(np.square(magnitude).sum(axis=(1, 2))),
        "linf": magnitude.max(axis=(1, 2), initial=0.0),
        "n_changed": n_changed,
        "n_changed_observed": (changed & context.observed[found["stay"]]).sum(axis=(1, 2)),
        "n_edited": (rows.point != 0).sum(dim=1).numpy(),
        "still_falling": rows.found.falling.cpu().numpy(),
        "gradient_vanished": rows.found.vanished.cpu().numpy(),
        "stuck_at_bounds": rows.found.stuck.cpu().numpy(),
        "pruned": rows.found.pruned.cpu().numpy(),
        "audited": rows.found.audited.cpu().numpy(),
        "rested": rows.found.rested.cpu().numpy(),
    }


def _prune(outcomes: _Columns, n_positions: int, prune: bool) -> Callable[[_Columns], _Array]:
    """Mark in `outcomes` (sorted, whole stays) what pruning leaves out, and return which rows of other columns go too.

    A row above its stay's first failure counts as not searched, unless it is audited; also where it was searched
    because the failure came to light too late. Without `prune`, nothing is.
    """
    flipped, pruned, audited, rested = (
        outcomes[name].reshape(-1, n_positions) for name in ("flipped", "pruned", "audited", "rested")
    )
    nothing = np.zeros_like(flipped)
    out, told = left_out(flipped, pruned, audited, rested) if prune else (nothing, nothing)
    outcomes["pruned"], outcomes["audited"] = out.ravel(), told.ravel()
    rows = np.flatnonzero(out)
    for name in _NO_FLAGS:
        outcomes[name][rows] = False
    for name in _NO_SIZE:
        outcomes[name][rows] = 0
    for name in ("margin", "margin_float32", "margin_float64", "margin_feasible"):
        outcomes[name][rows] = outcomes["margin_clean"][rows]
    outcomes["p_adversarial"][rows] = outcomes["p_clean"][rows]
    first_stay = int(outcomes["stay"][0])
    return lambda columns: out[columns["stay"] - first_stay, columns["position"]]


def _p_death(margin: _Array, label: _Array) -> _Array:
    """Probability of death from logit_t - logit_y: the margin points to death for a survivor (label 0)."""
    towards_death = np.where(label == 0, margin, -margin)
    probability: _Array = 1.0 / (1.0 + np.exp(-towards_death))
    return probability


def _where(columns: _Columns, kept: _Array) -> _Columns:
    return {name: values[kept] for name, values in columns.items()}


def _joined(blocks: list[_Columns], order: tuple[str, ...]) -> _Columns:
    """Blocks end to end, sorted by `order` (last key first, as numpy.lexsort wants it)."""
    if not blocks:
        return {}
    joined = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    places = np.lexsort([joined[key] for key in order])
    return {name: values[places] for name, values in joined.items()}
