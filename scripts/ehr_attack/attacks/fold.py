"""Attacking the held-out stays of one fold: who is attacked, the search, and three flags that prove each flip."""

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from ehr_attack.attacks import CHUNK_ROWS, load_mode
from ehr_attack.attacks.engine import FinishedRows, SearchSettings, Victims, freeze, in_chunks, search
from ehr_attack.attacks.feasibility import Rules, mutable_cells
from ehr_attack.attacks.mode import Mode
from ehr_attack.attacks.records import AttackContext, RowRecords
from ehr_attack.checkpoint import Checkpoint
from ehr_attack.cohort_data import CohortData
from ehr_attack.devices import choose_device, make_deterministic, reuse_freed_memory
from ehr_attack.inputs import model_inputs
from ehr_attack.progress import Progress
from ehr_attack.variables import DEMOGRAPHIC, Variable

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shard:
    """Part `index` (0-based) of `count` parts of a fold's attacked stays."""

    index: int
    count: int


def attack_fold(
    *,
    cohort: CohortData,
    checkpoint: Checkpoint,
    variables: Sequence[Variable],
    mode_name: str,
    seed: int,
    fold: int,
    shard: Shard,
    settings: dict[str, Any],
) -> tuple[pa.Table, pa.Table]:
    """Attack one shard of the correctly classified held-out stays of a fold.

    settings: the config's `attack` block (lambdas, steps, rate, kappa, mutable, max_stays, chunk_rows, device).
    Returns the outcomes (one row a stay and lambda; without `selected`) and the perturbations (one row a changed
    cell of a successful row), both sorted by stay and lambda. On a CPU the rows do not depend on the sharding.
    """
    make_deterministic(seed)
    reuse_freed_memory()
    device = choose_device(settings["device"], "attack.device")
    mode = load_mode(mode_name)
    search_settings = _search_settings(mode, settings, device)
    model = checkpoint.model.to(device)
    fold_stays, inputs = _held_out_inputs(cohort, checkpoint, fold)
    attacked = _attacked_stays(model, cohort, fold_stays, inputs, search_settings.chunk_rows, settings, seed, fold)
    part = attacked[shard.index :: shard.count]
    _log.info(
        "%s fold %d: shard %d of %d, %d stays x %d lambdas",
        mode_name, fold, shard.index + 1, shard.count, len(part), len(search_settings.lambdas),
    )  # fmt: skip
    stays = fold_stays[part]
    observed = ~np.isnan(cohort.recorded[stays])
    fixed = [variable.name for variable in variables if variable.group == DEMOGRAPHIC]
    n_hours = cohort.features.n_hours[stays]
    mutable = mutable_cells(settings["mutable"], observed, n_hours, checkpoint.preprocessing, fixed)
    n_values = len(checkpoint.preprocessing.variable_names)
    victims = Victims(
        inputs=torch.from_numpy(inputs[part, :, :n_values]).to(device),
        lengths=torch.from_numpy(cohort.features.n_hours[stays]).to(device),
        labels=torch.from_numpy(cohort.labels[stays].astype(np.int64)).to(device),
        mutable=torch.from_numpy(mutable).to(device),
        constants=torch.from_numpy(inputs[part, :, n_values:]).to(device),
    )
    judge = _Judge(model, victims, mode, search_settings, Rules.of(checkpoint.preprocessing, variables))
    records = RowRecords(
        AttackContext(
            model=str(checkpoint.details["model"]),
            mode=mode_name,
            seed=seed,
            fold=fold,
            stay_ids=cohort.features.stay_ids[stays],
            labels=cohort.labels[stays],
            observed=observed,
            lambdas=np.asarray(search_settings.lambdas),
            variable_names=checkpoint.preprocessing.variable_names,
            scale=checkpoint.preprocessing.scale,
        )
    )
    total = len(part) * len(search_settings.lambdas)
    with Progress(f"attack {mode_name} fold {fold}", total, "rows") as progress:
        if len(part):
            for rows in search(model, victims, mode, search_settings, progress):
                judge.record(rows, records)
    return records.tables()


def lambda_grid(lambdas: dict[str, Any], factor: float) -> list[float]:
    """`count` values from `low` to `high`, log-spaced, times the mode's `factor`."""
    grid: list[float] = (np.geomspace(lambdas["low"], lambdas["high"], lambdas["count"]) * factor).tolist()
    return grid


def _search_settings(mode: Mode, settings: dict[str, Any], device: torch.device) -> SearchSettings:
    return SearchSettings(
        lambdas=lambda_grid(settings["lambdas"], mode.lambda_factor(settings["rate"])),
        steps=settings["steps"],
        rate=settings["rate"],
        kappa=settings["kappa"] if mode.constrained else 0.0,
        chunk_rows=settings["chunk_rows"] or CHUNK_ROWS[device.type],
    )


def _held_out_inputs(
    cohort: CohortData, checkpoint: Checkpoint, fold: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Indices of the fold's held-out stays, and what the model sees of them, value channels first."""
    stays = np.flatnonzero(cohort.folds == fold)
    features = cohort.features
    values, carry_in, n_hours = features.values[stays], features.carry_in[stays], features.n_hours[stays]
    return stays, model_inputs(checkpoint.preprocessing, checkpoint.inputs, values, carry_in, n_hours)


def _attacked_stays(
    model: torch.nn.Module,
    cohort: CohortData,
    stays: npt.NDArray[np.int64],
    inputs: npt.NDArray[np.float32],
    chunk_rows: int,
    settings: dict[str, Any],
    seed: int,
    fold: int,
) -> npt.NDArray[np.int64]:
    """Positions, within the fold, of the correctly classified stays to attack: all, or a sample of `max_stays`."""
    freeze(model)
    device = next(model.parameters()).device
    labels = cohort.labels[stays].astype(np.int64)
    margin = in_chunks(
        model,
        torch.from_numpy(inputs).to(device),
        torch.from_numpy(cohort.features.n_hours[stays]).to(device),
        torch.from_numpy(labels).to(device),
        chunk_rows,
    )
    correct = np.flatnonzero((margin < 0).cpu().numpy())
    _log.info("fold %d: %d of %d held-out stays are classified correctly", fold, len(correct), len(stays))
    limit = settings["max_stays"]
    if limit is None or len(correct) <= limit:
        return correct
    return balanced_sample(correct, labels[correct], limit, np.random.default_rng([seed, fold]))


def balanced_sample(
    candidates: npt.NDArray[np.int64], labels: npt.NDArray[np.int64], limit: int, random: np.random.Generator
) -> npt.NDArray[np.int64]:
    """`limit` of the candidates, half of each label as far as there are enough; sorted.

    Susceptibility is reported per direction, so a balanced sample favours no direction and spends no time in vain.
    """
    shuffled = random.permutation(len(candidates))
    deaths, survivors = (shuffled[labels[shuffled] == label] for label in (1, 0))
    n_deaths = min(len(deaths), max(limit // 2, limit - len(survivors)))
    return np.sort(candidates[np.concatenate([deaths[:n_deaths], survivors[: limit - n_deaths]])])


class _Judge:
    """Recomputes what the search claims: in float64 as found, and in float64 after the feasibility rules."""

    def __init__(
        self, model: torch.nn.Module, victims: Victims, mode: Mode, settings: SearchSettings, rules: Rules
    ) -> None:
        self._device = torch.device("cpu" if victims.inputs.device.type == "mps" else victims.inputs.device)
        self._model = copy.deepcopy(model).to(self._device).double()
        freeze(self._model)
        self._victims, self._mode, self._settings, self._rules = victims, mode, settings, rules
        zero = torch.zeros_like(victims.inputs, dtype=torch.float64)
        self._clean = self._margins(torch.arange(len(victims.inputs), device=victims.inputs.device), zero)

    def record(self, rows: FinishedRows, records: RowRecords) -> None:
        """Judge a block of finished rows and add it to `records`."""
        found = rows.perturbation.double()
        feasible = self._feasible(rows)
        margin_found, margin_feasible = self._margins(rows.stay, found), self._margins(rows.stay, feasible)
        counted, margin = (feasible, margin_feasible) if self._mode.constrained else (found, margin_found)
        kappa = self._settings.kappa
        records.add(
            stay=rows.stay.cpu().numpy(),
            position=rows.position.cpu().numpy(),
            steps=rows.steps.cpu().numpy(),
            perturbation=counted.cpu().numpy(),
            margin_clean=self._clean[rows.stay.to(self._clean.device)].cpu().numpy(),
            margin=margin.cpu().numpy(),
            flipped=rows.flipped.cpu().numpy(),
            flipped_float64=(margin_found > kappa).cpu().numpy(),
            feasible=(margin_feasible > kappa).cpu().numpy(),
            success=(margin_feasible > kappa if self._mode.constrained else rows.flipped).cpu().numpy(),
        )

    def _feasible(self, rows: FinishedRows) -> torch.Tensor:
        values = self._rules.enforce(
            self._victims.inputs[rows.stay].cpu().numpy(),
            rows.perturbation.cpu().numpy(),
            self._victims.mutable[rows.stay].cpu().numpy(),
        )
        return torch.from_numpy(values)

    def _margins(self, stays: torch.Tensor, perturbation: torch.Tensor) -> torch.Tensor:
        """float64 margins of the perturbed stays; a zero perturbation has the clean margin, known already."""
        changed = perturbation.flatten(1).any(dim=1).cpu()
        if hasattr(self, "_clean"):
            margin = self._clean[stays.to(self._clean.device)].clone()
        else:
            margin = torch.zeros(len(stays), dtype=torch.float64, device=self._device)
            changed = torch.ones_like(changed)
        where = changed.nonzero().flatten()
        picked = stays.cpu()[where].to(self._victims.inputs.device)
        inputs = self._victims.inputs[picked].double().to(self._device)
        changed_inputs = inputs + perturbation[where.to(perturbation.device)].to(self._device)
        margin[where.to(self._device)] = in_chunks(
            self._model,
            self._victims.seen(picked, changed_inputs),
            self._victims.lengths[picked].to(self._device),
            self._victims.labels[picked].to(self._device),
            self._settings.chunk_rows,
        )
        return margin
