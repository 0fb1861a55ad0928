"""Attacking the held-out stays of one fold, or one shard of them: search, verification, tables."""

import dataclasses
import functools
import itertools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

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
from ehr_attack.attacks.records import AttackContext, AttackTables, RowRecords
from ehr_attack.attacks.rows import FinishedRows, Victims, joined
from ehr_attack.attacks.single import flipping_values, scan
from ehr_attack.attacks.space import CellSpace, Space
from ehr_attack.attacks.verification import Feasible, Judge
from ehr_attack.checkpoint import Checkpoint
from ehr_attack.cohort_data import CohortData
from ehr_attack.devices import choose_device, make_deterministic, reuse_freed_memory
from ehr_attack.progress import Progress
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
    settings = search_settings(attack.mode_name, attack.settings, device)
    model = attack.checkpoint.model.to(device)
    targets = _targets(attack, model, settings, device)
    records = RowRecords(_context(attack, targets, settings))
    total = len(targets.stays) * len(settings.lambdas)
    if not total:
        return
    judging = targets.on(torch.device("cpu")) if device.type == "mps" else targets  # float64 is not to be had there
    judge = Judge(
        model,
        judging.victims,
        judging.space,
        judging.feasible,
        constrained=entry_of(attack.mode_name).constrained,
        kappa=settings.kappa,
        chunk_rows=settings.chunk_rows,
    )
    with Progress(f"attack {attack.mode_name} fold {attack.fold}", total, "rows") as progress:
        for rows, changes in _searched(attack, model, targets, settings, progress):
            judged = judge.judge(rows)
            stays = judged.found.stay.to(judging.device)
            point = judged.point.to(judging.device)
            if changes is None and judging.record is not None:
                changes = judging.record.changes(stays.cpu().numpy(), point.cpu().numpy())  # noqa: PLW2901
            records.add(judged, judging.cells(stays, point).cpu().numpy(), changes)
            yield from records.parts()


def search_settings(mode_name: str, settings: Mapping[str, Any], device: torch.device) -> SearchSettings:
    """The settings of a search out of the config's `attack` block; a mode without lambdas gets one row a stay."""
    entry = entry_of(mode_name)
    factor = None
    if entry.kind in (CELLS, MEASUREMENTS):
        factor = load_mode(mode_name).lambda_factor(settings["rate"])
    return SearchSettings(
        lambdas=(float("nan"),) if factor is None else tuple(lambda_grid(settings["lambdas"], factor)),
        steps=settings["steps"],
        rate=settings["rate"],
        kappa=settings["kappa"] if entry.constrained else 0.0,
        chunk_rows=settings["chunk_rows"] or CHUNK_ROWS[device.type],
        prune=settings["prune"] and factor is not None,
    )


def lambda_grid(lambdas: Mapping[str, Any], factor: float) -> list[float]:
    """`count` values from `low` to `high`, log-spaced, times the mode's `factor`."""
    grid: list[float] = (np.geomspace(lambdas["low"], lambdas["high"], lambdas["count"]) * factor).tolist()
    return grid


@dataclass(frozen=True)
class _Targets:
    """The attacked stays (indices into the cohort) and what may be done to them."""

    stays: npt.NDArray[np.int64]
    observed: npt.NDArray[np.bool_]
    victims: Victims
    space: Space
    feasible: Feasible
    cells: Callable[[Tensor, Tensor], Tensor]
    on: Callable[[torch.device], "_Targets"]
    record: ChartedRecord | None = None

    @property
    def device(self) -> torch.device:
        return self.victims.inputs.device


def _targets(attack: FoldAttack, model: torch.nn.Module, settings: SearchSettings, device: torch.device) -> _Targets:
    cohort, checkpoint = attack.cohort, attack.checkpoint
    fold_stays, inputs = held_out_inputs(cohort, checkpoint, attack.fold)
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
    observed = ~np.isnan(cohort.recorded[stays])
    fixed = [variable.name for variable in attack.variables if not variable.mutable]
    n_hours = cohort.features.n_hours[stays]
    mutable = mutable_cells(attack.settings["mutable"], observed, n_hours, checkpoint.preprocessing, fixed)
    mutable &= _chosen_hours(attack, np.arange(mutable.shape[1]))[None, :, None]
    n_values = len(checkpoint.preprocessing.variable_names)
    victims = Victims(
        inputs=torch.from_numpy(inputs[part, :, :n_values]),
        lengths=torch.from_numpy(n_hours),
        labels=torch.from_numpy(cohort.labels[stays].astype(np.int64)),
        mutable=torch.from_numpy(mutable),
        constants=torch.from_numpy(inputs[part, :, n_values:]),
        keys=torch.from_numpy(cohort.features.stay_ids[stays]),
    )

    def on(where: torch.device) -> _Targets:
        placed = victims.to(where)
        of_kind = _measured if entry_of(attack.mode_name).kind in (MEASUREMENTS, SINGLE) else _cells
        return of_kind(attack, stays, observed, placed, on)

    return on(device)


def _cells(
    attack: FoldAttack,
    stays: npt.NDArray[np.int64],
    observed: npt.NDArray[np.bool_],
    victims: Victims,
    on: Callable[[torch.device], _Targets],
) -> _Targets:
    """Values of hours are varied; a feasible one is a whole number of charted units away."""
    rules = Rules.of(attack.checkpoint.preprocessing, attack.variables)
    shape = victims.inputs.shape[1:]
    inputs, mutable = victims.inputs.cpu().numpy(), victims.mutable.cpu().numpy()
    lowest, highest = rules.room(inputs)

    def feasible(of: Tensor, point: Tensor, outward: bool) -> Tensor:
        rows = of.cpu().numpy()
        enforced = rules.enforce(
            inputs[rows],
            point.view(-1, *shape).cpu().numpy(),
            mutable[rows],
            outward=outward,
            room=(lowest[rows], highest[rows]),
        )
        return torch.from_numpy(enforced).to(point.device).flatten(1)

    def cells(of: Tensor, point: Tensor) -> Tensor:
        return point.view(-1, *shape)

    space = CellSpace(victims.inputs, victims.mutable)
    return _Targets(stays, observed, victims, space, feasible, cells, on)


def _measured(
    attack: FoldAttack,
    stays: npt.NDArray[np.int64],
    observed: npt.NDArray[np.bool_],
    victims: Victims,
    on: Callable[[torch.device], _Targets],
) -> _Targets:
    """Recorded values are varied, imputation is run again on them; a feasible one lies on the charted grid."""
    assert attack.measurements is not None, "the workflow gives the recorded values to the modes that change them"
    features, preprocessing = attack.cohort.features, attack.checkpoint.preprocessing
    values, carry_in, n_hours = features.values[stays], features.carry_in[stays], features.n_hours[stays]
    names = preprocessing.variable_names
    events = load_events(attack.measurements, features.stay_ids[stays], n_hours, names, values.shape[1])
    record = ChartedRecord.of(preprocessing, attack.variables, events, attack.settings["mutable"])
    record = dataclasses.replace(record, mutable=record.mutable & _chosen_hours(attack, events.hour))
    device = victims.inputs.device
    space = MeasurementSpace.of(preprocessing, record, values, carry_in, n_hours, device)

    def feasible(of: Tensor, point: Tensor, outward: bool) -> Tensor:
        return torch.from_numpy(record.rounded(of.cpu().numpy(), point.cpu().numpy(), outward)).to(device)

    return _Targets(stays, observed, victims, space, feasible, space.cell_delta, on, record)


def _chosen_hours(attack: FoldAttack, hours: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which of `hours` the config lets an attack change."""
    first, last = attack.settings["mutable_hours"] or (0, np.iinfo(np.int64).max)
    return np.asarray((hours >= first) & (hours <= last))


def _context(attack: FoldAttack, targets: _Targets, settings: SearchSettings) -> AttackContext:
    cohort, preprocessing = attack.cohort, attack.checkpoint.preprocessing
    return AttackContext(
        model=str(attack.checkpoint.details["model"]),
        mode=label_of(attack.mode_name),
        seed=attack.seed,
        fold=attack.fold,
        stay_ids=cohort.features.stay_ids[targets.stays],
        labels=cohort.labels[targets.stays],
        observed=targets.observed,
        lambdas=np.asarray(settings.lambdas),
        variable_names=preprocessing.variable_names,
        units=tuple(variable.unit for variable in attack.variables),
        scale=preprocessing.scale,
        prune=settings.prune,
    )


def _searched(
    attack: FoldAttack, model: torch.nn.Module, targets: _Targets, settings: SearchSettings, progress: Progress
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
    attack: FoldAttack, model: torch.nn.Module, targets: _Targets, settings: SearchSettings, progress: Progress
) -> Iterator[tuple[FinishedRows, ChangedValues]]:
    """Of each stay the smallest flipping change of one value, and such a change of every value that has one."""
    assert isinstance(targets.space, MeasurementSpace) and targets.record is not None
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
