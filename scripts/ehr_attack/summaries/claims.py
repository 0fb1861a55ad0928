"""What the paper claims, in numbers of this run, beside an even spread and the published scores.

A claim is a hypothesis. The numbers here are what a verdict would rest on; they are not verdicts.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import pandas as pd

from ehr_attack.directions import DIRECTIONS
from ehr_attack.published import STUDIES, published_scores, rank_agreement
from ehr_attack.suppression import MINIMUM, enough, rate
from ehr_attack.variables import LAB, Variable

LATE_HOURS, DIRECTION_GAP, LABORATORY, SMALL_CHANGES = 2, 3, 4, 5
LATE_SHARE = "share of S in the last quarter of the window"
HOUR_TREND = "rank correlation of S with the hour"
TOTAL = "sum of S over all cells"
TOP_THREE = "share of S in the three most susceptible variables"
LAB_SHARE = "share of S in laboratory variables"
FLIPPED = "attacked stays that were flipped [%]"
CHANGED = "median share of changed cells [%]"
MEASURES = ("s_q95", "s")
_TOP = 3
_NAN = float("nan")


@dataclass(frozen=True)
class Estimate:
    """One number that bears on a claim; `even`: if S were spread evenly, `published`: in Sun 2018."""

    claim: int
    direction: str
    measure: str
    quantity: str
    value: float
    even: float = _NAN
    published: float = _NAN


def claims_table(
    summary: pd.DataFrame,
    variables: pd.DataFrame,
    hours: pd.DataFrame,
    known: Sequence[Variable],
    profile: str,
) -> pd.DataFrame:
    """Claims 2 to 5 of the paper: claim, model, mode, direction, measure, quantity, value, even, published.

    summary, variables, hours: ATTACK_SUMMARY rows, and the headline's of VARIABLES and HOURS, of all models and
    modes. Directions with fewer than ten successfully attacked stays or patients are left out.
    """
    rows = []
    for (model, mode), attacks in summary.groupby(["model", "mode"], sort=False):
        by_variable, by_hour = (_of(table, str(model), str(mode)) for table in (variables, hours))
        n_cells = by_hour["hour"].nunique() * by_variable["variable"].nunique()
        for direction in DIRECTIONS:
            estimates = [
                *_hour_estimates(_large(by_hour, direction), direction),
                *_variable_estimates(_large(by_variable, direction), direction, known, profile),
                *_budget_estimates(attacks[attacks["direction"] == direction], direction, n_cells),
            ]
            rows += [{"model": model, "mode": mode} | asdict(estimate) for estimate in estimates]
    columns = ["claim", "model", "mode", "direction", "measure", "quantity", "value", "even", "published"]
    return pd.DataFrame(rows, columns=columns).sort_values("claim", kind="stable", ignore_index=True)


def ranks_table(variables: pd.DataFrame, profile: str) -> pd.DataFrame:
    """Agreement of variable ranks with each published study.

    Columns: model, mode, direction, study, measure, n_shared, spearman, kendall. variables: the headline's VARIABLES
    rows. Shared variables of the same analyte only, ranked anew, ties averaged; directions with fewer than ten
    successfully attacked stays or patients are left out.
    """
    rows = []
    for (model, mode), group in variables.groupby(["model", "mode"], sort=False):
        for direction in DIRECTIONS:
            ours = _large(group, direction).set_index("variable")
            for study in STUDIES if len(ours) else ():
                theirs = published_scores(study, direction, profile)
                for measure in MEASURES:
                    agreement = rank_agreement(ours[measure], theirs)
                    rows.append((model, mode, direction, study, measure, *agreement))
    columns = ["model", "mode", "direction", "study", "measure", "n_shared", "spearman", "kendall"]
    return pd.DataFrame(rows, columns=columns)


def _hour_estimates(hours: pd.DataFrame, direction: str) -> Iterable[Estimate]:
    if hours.empty:
        return
    last_quarter = hours["hour"] >= 0.75 * (hours["hour"].max() + 1)
    for measure in MEASURES:
        value = _share(hours.loc[last_quarter, measure].sum(), hours[measure].sum())
        yield Estimate(LATE_HOURS, direction, measure, LATE_SHARE, value, even=float(last_quarter.mean()))
        trend = hours["hour"].corr(hours[measure], method="spearman") if hours[measure].nunique() > 1 else _NAN
        yield Estimate(LATE_HOURS, direction, measure, HOUR_TREND, trend, even=0.0)


def _variable_estimates(
    rows: pd.DataFrame, direction: str, known: Sequence[Variable], profile: str
) -> Iterable[Estimate]:
    if rows.empty:
        return
    labs = [variable.name for variable in known if variable.group == LAB]
    scores = published_scores("sun2018", direction, profile)
    all_shared = set(rows["variable"]) == set(scores.index)
    even = {TOP_THREE: _TOP / len(rows), LAB_SHARE: len(labs) / len(known)}
    for measure in MEASURES:
        ours = _concentration(rows.set_index("variable")[measure], labs)
        # The paper's scores are of S with the maximum, over its own 19 variables.
        theirs = _concentration(scores, labs) if measure == "s" and all_shared else {}
        for quantity, value in ours.items():
            claim = LABORATORY if quantity == LAB_SHARE else DIRECTION_GAP
            reference = (even.get(quantity, _NAN), theirs.get(quantity, _NAN))
            yield Estimate(claim, direction, measure, quantity, value, *reference)


def _concentration(scores: pd.Series, labs: Sequence[str]) -> dict[str, float]:
    """How large the scores of all variables are together, and where they gather."""
    total = float(scores.sum())
    return {
        TOTAL: total,
        TOP_THREE: _share(scores.nlargest(_TOP).sum(), total),
        LAB_SHARE: _share(scores[scores.index.isin(labs)].sum(), total),
    }


def _budget_estimates(attacks: pd.DataFrame, direction: str, n_cells: int) -> Iterable[Estimate]:
    for _, row in attacks.iterrows():
        flipped, attacked = int(row["n_selected"]), int(row["n_attacked"])
        yield Estimate(SMALL_CHANGES, direction, "", FLIPPED, rate(flipped, attacked))
        if flipped >= MINIMUM:
            share = 100.0 * float(row["median_n_changed"]) / n_cells
            yield Estimate(SMALL_CHANGES, direction, "", CHANGED, share)


def _of(table: pd.DataFrame, model: str, mode: str) -> pd.DataFrame:
    return table[(table["model"] == model) & (table["mode"] == mode)]


def _large(table: pd.DataFrame, direction: str) -> pd.DataFrame:
    return table[(table["direction"] == direction) & enough(table)]


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0 else _NAN
