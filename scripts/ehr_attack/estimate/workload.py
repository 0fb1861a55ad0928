"""How many jobs and rows a config makes: counting only, nothing is measured here."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ehr_attack import mistakes, null_cohort
from ehr_attack.attacks import is_baseline
from ehr_attack.models import label_of, settings_of

CORRECT_SHARE = 0.75
"""Held-out stays that a model classifies correctly, which are those that may be attacked: an assumption."""

VALIDATION_SHARE = 1 / 8
"""Training stays that are set aside to choose the epoch (`folds.inner_validation`)."""


@dataclass(frozen=True)
class Workload:
    """The counts of a run. stays, deaths: of the cohort (expected values, so not whole numbers).

    epochs: of each model, by name. trials: of the search in each training fold, 0 without one. variants: models in
    which a mistake is made on purpose, and their control. on_null: the models that are also trained and attacked on
    hours in random order.
    """

    stays: float
    deaths: float
    cells: int
    folds: int
    sets: int
    seeds: int
    models: tuple[str, ...]
    modes: tuple[str, ...]
    shards: int
    lambdas: int
    epochs: Mapping[str, int]
    trials: int
    variants: int
    on_null: tuple[str, ...]
    oversampled: bool
    max_stays: int | None

    @classmethod
    def of(
        cls, config: Mapping[str, Any], *, stays: float, deaths: float, variables: int, folds: int, sets: int
    ) -> "Workload":
        """config: a checked config; folds: how many models a seed; sets: parts that folds hold out one of."""
        training, attack = config["training"], config["attack"]
        return cls(
            stays=stays,
            deaths=deaths,
            cells=config["features"]["window_hours"] * variables,
            folds=folds,
            sets=sets,
            seeds=len(config["run"]["seeds"]),
            models=tuple(training["models"]),
            modes=tuple(attack["modes"]),
            shards=attack["shards"],
            lambdas=attack["lambdas"]["count"],
            epochs={name: settings_of(label_of(name), training)["epochs"] for name in training["models"]},
            trials=training["tuning"]["trials"] if training["tune"] else 0,
            variants=len(mistakes.variants(config["audit"]["mistakes"])),
            on_null=tuple(null_cohort.null_models(training["models"], config["susceptibility"]["null_cohort"])),
            oversampled=training["class_balance"] == "oversample",
            max_stays=attack["max_stays"],
        )

    @property
    def evaluated_models(self) -> tuple[str, ...]:
        """Every model that is trained and scored; one with a mistake costs what the right one does."""
        return (*self.models, *[mistakes.AUDITED] * self.variants)

    @property
    def trained_models(self) -> tuple[str, ...]:
        """Every model that is trained, those on hours in random order too."""
        return (*self.evaluated_models, *self.on_null)

    @property
    def attacks(self) -> list[tuple[str, str]]:
        """Every model and mode; in one with a mistake, or on the null cohort, the first mode that has maps looks for
        changes."""
        first = self.mapped_modes[0]
        others = [*[mistakes.AUDITED] * self.variants, *self.on_null]
        return [*itertools.product(self.models, self.modes), *((model, first) for model in others)]

    @property
    def mapped_modes(self) -> tuple[str, ...]:
        """The modes that have maps: all but the baselines."""
        return tuple(mode for mode in self.modes if not is_baseline(mode))

    @property
    def trainings(self) -> int:
        """Training jobs of one model."""
        return self.seeds * self.folds

    @property
    def held_out(self) -> float:
        """Held-out stays of a fold."""
        return self.stays / self.sets

    @property
    def trained_on(self) -> float:
        """Stays of an epoch of training; oversampling draws the rarer outcome up to the commoner one."""
        stays = (self.stays - self.held_out) * (1 - VALIDATION_SHARE)
        if not self.oversampled or not self.stays:
            return stays
        rarer = min(self.deaths, self.stays - self.deaths) / self.stays
        return stays * 2 * (1 - rarer)

    @property
    def validated_on(self) -> float:
        """Stays that are predicted at the end of every epoch."""
        return (self.stays - self.held_out) * VALIDATION_SHARE

    def attacked(self, correct_share: float = CORRECT_SHARE) -> float:
        """Attacked stays of a fold."""
        correct = self.held_out * correct_share
        return correct if self.max_stays is None else min(float(self.max_stays), correct)

    def attack_rows(self, correct_share: float = CORRECT_SHARE, rows_a_stay: int | None = None) -> float:
        """Rows (stay x lambda) of one model and mode, over seeds and folds; rows_a_stay: None: one a lambda."""
        return self.trainings * self.attacked(correct_share) * (rows_a_stay or self.lambdas)
