"""The published results that a run is compared with, and which variables are the same analyte in both."""

from functools import cache

import pandas as pd

from ehr_attack.paths import DATA_DIR

STUDIES = ("sun2018", "reproduction2023")
REPRODUCTION_PROFILE = "reproduction2023"

# The 2023 reproduction took calcium and potassium from blood gases: other analytes under the same names.
_OTHER_ANALYTES = frozenset({"calcium", "potassium"})


@cache
def published_metrics() -> pd.DataFrame:
    """Published model quality: study, cohort, evaluated_on, auroc, f1, precision, recall."""
    return pd.read_csv(DATA_DIR / "published_prediction_metrics.csv")


@cache
def published_marks() -> pd.DataFrame:
    """Published model quality on PhysioNet 2012: study, cohort, evaluated_on, auroc, score1."""
    return pd.read_csv(DATA_DIR / "published_physionet2012.csv")


@cache
def published_evaluations() -> pd.DataFrame:
    """How each study was evaluated: study, held_out (yes, no, not told), positive_class, remark."""
    return pd.read_csv(DATA_DIR / "published_evaluations.csv").fillna({"remark": ""})


@cache
def published_susceptibility() -> pd.DataFrame:
    """Published scores of variables: study, direction, rank, variable, score."""
    return pd.read_csv(DATA_DIR / "published_susceptibility.csv")


def published_scores(study: str, direction: str, profile: str) -> pd.Series:
    """Scores of `study`, float64 by name, of the variables that `profile` measures as the same analyte."""
    table = published_susceptibility()
    rows = table[(table["study"] == study) & (table["direction"] == direction)].set_index("variable")
    alike = (study == REPRODUCTION_PROFILE) == (profile == REPRODUCTION_PROFILE)
    return rows["score"] if alike else rows["score"].drop(labels=list(_OTHER_ANALYTES))


def published_ranks(study: str, direction: str, profile: str) -> pd.Series:
    """Ranks of `study` among the shared variables, 1 for the largest score, ties averaged."""
    return published_scores(study, direction, profile).rank(ascending=False)


def rank_agreement(ours: pd.Series, theirs: pd.Series) -> tuple[int, float, float]:
    """Number of shared variables, Spearman's rho and Kendall's tau-b of two series of scores by name.

    Both are ranked anew over the variables that both have, ties averaged. NaN where a series is constant or
    fewer than three variables are shared.
    """
    both = pd.concat([ours.rename("ours"), theirs.rename("theirs")], axis=1, join="inner").dropna()
    few = 3
    if len(both) < few or both["ours"].nunique() == 1 or both["theirs"].nunique() == 1:
        return len(both), float("nan"), float("nan")
    spearman = both["ours"].corr(both["theirs"], method="spearman")
    return len(both), spearman, both["ours"].corr(both["theirs"], method="kendall")
