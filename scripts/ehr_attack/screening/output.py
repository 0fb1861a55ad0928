"""`screen.json`: all that a screening found, as plain values. Its keys are documented in docs/screening.md."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ehr_attack import __version__
from ehr_attack.screening import RUN_FILE
from ehr_attack.screening.engine import ScreenSettings
from ehr_attack.screening.flips import Flip, ScreenedStay
from ehr_attack.screening.population import Population
from ehr_attack.screening.prediction import probability
from ehr_attack.screening.private_files import write_private
from ehr_attack.screening.stays import Source
from ehr_attack.storage import file_digest
from ehr_attack.variables import Variable

FORMAT, VERSION = "ehr-attack screen", 1
DEATH, SURVIVAL = "death", "survival"
_DIGITS = 6


def as_data(
    run: Path,
    source: Source,
    variables: Sequence[Variable],
    settings: ScreenSettings,
    population: Population,
    stays: Sequence[ScreenedStay],
) -> dict[str, Any]:
    """The whole result; stays that take least come first, those without a flip last."""
    models = source.models
    digest = hashlib.sha256(f"{file_digest(run / RUN_FILE)} {models.digest}".encode()).hexdigest()
    return {
        "format": FORMAT,
        "version": VERSION,
        "software": f"ehr-attack {__version__}",
        "run": {"digest": digest, "name": run.resolve().name},
        "model": {"name": models.model, "seed": models.seed, "folds": list(models.checkpoints)},
        "source": source.kind,
        "settings": dict(settings.attack)
        | {key: getattr(settings, key) for key in ("levels", "alternatives", "exhaustive")},
        "population": {
            "ranks_mode": population.mode or None,
            "costs_mode": population.costs_mode or None,
            "missing": population.missing or None,
        },
        "variables": [
            {
                "name": variable.name,
                "label": variable.label,
                "unit": variable.unit,
                "precision": variable.precision,
                "low_exclusive": variable.low_exclusive,
                "high_inclusive": variable.high_inclusive,
            }
            for variable in variables
        ],
        "stays": [_stay(stay, variables, population) for stay in sorted(stays, key=_effort)],
    }


def write_data(data: dict[str, Any], path: Path) -> None:
    """Write as JSON, for the owner of the file only; keys in their order, NaN refused (ValueError)."""
    text = json.dumps(data, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    write_private(path, lambda temporary: temporary.write_bytes(text.encode()))


def _effort(stay: ScreenedStay) -> tuple[int, float, int]:
    """What the smallest flip takes; no flip is the most."""
    if stay.smallest is None:
        return (1 << 30, 0.0, stay.stay_id)
    return (*stay.smallest.order, stay.stay_id)


def _stay(stay: ScreenedStay, variables: Sequence[Variable], population: Population) -> dict[str, Any]:
    names = [variable.name for variable in variables]
    logit = float(stay.logits.mean())
    return {
        "stay_id": stay.stay_id,
        "n_hours": stay.n_hours,
        "n_values": stay.n_values,
        "prediction": {
            "outcome": DEATH if stay.predicts_death else SURVIVAL,
            "logit": _rounded(logit),
            "p_death": _rounded(probability(logit)),
            "folds": [
                {"fold": fold, "p_death": _rounded(probability(own))}
                for fold, own in zip(stay.folds, stay.logits, strict=True)
            ],
        },
        "smallest": None if stay.smallest is None else _flip(stay, stay.smallest, variables, population),
        "single": [_flip(stay, flip, variables, population) for flip in stay.single],
        "n_single": stay.n_single,
        "recorded": {names[feature]: [list(point) for point in points] for feature, points in stay.traces.items()},
    }


def _flip(stay: ScreenedStay, flip: Flip, variables: Sequence[Variable], population: Population) -> dict[str, Any]:
    direction = "1_to_0" if stay.predicts_death else "0_to_1"
    logit = float(flip.logits.mean())
    return {
        "changes": [
            {
                "variable": variables[entry.feature].name,
                "hours": entry.hours,
                "value_before": entry.value_before,
                "value_after": entry.value_after,
                "unit": variables[entry.feature].unit,
                "size": _rounded(entry.size),
                "population": population.entry(direction, int(entry.hours), variables[entry.feature].name),
            }
            for entry in flip.entries
        ],
        "logit": _rounded(logit),
        "p_death": _rounded(probability(logit)),
        "folds_that_flip": stay.agreeing(flip),
        "population": population.flip(direction, flip),
    }


def _rounded(value: Any) -> float:
    return round(float(value), _DIGITS)
