"""The main mistakes of earlier reproductions, made on purpose and one at a time, to show what each does.

A mistake is made by a variant of a model: its label (`lstmWRONGTransposedAxis`) flows through the same stages as any
model's, and nothing of it stands among the run's own results but in the audit's section. `CONTROL` is no mistake: the
same run from another seed, which tells how far two right runs lie apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

TRANSPOSED_AXIS = "transposed_axis"
SCORED_ON_TRAINING = "scored_on_training"
WHOLE_COHORT_SCALING = "whole_cohort_scaling"
LOOK_AHEAD_INTERPOLATION = "look_ahead_interpolation"
CONTROL = "control"

MISTAKES = {
    TRANSPOSED_AXIS: "The sequence of the LSTM runs over the variables; the hours are its features.",
    SCORED_ON_TRAINING: "The patients who are scored and attacked were trained on as well.",
    WHOLE_COHORT_SCALING: "Percentiles and medians of the preprocessing come from all patients, held-out ones too.",
    LOOK_AHEAD_INTERPOLATION: "Gaps are interpolated over a longer record before the window is cut: values from after "
    "it reach into it.",
}
"""By name, in words. The names are those of `audit.mistakes`."""

AUDITED = "lstm"
"""The model that the mistakes are made with, as in the reproductions; it must be one of `training.models`."""

MOST_HOURS = 48
"""The longest window whose axes can be transposed."""

CONTROL_WORDS = "No mistake: the same run from another training seed."
_TRANSPOSED_MODEL = "ehr_attack.mistakes.transposed:TransposedLSTM"
_CONTROL_SEEDS = 1_000_003


@dataclass(frozen=True)
class Variant:
    """A model as it is trained in the audit: `architecture` as in `training.models`, and the mistake that is made."""

    label: str
    architecture: str
    mistake: str


def variants(mistakes: list[str]) -> list[Variant]:
    """The control and one variant a mistake of the model AUDITED; none without mistakes."""
    made = [
        Variant(
            f"{AUDITED}WRONG{mistake.title().replace('_', '')}",
            _TRANSPOSED_MODEL if mistake == TRANSPOSED_AXIS else AUDITED,
            mistake,
        )
        for mistake in mistakes
    ]
    return [Variant(f"{AUDITED}Control", AUDITED, CONTROL), *made] if made else []


def learning_split(split: npt.NDArray[np.str_], mistake: str) -> npt.NDArray[np.str_]:
    """The split of every stay as training takes it; the true one unless the mistake is to train on held-out stays."""
    if mistake != SCORED_ON_TRAINING:
        return split
    learnt = split.copy()
    learnt[split == "test"] = "train"
    return learnt


def scaling_stays(learnt: npt.NDArray[np.str_], mistake: str) -> npt.NDArray[np.bool_]:
    """The stays that the preprocessing is fitted on, bool (stays,): the training ones, or by mistake all."""
    stays: npt.NDArray[np.bool_] = (learnt == "train") | (mistake == WHOLE_COHORT_SCALING)
    return stays


def seed_of(seed: int, mistake: str) -> int:
    """The training seed: `seed`, and another one for the control."""
    return seed + _CONTROL_SEEDS if mistake == CONTROL else seed
