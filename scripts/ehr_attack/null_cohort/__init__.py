"""The null of time preference: the run's own records with the hours of each stay in random order.

An LSTM prefers late hours even where none matters more than another. So its models pass through the same stages once
more, with the same settings, seeds and folds, on a cohort whose hours are exchangeable; what it shows there of the
hours is what the pipeline shows without a reason. They stand in no table of results, only behind the verdict.
"""

from collections.abc import Sequence

FIRST, EVERY, NO_MODEL = "first", "all", "none"
"""Which models have a null, the values of `susceptibility.null_cohort`."""

SUFFIX = "Null"


def null_models(models: Sequence[str], chosen: str) -> dict[str, str]:
    """Label of each chosen model -> its label on the null cohort (`lstm` -> `lstmNull`), in the order of `models`."""
    of_choice = {FIRST: models[:1], EVERY: models, NO_MODEL: ()}
    return {model: f"{model}{SUFFIX}" for model in of_choice[chosen]}
