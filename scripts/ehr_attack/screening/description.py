"""`run.json`: what must be known of a run to apply its models to records; no path, nothing of a patient."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ehr_attack.errors import UserError
from ehr_attack.models import label_of as model_label
from ehr_attack.screening import ATTACK_KEYS, RUN_FILE, RUN_FILE_VERSION
from ehr_attack.sources import SOURCES
from ehr_attack.storage import read_json, write_json
from ehr_attack.variables import Variable, load_variables


@dataclass(frozen=True)
class RunDescription:
    """A run's settings as far as they decide what its models mean.

    models: as the config names them; modes: labels of the run's attacks, those that change recorded values first;
    attack: what a change may be and how it is searched (ATTACK_KEYS of mode ATTACK); levels: of mode `single`.
    """

    run: str
    profile: str
    kind: str
    window_hours: int
    carry_in_hours: float
    imputation: str
    models: tuple[str, ...]
    seeds: tuple[int, ...]
    folds: int
    modes: tuple[str, ...]
    attack: dict[str, Any]
    levels: int

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The run's variables, in the order of its features."""
        return load_variables(self.profile, self.kind)

    @property
    def sound(self) -> bool:
        """Whether every part has the type and the range that it is used with."""
        texts = (self.run, self.profile, self.kind, self.imputation, *self.models, *self.modes)
        counts = (self.window_hours, self.folds, self.levels)
        return (
            all(isinstance(text, str) for text in texts)
            and self.kind in ("synthetic", *SOURCES)
            and all(type(number) is int for number in (*counts, *self.seeds))
            and min(counts) >= 1
            and len(self.models) * len(self.seeds) > 0
            and _is_amount(self.carry_in_hours)
            and isinstance(self.attack, dict)
            and set(ATTACK_KEYS) <= set(self.attack)
            and type(self.attack["steps"]) is int
            and all(_is_amount(self.attack[key]) for key in ("steps", "rate", "kappa"))
            and _is_choice(self.attack["mutable"], self.attack["mutable_hours"])
        )

    def architecture(self, wanted: str | None) -> str:
        """The model that `wanted` names (its label, or as the config names it), by default the run's first.

        Raises UserError for a model that the run has not.
        """
        if wanted is None:
            return self.models[0]
        for model in self.models:
            if wanted in (model, model_label(model)):
                return model
        known = ", ".join(model_label(model) for model in self.models)
        raise UserError(f"--model {wanted}: the run has no such model; expected one of {known}.")

    def seed(self, wanted: int | None) -> int:
        """The seed `wanted`, by default the run's first. Raises UserError for one that the run has not."""
        if wanted is None:
            return self.seeds[0]
        if wanted not in self.seeds:
            known = ", ".join(map(str, self.seeds))
            raise UserError(f"--seed {wanted}: the run has no models of this seed; expected one of {known}.")
        return wanted

    def write(self, path: Path) -> None:
        """Write as JSON."""
        write_json({"version": RUN_FILE_VERSION} | asdict(self), path)


def _is_amount(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _is_choice(mutable: Any, hours: Any) -> bool:
    """Whether these are cells that may be changed, as the config's keys `attack.mutable` and `mutable_hours` say it."""
    named = isinstance(mutable, list) and all(isinstance(name, str) for name in mutable)
    two = isinstance(hours, list) and len(hours) == 2 and all(type(hour) is int for hour in hours)
    return (named or mutable in ("all", "observed")) and (two or hours is None)


def read_description(run: Path) -> RunDescription:
    """Read `run.json` of a run's folder. Raises UserError when there is none, or none of this version."""
    path = run / RUN_FILE
    if not run.is_dir():
        raise UserError(f"{run}: no such folder. Expected the folder of a finished run, such as results/demo.")
    if not path.is_file():
        raise UserError(
            f"{path}: no such file. Expected the folder of a run, such as results/demo, as this version writes it; run "
            f"`snakemake {path}` with the run's config (seconds: it says only how the run was made)."
        )
    stored = read_json(path)
    try:
        if stored.pop("version") != RUN_FILE_VERSION:
            raise ValueError
        lists = {name: tuple(stored[name]) for name in ("models", "seeds", "modes")}
        described = RunDescription(**stored | lists)
        if not described.sound:
            raise TypeError
        return described
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path}: not a description of a run by this version. Delete it and run `snakemake {path}` with the run's "
            "config."
        ) from error
