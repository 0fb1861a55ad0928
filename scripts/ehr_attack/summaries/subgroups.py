"""Model quality by age, sex and care unit, with small groups hidden, also from subtraction."""

from collections.abc import Sequence

import pandas as pd

from ehr_attack.schemas.evaluation import ALL_STAYS
from ehr_attack.suppression import MINIMUM, WITHHELD, partition_texts

METRICS = (
    "auroc",
    "auprc",
    "precision",
    "recall",
    "specificity",
    "brier_recalibrated",
    "calibration_intercept_recalibrated",
    "calibration_slope_recalibrated",
)
ATTRIBUTE_LABELS = {ALL_STAYS: "All", "age": "Age", "sex": "Sex", "care_unit": "Care unit"}
_VALUES = ["value", "low", "high"]
_KEYS = ["model", "seed", "attribute", "level"]
_DECIMALS = 3
# A share of so many, to three decimals, does not tell how many they are.
_UNREADABLE = 100


def subgroups_table(subgroups: pd.DataFrame) -> pd.DataFrame:
    """SUBGROUPS rows of the metrics in METRICS; n_stays and n_deaths as text, values to three decimals.

    A level with fewer than ten deaths or survivors shows no values. Where that hides a count, a second count of the
    attribute is withheld, and that level's values too unless they rest on at least 100 deaths and survivors, whose
    numbers cannot be read off them.
    """
    groups = subgroups.drop_duplicates(_KEYS)[[*_KEYS, "n_stays", "n_deaths"]]
    texts = pd.concat([_texts(part) for _, part in groups.groupby(_KEYS[:3], sort=False)])
    rows = subgroups[subgroups["metric"].isin(METRICS)].drop(columns=["n_stays", "n_patients", "n_deaths"])
    table = rows.merge(texts, on=_KEYS, validate="many_to_one")
    shown = {name: table[name].where(table["shown"]).round(_DECIMALS) for name in _VALUES}
    return table.assign(**shown)[[*_KEYS, "metric", *_VALUES, "n_stays", "n_deaths"]]


def _texts(levels: pd.DataFrame) -> pd.DataFrame:
    """Of the levels of one attribute: their counts as they may be printed, and whether their values may (`shown`)."""
    stays, deaths = (levels[name].astype(int).tolist() for name in ("n_stays", "n_deaths"))
    survivors = [total - died for died, total in zip(deaths, stays, strict=True)]
    of_stays, of_deaths = partition_texts(stays), _death_texts(deaths, survivors)
    shown = [
        min(outcomes) >= (MINIMUM if stay_text.isdigit() and death_text.isdigit() else _UNREADABLE)
        for *outcomes, stay_text, death_text in zip(deaths, survivors, of_stays, of_deaths, strict=True)
    ]
    return levels.assign(n_stays=of_stays, n_deaths=of_deaths, shown=shown)[[*_KEYS, "n_stays", "n_deaths", "shown"]]


def _death_texts(deaths: Sequence[int], survivors: Sequence[int]) -> list[str]:
    """Deaths of each level; withheld as well where they would tell of few survivors."""
    pairs = zip(partition_texts(deaths), partition_texts(survivors), strict=True)
    return [WITHHELD if died.isdigit() and not survived.isdigit() else died for died, survived in pairs]
