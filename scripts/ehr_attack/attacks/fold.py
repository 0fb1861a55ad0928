"""Attacking the held-out stays of one fold, or one shard of them: search, verification, tables."""

import functools
import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ehr_attack.attacks import (
    BASELINE,
    CELLS,
    CHUNK_ROWS,
    MEASUREMENTS,
    SINGLE,
    entry_of,
    label_of,
    load_mode,
    load_object,
    needs_measurements,
)
from ehr_attack.attacks.baselines import Budget
from ehr_attack.attacks.charted import ChangedValues, ChartedRecord
from ehr_attack.attacks.engine import search
from ehr_attack.attacks.events import load_events
from ehr_attack.attacks.feasibility import Rules, mutable_cells
from ehr_attack.attacks.gradients import gradient_path
from ehr_attack.attacks.gradients.autograd import margins
from ehr_attack.attacks.held_out import attacked_stays, held_out_inputs
from ehr_attack.attacks.measurement_space import MeasurementSpace
from ehr_attack.attacks.mode import SearchSettings
from ehr_attack.attacks.one_step import perturb_once
from ehr_attack.attacks.records import TABLES, AttackContext, AttackTables, RowRecords
from ehr_attack.attacks.rows import FinishedRows, Victims, joined
from ehr_attack.attacks.single import flipping_values, scan
from ehr_attack.attacks.targets import Targets, cell_targets, value_targets
from ehr_attack.attacks.verification import Judge
from ehr_attack.checkpoint import Checkpoint
from ehr_attack.cohort_data import CohortData
from ehr_attack.devices import choose_device, make_deterministic, reuse_freed_memory
from ehr_attack.progress import Progress
from ehr_attack.storage import parquet_streams
from ehr_attack.variables import Variable

_log = logging.getLogger(__name__)
_STAYS_A_BLOCK = 32


@dataclass(frozen=True)
class Shard:
    """Part `index` (0-based) of `count` parts of a fold's attacked stays."""

    index: int
    count: int


@dataclass(frozen=True)
class FoldAttack:
    """What is attacked, and how.

    settings: the config's `attack` block for this mode, see `attacks.settings_of`; measurements: the canonical table,
    for modes that change recorded values; budget: of the attack that a baseline is matched to.
    """

    cohort: CohortData
    checkpoint: Checkpoint
    variables: Sequence[Variable]
    mode_name: str
    seed: int
    fold: int
    shard: Shard
    settings: Mapping[str, Any]
    measurements: Path | None = None
    budget: Budget | None = None


def attack_fold(attack: FoldAttack) -> Iterator[AttackTables]:
    """Attack one shard of the correctly classified held-out stays of a fold.

    Yields the tables of some stays at a time, sorted by stay and lambda, as soon as all their rows have ended:
    outcomes (one row a stay and lambda; without `selected`), perturbations (one row a changed cell of a successful
    row), changes (one row a changed recorded value of one). On a CPU the rows do not depend on the sharding.
    """
    make_deterministic(attack.seed)
    reuse_freed_memory()
    device = choose_device(attack.settings["device"], "attack.device")
    settings = _search_settings(attack, device)
    model = attack.checkpoint.model.to(device)
    stays, victims = _attacked(attack, model, settings)
    total = len(stays) * len(settings.lambdas)
    if not total:
        return
    targets = _targets(attack, stays, victims.to(device))
    # Where float64 is not to be had, the CPU judges.
    judging = _targets(attack, stays, victims) if device.type == "mps" else targets
    judge = Judge(
        model,
        judging.victims,
        judging.space,
        judging.feasible,
        constrained=entry_of(attack.mode_name).constrained,
        kappa=settings.kappa,
        chunk_rows=settings.chunk_rows,
    )
    records = RowRecords(_context(attack, stays, settings))
    with Progress(f"attack {attack.mode_name} fold {attack.fold}", total, "rows") as progress:
        for rows, values in _searched(attack, model, targets, settings, progress):
            judged = judge.judge(rows)
            records.add(judged, judging.cells(judged), values or judging.changes(judged))
            yield from records.parts()


def write_attack(attack: FoldAttack, **files: str | Path) -> None:
    """Attack one shard and write its tables while it runs; files: of each of `records.TABLES`, by its name."""
    with parquet_streams({files[name]: schema for name, schema in TABLES.items()}) as append:
        for part in attack_fold(attack):
            for name in TABLES:
                append(files[name], getattr(part, name))


def _search_settings(attack: FoldAttack, device: torch.device) -> SearchSettings:
    """The settings of the search; a mode without lambdas gets one row a stay."""
    entry, chosen = entry_of(attack.mode_name), attack.settings
    factor = None
    if entry.kind in (CELLS, MEASUREMENTS):
        factor = load_mode(attack.mode_name).lambda_factor(chosen["rate"])
    return SearchSettings(
        lambdas=(float("nan"),) if factor is None else _lambda_grid(chosen["lambdas"], factor),
        steps=chosen["steps"],
        rate=chosen["rate"],
        kappa=chosen["kappa"] if entry.constrained else 0.0,
        chunk_rows=chosen["chunk_rows"] or CHUNK_ROWS[device.type],
        prune=chosen["prune"] and factor is not None,
    )


def _lambda_grid(lambdas: Mapping[str, Any], factor: float) -> tuple[float, ...]:
    """`count` values from `low` to `high`, log-spaced, times the mode's `factor`."""
    return tuple((np.geomspace(lambdas["low"], lambdas["high"], lambdas["count"]) * factor).tolist())


def _attacked(
    attack: FoldAttack, model: torch.nn.Module, settings: SearchSettings
) -> tuple[npt.NDArray[np.int64], Victims]:
    """The stays of the shard, as indices into the cohort, and the same as victims, on the CPU."""
    cohort, fitted = attack.cohort, attack.checkpoint.preprocessing
    fold_stays, inputs = held_out_inputs(cohort, attack.checkpoint, attack.fold)
    attacked = attacked_stays(
        model, cohort, fold_stays, inputs,
        chunk_rows=settings.chunk_rows, max_stays=attack.settings["max_stays"], seed=attack.seed, fold=attack.fold,
    )  # fmt: skip
    if attack.budget is not None:
        attacked = attacked[attack.budget.of(cohort.features.stay_ids[fold_stays[attacked]])]
    part = attacked[attack.shard.index :: attack.shard.count]
    stays = fold_stays[part]
    _log.info(
        "%s fold %d: shard %d of %d, %d stays x %d lambdas",
        attack.mode_name, attack.fold, attack.shard.index + 1, attack.shard.count, len(part), len(settings.lambdas),
    )  # fmt: skip
    n_hours, n_values = cohort.features.n_hours[stays], len(fitted.variable_names)
    mutable = mutable_cells(
        attack.settings["mutable"],
        cohort.observed(stays),
        n_hours,
        fitted,
        fixed=[variable.name for variable in attack.variables if not variable.mutable],
        limits=attack.settings["mutable_hours"],
    )
    return stays, Victims(
        inputs=torch.from_numpy(inputs[part, :, :n_values]),
        lengths=torch.from_numpy(n_hours),
        labels=torch.from_numpy(cohort.labels[stays].astype(np.int64)),
        mutable=torch.from_numpy(mutable),
        constants=torch.from_numpy(inputs[part, :, n_values:]),
        keys=torch.from_numpy(cohort.features.stay_ids[stays]),
    )


def _targets(attack: FoldAttack, stays: npt.NDArray[np.int64], victims: Victims) -> Targets:
    """What may be done to `stays`, the `victims`, in this mode, on their device."""
    fitted = attack.checkpoint.preprocessing
    if not needs_measurements(attack.mode_name):
        return cell_targets(victims, Rules.of(fitted, attack.variables))
    assert attack.measurements is not None, "the workflow gives the recorded values to the modes that change them"
    features = attack.cohort.features
    values, carry_in, n_hours = features.values[stays], features.carry_in[stays], features.n_hours[stays]
    names = fitted.variable_names
    events = load_events(attack.measurements, features.stay_ids[stays], n_hours, names, values.shape[1])
    may_change = attack.settings["mutable"], attack.settings["mutable_hours"]
    record = ChartedRecord.of(fitted, attack.variables, events, *may_change)
    space = MeasurementSpace.of(fitted, record, values, carry_in, n_hours, victims.inputs.device)
    return value_targets(victims, space, record)


def _context(attack: FoldAttack, stays: npt.NDArray[np.int64], settings: SearchSettings) -> AttackContext:
    cohort, fitted = attack.cohort, attack.checkpoint.preprocessing
    return AttackContext(
        model=str(attack.checkpoint.details["model"]),
        mode=label_of(attack.mode_name),
        seed=attack.seed,
        fold=attack.fold,
        stay_ids=cohort.features.stay_ids[stays],
        labels=cohort.labels[stays],
        observed=cohort.observed(stays),
        lambdas=np.asarray(settings.lambdas),
        variable_names=fitted.variable_names,
        units=tuple(variable.unit for variable in attack.variables),
        scale=fitted.scale,
        prune=settings.prune,
    )


def _searched(
    attack: FoldAttack, model: torch.nn.Module, targets: Targets, settings: SearchSettings, progress: Progress
) -> Iterator[tuple[FinishedRows, ChangedValues | None]]:
    """Finished rows, by the way that the mode's kind searches, and what it has to tell of recorded values itself."""
    kind = entry_of(attack.mode_name).kind
    path = gradient_path(model, attack.settings["path"], targets.device, attack.settings["precision"])
    victims = targets.victims
    if kind == BASELINE:
        assert attack.budget is not None, "the workflow gives every baseline the attack to match"
        baseline, key = load_object(attack.mode_name), (attack.seed, attack.fold)
        for rows in perturb_once(victims, targets.space, path, baseline, attack.budget, settings, key, progress):
            yield rows, None
    elif kind == SINGLE:
        yield from _scanned(attack, model, targets, settings, progress)
    else:
        mode = load_mode(attack.mode_name)
        for rows in search(model, victims, mode, settings, progress, space=targets.space, path=path):
            yield rows, None


def _scanned(
    attack: FoldAttack, model: torch.nn.Module, targets: Targets, settings: SearchSettings, progress: Progress
) -> Iterator[tuple[FinishedRows, ChangedValues]]:
    """Of each stay the smallest flipping change of one value, and such a change of every value that has one."""
    assert targets.record is not None, "a mode that changes recorded values has them"
    results = scan(
        functools.partial(margins, model),
        targets.space,
        targets.record,
        targets.victims,
        levels=attack.settings["levels"],
        chunk_rows=settings.chunk_rows,
        kappa=settings.kappa,
        progress=progress,
    )
    while part := list(itertools.islice(results, _STAYS_A_BLOCK)):
        yield joined([result.finished(targets.device) for result in part]), flipping_values(part, targets.record)
