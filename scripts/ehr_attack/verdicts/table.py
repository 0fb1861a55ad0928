"""The table of verdicts: every test of every model and mapped attack mode."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ehr_attack.schemas.verdicts import VERDICTS
from ehr_attack.storage import read_frame, write_frame
from ehr_attack.variables import Variable
from ehr_attack.verdicts.cell_means import CellMeans, Key, read_cell_means
from ehr_attack.verdicts.performance import no_skill, performance_questions, pooled_auroc
from ehr_attack.verdicts.places import direction_questions, laboratory_questions, rank_questions
from ehr_attack.verdicts.small_changes import change_questions, read_attempts
from ehr_attack.verdicts.time_preference import time_questions


def write_verdicts(
    files: Mapping[str, Sequence[str]],
    *,
    models: Sequence[str],
    modes: Sequence[str],
    null_models: Mapping[str, str],
    variables: Sequence[Variable],
    profile: str,
    window_hours: int,
    resamples: int,
    out: str,
) -> None:
    """Write VERDICTS, sorted by claim, then in the order of models and modes.

    files: by name, the tables `metrics` of each of `models`, and `predictions` of each, of all seeds and folds;
    `variables`, `hours`, `replicates` of each of `models`, with each of `modes`, and `outcomes` likewise, of all seeds
    and folds; `null_hours`, `null_variables`, `null_replicates` of each of `null_models`; `stays`. null_models: model
    -> its label on the null cohort; its tables are of the first mode. variables: of the run, of `profile`. Raises
    UserError when a table is missing.
    """
    stays = read_frame(files["stays"][0], ["stay_id", "subject_id"])
    subjects = stays.set_index("stay_id")["subject_id"]
    n_cells = window_hours * len(variables)
    nulls = {model: _means_at(files, place, "null_") for place, model in enumerate(null_models)}
    predictions = _in_parts(files["predictions"], len(models))
    outcomes = _in_parts(files["outcomes"], len(models) * len(modes))
    rows: list[dict[str, Any]] = []
    for number, model in enumerate(models):
        hindrance = no_skill(model, pooled_auroc(read_frame(files["metrics"][number])))
        performance = performance_questions(_unseen(predictions[number]), stays, resamples)
        rows += [question.row(model, "", hindrance) for question in performance]
        for place, mode in enumerate(modes):
            at = number * len(modes) + place
            means = _means_at(files, at)
            questions = [
                *time_questions(means, nulls.get(model, {}) if place == 0 else {}),
                *direction_questions(means),
                *rank_questions(means, profile),
                *laboratory_questions(means, variables),
                *change_questions(read_attempts(outcomes[at], subjects, n_cells), resamples),
            ]
            rows += [question.row(model, mode, hindrance) for question in questions]
    table = pd.DataFrame(rows, columns=VERDICTS.names)
    write_frame(table.sort_values("claim", kind="stable", ignore_index=True), out, VERDICTS)


def _means_at(files: Mapping[str, Sequence[str]], place: int, prefix: str = "") -> dict[Key, CellMeans]:
    """The means of the map number `place`, of the run or (`null_`) of the null cohort."""
    return read_cell_means(*(files[prefix + name][place] for name in ("variables", "hours", "replicates")))


def _in_parts(paths: Sequence[str], count: int) -> list[Sequence[str]]:
    """The paths in `count` parts of one length."""
    size = len(paths) // max(1, count)
    return [paths[part * size : (part + 1) * size] for part in range(count)]


def _unseen(paths: Sequence[str]) -> pd.DataFrame:
    """The predictions of the stays that a model was not trained on."""
    parts = (read_frame(path) for path in paths)
    return pd.concat([part[part["split"] != "train"] for part in parts], ignore_index=True)
