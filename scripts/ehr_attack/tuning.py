"""Hyperparameter search inside one training fold: its inner validation patients choose, its held-out ones are not seen.

The study lies in a file that Optuna's own tools read too. A killed search goes on after its last finished trial, and
ends with the trials of an undisturbed one: a trial depends on the seed, its number and the trials before it only.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from ehr_attack.cohort_data import CohortData
from ehr_attack.errors import UserError
from ehr_attack.fitting import fit
from ehr_attack.hyperparameters import SEARCHED
from ehr_attack.models import chosen_settings
from ehr_attack.schemas.training import TRIALS
from ehr_attack.storage import atomic_path, write_frame, write_json
from ehr_attack.training import PreparedFold, mixed_seed, prepare_fold

_log = logging.getLogger(__name__)
_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
_AUROC, _EPOCHS = "validation_auroc", "epochs"


@dataclass(frozen=True)
class TunedFold:
    """What a search yields: `trials` follows the schema TRIALS; `chosen` is what hyperparameters.json holds."""

    trials: pd.DataFrame
    chosen: dict[str, Any]


def tune_fold(
    *,
    cohort: CohortData,
    fold: int,
    model_name: str,
    seed: int,
    imputation: str,
    settings: dict[str, Any],
    code: Mapping[str, str],
    journal: Path,
    label: str = "",
) -> TunedFold:
    """Search the hyperparameters of `model_name` on all folds but `fold`: those with the smallest validation loss.

    settings: the config's `training` block, whose `tuning` says what is searched and how many trials are made; more of
    them later continue the same search. Every trial trains as `train_fold` does, from the same initial weights, and
    ends early when the losses of its epochs are worse than the median of the trials before it. journal: the study's
    file; studies of other settings, code or data in it are left alone. Raises UserError when every trial diverged.
    """
    prepared = prepare_fold(cohort, fold, model_name, seed, imputation, settings, label=label)
    tuning = settings["tuning"]
    asked = {key: value for key, value in settings.items() if key not in ("tune", "tuning")}
    space = {key: tuning[key] for key in SEARCHED if tuning[key] is not None}
    identity = [asked, space, prepared.identity, dict(code), dict(cohort.file_digests)]
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    study = _open_study(journal, key)
    while len(done := _finished(study)) < tuning["trials"]:
        # Of each trial's own, so that a search that goes on draws what an undisturbed one draws.
        study.sampler = optuna.samplers.TPESampler(seed=mixed_seed(prepared.seed, len(done)))
        _run_trial(study, prepared, settings, space, len(done))
    return _result(done[: tuning["trials"]], space, prepared, key)


def save_tuned(tuned: TunedFold, *, hyperparameters: str, trials: str) -> None:
    """Write the chosen hyperparameters as JSON and the table of trials."""
    write_json(tuned.chosen, hyperparameters)
    write_frame(tuned.trials, trials, TRIALS)


def _open_study(journal: Path, key: str) -> optuna.Study:
    """The study `key` in the file, without the trial that was running when the search was killed."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    journal.parent.mkdir(parents=True, exist_ok=True)
    # A killed process leaves its lock behind; no other one works in this folder, which Snakemake sees to.
    for lock in journal.parent.glob(f"{journal.name}.lock*"):
        lock.unlink()
    _drop_unfinished_line(journal)
    try:
        study = _study(journal, key)
    except Exception:  # a damaged file may fail in any way
        _log.warning("the study of an earlier run is damaged: starting anew")
        journal.unlink(missing_ok=True)
        study = _study(journal, key)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.WAITING)):
        study.tell(trial.number, state=TrialState.FAIL)
    if done := len(_finished(study)):
        _log.info("going on after %d trials of an earlier run", done)
    return study


def _drop_unfinished_line(journal: Path) -> None:
    """Cut off what a killed process left of its last entry; Optuna would go on writing behind it."""
    if journal.is_file() and not (content := journal.read_bytes()).endswith(b"\n"):
        with atomic_path(journal) as temporary:
            temporary.write_bytes(content[: content.rfind(b"\n") + 1])


def _study(journal: Path, key: str) -> optuna.Study:
    return optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(journal))),
        study_name=key,
        direction="minimize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=3),
        load_if_exists=True,
    )


def _finished(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=_FINISHED)


def _run_trial(
    study: optuna.Study, prepared: PreparedFold, settings: Mapping[str, Any], space: Mapping[str, Any], number: int
) -> None:
    """Make one trial and tell the study its smallest validation loss; one that diverges counts as pruned."""
    trial = study.ask()
    suggested = _suggest(trial, space)
    epochs: list[Mapping[str, float]] = []

    def after_epoch(epoch: int, measured: Mapping[str, float]) -> None:
        epochs.append(measured)
        trial.report(measured["validation_loss"], epoch)
        if trial.should_prune():
            raise optuna.TrialPruned

    model = prepared.fresh_model()
    try:
        fit(
            model,
            prepared.tensors,
            train=prepared.train,
            validation=prepared.validation,
            settings=chosen_settings(model, {**settings, **suggested}),
            seed=prepared.seed,
            label=f"{prepared.name} fold {prepared.fold}, trial {number + 1}",
            after_epoch=after_epoch,
        )
        state = TrialState.COMPLETE
    except (optuna.TrialPruned, UserError):
        state = TrialState.PRUNED
    best = min(epochs, key=lambda measured: _or_worst(measured["validation_loss"]))
    trial.set_user_attr(_AUROC, best["validation_auroc"])
    trial.set_user_attr(_EPOCHS, len(epochs))
    study.tell(trial, best["validation_loss"] if state == TrialState.COMPLETE else None, state=state)
    _log.info(
        "trial %d, %s: validation loss %.4f, %s", number + 1, suggested, best["validation_loss"], state.name.lower()
    )


def _suggest(trial: Trial, space: Mapping[str, Any]) -> dict[str, Any]:
    """Values of the searched keys; lr and weight_decay on a log scale between their bounds."""
    suggested: dict[str, Any] = {}
    for key, allowed in space.items():
        if key == "batch_size":
            suggested[key] = trial.suggest_categorical(key, allowed)
        else:
            suggested[key] = trial.suggest_float(key, *allowed, log=True)
    return suggested


def _result(done: list[FrozenTrial], space: Mapping[str, Any], prepared: PreparedFold, key: str) -> TunedFold:
    complete = [trial for trial in done if trial.state == TrialState.COMPLETE]
    if not complete:
        raise UserError(
            f"training.tuning: none of {len(done)} trials reached its last epoch with a finite loss. Lower the bounds "
            "of training.tuning.lr, or allow more trials."
        )
    best = min(complete, key=lambda trial: (_loss_of(trial), trial.number))
    rows = [
        {
            **prepared.labels,
            "trial": number + 1,
            "state": trial.state.name.lower(),
            "validation_loss": _loss_of(trial),
            "validation_auroc": trial.user_attrs[_AUROC],
            "epochs": trial.user_attrs[_EPOCHS],
            **{name: trial.params.get(name) for name in SEARCHED},
            "chosen": trial is best,
        }
        for number, trial in enumerate(done)
    ]
    chosen = {
        "settings": {name: best.params[name] for name in space},
        "trials": len(done),
        "pruned": len(done) - len(complete),
        "trial": next(row["trial"] for row in rows if row["chosen"]),
        "validation_loss": _loss_of(best),
        "study": key,
    }
    return TunedFold(pd.DataFrame(rows), chosen)


def _loss_of(trial: FrozenTrial) -> float:
    """The smallest validation loss of the trial's epochs."""
    return min(trial.intermediate_values.values(), key=_or_worst)


def _or_worst(loss: float) -> float:
    return loss if np.isfinite(loss) else float("inf")
