"""Table of what each mistake, made on purpose, does to the metrics and to the susceptibility map."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ehr_attack.directions import DIRECTIONS
from ehr_attack.headline import headline
from ehr_attack.mistakes import CONTROL, CONTROL_WORDS, MISTAKES
from ehr_attack.published import rank_agreement
from ehr_attack.storage import read_frames, write_csv
from ehr_attack.summaries.claims import FLIPPED, HOUR_TREND, LAB_SHARE, LATE_SHARE, claims_table
from ehr_attack.summaries.models import POOLED, metrics_table
from ehr_attack.suppression import enough
from ehr_attack.variables import load_variables

METRICS = ("auroc", "auprc", "f1", "score1", "brier_recalibrated", "calibration_slope")
AGREEMENT = "rank correlation of S of the variables with the right run"
LAST_VARIABLES = "share of S in the last quarter of the list of variables"
TOP_VARIABLES = "most susceptible variables"
_OF_CLAIMS = (FLIPPED, LATE_SHARE, HOUR_TREND, LAB_SHARE)
RIGHT, ALL_SEEDS = "right_run", "all"
_MEASURE = "s_q95"
_TOP = 3
_NAN = float("nan")


def write_mistakes_table(
    *,
    metrics: Sequence[str | Path],
    summaries: Sequence[str | Path],
    variables: Sequence[str | Path],
    hours: Sequence[str | Path],
    mistakes: Sequence[str],
    profile: str,
    kind: str = "mimic3",
    out: str | Path,
) -> None:
    """Write `audit_of_mistakes.csv` to `out`.

    metrics, summaries, variables, hours: the METRICS, ATTACK_SUMMARY, VARIABLES and HOURS tables of each model, in the
    order of `mistakes`, whose first is "", the right model. Raises UserError for an unreadable file.
    """
    measured, by_variable = read_frames(metrics), headline(read_frames(variables))
    made = dict(zip(measured["model"].unique(), mistakes, strict=True))
    known, by_hour = load_variables(profile, kind), headline(read_frames(hours))
    claims = claims_table(read_frames(summaries), by_variable, by_hour, known, profile)
    write_csv(mistakes_table(measured, claims, by_variable, made), out)


def mistakes_table(
    metrics: pd.DataFrame, claims: pd.DataFrame, variables: pd.DataFrame, mistakes: dict[str, str]
) -> pd.DataFrame:
    """One row a mistake and quantity, against the right run.

    Columns: mistake, in_words, model, seed, direction, quantity, value, low, high, right, text. metrics, variables:
    METRICS and the headline's VARIABLES rows of all models; claims: the frame of `claims_table` of them; mistakes: by
    model, "" for the right one. `seed` is `all` for quantities of the map, which join them; `right`: the value of the
    right run; `text`: the value of a quantity that is no number. The measure of the map is the robust S.
    """
    rows = pd.concat([_metric_rows(metrics), _map_rows(claims), _variable_rows(variables, mistakes)], ignore_index=True)
    rows["mistake"] = rows["model"].map(mistakes).replace("", RIGHT)
    rows["in_words"] = rows["mistake"].map({RIGHT: "The right run.", CONTROL: CONTROL_WORDS, **MISTAKES})
    keys = ["seed", "direction", "quantity"]
    right = rows[rows["mistake"] == RIGHT].set_index(keys)["value"].rename("right")
    joined = rows.join(right, on=keys)
    order = {mistake or RIGHT: place for place, mistake in enumerate(mistakes.values())}
    columns = ["mistake", "in_words", "model", *keys, "value", "low", "high", "right", "text"]
    return joined.sort_values("mistake", key=lambda names: names.map(order), kind="stable", ignore_index=True)[columns]


def _metric_rows(metrics: pd.DataFrame) -> pd.DataFrame:
    table = metrics_table(metrics)
    pooled = table[(table["scope"] == POOLED) & table["metric"].isin(METRICS)]
    return pooled.assign(seed=pooled["seed"].astype(str), direction="", quantity=pooled["metric"], text="")


def _map_rows(claims: pd.DataFrame) -> pd.DataFrame:
    rows = claims[claims["quantity"].isin(_OF_CLAIMS) & claims["measure"].isin((_MEASURE, ""))]
    return rows[["model", "direction", "quantity", "value"]].assign(seed=ALL_SEEDS, low=_NAN, high=_NAN, text="")


def _variable_rows(variables: pd.DataFrame, mistakes: dict[str, str]) -> pd.DataFrame:
    """Agreement of each model's variables with the right one's, its most susceptible ones, and those last in the list.

    Only a model whose sequence runs over the variables can prefer the last ones for their place.
    """
    rows: list[dict[str, Any]] = []
    shown = variables[enough(variables)]
    order = variables["variable"].unique()
    last = order[len(order) - round(len(order) / 4) :]
    right = next(model for model, mistake in mistakes.items() if not mistake)
    for direction in DIRECTIONS:
        scores = shown[shown["direction"] == direction].pivot_table(index="variable", columns="model", values=_MEASURE)
        for model in [name for name in mistakes if name in scores]:
            label = {"model": model, "seed": ALL_SEEDS, "direction": direction, "low": _NAN, "high": _NAN}
            agreement = rank_agreement(scores[model], scores[right])[1] if right in scores else _NAN
            top = scores[model].nlargest(_TOP)
            named = ", ".join(top.index[top > 0])
            rows += [
                label | {"quantity": AGREEMENT, "value": agreement, "text": ""},
                label | {"quantity": LAST_VARIABLES, "value": _share(scores[model], last), "text": ""},
                label | {"quantity": TOP_VARIABLES, "value": _NAN, "text": named},
            ]
    return pd.DataFrame(rows, columns=["model", "seed", "direction", "quantity", "value", "low", "high", "text"])


def _share(scores: pd.Series, names: Iterable[str]) -> float:
    """The part of the sum of `scores` that lies in `names`; NaN when all are zero."""
    total = float(scores.sum())
    return float(scores.loc[list(names)].sum()) / total if total else _NAN
