"""Plain sentences about a run, computed from its tables for people: findings, caveats and alternative texts.

Only suppressed tables come in here, so a sentence cannot say more than they do.
"""

from collections.abc import Iterable, Sequence

import pandas as pd

from ehr_attack.page import NOTHING, fixed, interval, significant
from ehr_attack.summaries.claims import LATE_SHARE
from ehr_attack.suppression import MINIMUM

DIRECTION_WORDS = {
    "0_to_1": "0→1 (survivors predicted to die)",
    "1_to_0": "1→0 (deaths predicted to survive)",
}
MODE_WORDS = {
    "sun2018": "the published update as it was: it may leave the plausible range and needs no margin",
    "ista": "textbook proximal gradient (ISTA), kept inside plausible ranges, every flip verified",
    "ead": "accelerated elastic net (EAD), smallest flip of all steps, inside plausible ranges",
    "fmn_l1": "minimum norm (FMN): the smallest sum of changes that flips",
    "sigma_zero": "minimum number of cells (sigma-zero)",
    "measurement": "few recorded values are changed, and the imputation follows them",
    "single": "one recorded value at a time, every one at every level of a grid",
    "random_cells": "as many cells by the same magnitudes, chosen at random",
    "random_noise": "noise in every cell, of the same sum",
    "gradient_sign": "every cell by the same step along the gradient (FGSM), of the same sum",
    "last_hours": "as many cells of the last hours by the same magnitudes, along the gradient",
}
_FEW_DEATHS, _FEW_STAYS = 50, 50
_CHANCE, _TOO_GOOD = 0.5, 0.90
BASELINE, _BELOW_BASELINE = "logistic", 0.005


def as_count(text: object) -> int | None:
    """The number behind a printed count; None where it is hidden."""
    return int(str(text)) if str(text).isdigit() else None


def success_text(row: pd.Series) -> str:
    """`89.8%`, or a bound such as `under 25%` where the exact share would reveal a small count."""
    attacked = as_count(row["n_attacked"])
    if attacked is None or not attacked:
        return "withheld" if attacked is None else "none attacked"
    if pd.notna(row["success_percent"]):
        return f"{fixed(row['success_percent'], 1)}%"
    return f"under {-(-100 * MINIMUM // attacked)}%"


def attack_findings(row: pd.Series, variables: pd.DataFrame, claims: pd.DataFrame, n_cells: int) -> list[str]:
    """What one attack did in one direction, as sentences.

    row: of `attack_summary.csv`; variables, claims: the rows of that model, mode and direction in the headline of
    `susceptibility_variables_*.csv` and in `paper_claims.csv`; n_cells: cells of a record.
    """
    attacked = as_count(row["n_attacked"])
    if not attacked:
        return [
            "Fewer than ten stays of this direction were attacked." if attacked is None else "No stay was attacked."
        ]
    success = success_text(row)
    sentences = [f"{success[0].upper()}{success[1:]} of {attacked:,} attacked stays were flipped."]
    if pd.isna(row["median_n_changed"]):
        return [*sentences, "That is too few for anything more to be shown."]
    changed, largest = float(row["median_n_changed"]), significant(row["median_linf"], 2)
    percent = fixed(100 * changed / n_cells, 1)
    sentences += [
        f"The median flip changed {significant(changed)} of {n_cells:,} cells ({percent}%).",
        f"The largest change of a cell was {largest} of its variable's range (median).",
    ]
    if pd.notna(row["median_share_observed"]):
        recorded = fixed(100 * float(row["median_share_observed"]), 0)
        sentences.append(f"Of the changed cells, {recorded}% (median) held a recorded value; the rest was imputed.")
    top = variables[variables["s_q95"] > 0].sort_values("rank")["label"].head(3)
    if len(top):
        sentences.append(f"Most susceptible: {_listed(map(_in_sentence, top))}.")
    late = claims[(claims["quantity"] == LATE_SHARE) & (claims["measure"] == "s_q95")]["value"].dropna()
    if len(late):
        share = "Over 99" if late.iloc[0] > 0.99 else fixed(100 * late.iloc[0], 0)
        sentences.append(f"{share}% of the susceptibility lies in the last quarter of the window.")
    return sentences


def caveats(
    *, kind: str, deaths: object, metrics: pd.DataFrame, attacks: pd.DataFrame, seeds: Sequence[int]
) -> list[str]:
    """What a reader must not forget about this run.

    kind: of the source; deaths: the printed count of the cohort; metrics, attacks: `model_metrics.csv` and
    `attack_summary.csv`.
    """
    return [
        *_cohort_caveats(kind, deaths),
        *_model_caveats(metrics),
        *_attack_caveats(attacks),
        *_seed_caveats(seeds),
    ]


def _cohort_caveats(kind: str, deaths: object) -> Iterable[str]:
    if kind == "synthetic":
        yield "The records are synthetic. The results test the pipeline; they say nothing about patients."
    count = as_count(deaths)
    if count is None or count < _FEW_DEATHS:
        yield (
            f"The cohort holds only {deaths} deaths. Intervals are wide, folds hold a handful of deaths "
            "each, and neither the model's quality nor any ranking should be generalised from it."
        )


def _model_caveats(metrics: pd.DataFrame) -> Iterable[str]:
    pooled = metrics[(metrics["metric"] == "auroc") & (metrics["scope"] == "pooled")]
    for _, row in pooled[~(pooled["low"] > _CHANCE)].iterrows():
        yield (
            f"Model {row['model']}, seed {row['seed']}: the interval of the held-out AUROC is not above 0.5. "
            "What the model has learnt cannot be told from noise, nor can what its maps show."
        )

    for _, row in pooled[pooled["value"] > _TOO_GOOD].iterrows():
        yield (
            f"Model {row['model']}, seed {row['seed']}: a held-out AUROC of {fixed(row['value'], 3)}, above "
            f"{_TOO_GOOD:.2f}, is suspiciously good. Treat it as a leak until it is explained."
        )
    baseline = pooled[pooled["model"] == BASELINE].set_index("seed")["value"]
    for _, row in pooled[pooled["value"] < pooled["seed"].map(baseline) - _BELOW_BASELINE].iterrows():
        yield (
            f"Model {row['model']}, seed {row['seed']}, is worse than the baseline {BASELINE}: held-out AUROC "
            f"{fixed(row['value'], 3)} against {fixed(baseline[row['seed']], 3)}."
        )


def _attack_caveats(attacks: pd.DataFrame) -> Iterable[str]:
    warned = attacks.assign(warning=attacks.apply(_size_warning, axis=1)).query("warning != ''")
    for (model, direction, warning), rows in warned.groupby(["model", "direction", "warning"], sort=False):
        modes = f"{'Attacks' if len(rows) > 1 else 'Attack'} {_listed(rows['mode'])} on {model}"
        yield f"{modes}, {DIRECTION_WORDS[str(direction)]}: {warning}"


def _size_warning(row: pd.Series) -> str:
    """What to say when few stays stand behind a map; nothing when there are enough."""
    if pd.isna(row["median_n_changed"]):
        return "fewer than ten stays were flipped. The map is withheld."
    if (as_count(row["n_selected"]) or 0) < _FEW_STAYS:
        return f"the map rests on fewer than {_FEW_STAYS} stays. A maximum over so few is one patient's value."
    return ""


def _seed_caveats(seeds: Sequence[int]) -> Iterable[str]:
    if len(seeds) == 1:
        yield (
            "One training seed was used. Intervals here come from resampling patients; maps of models "
            "trained from other seeds differ more (rank agreement about 0.7 in earlier measurements)."
        )


def map_alt(direction: str, mode: str, cells: pd.DataFrame) -> str:
    """Alternative text of a susceptibility map. cells: its rows in the headline of that table."""
    start = f"Heat map of susceptibility, hours by variables, attack {mode}, {DIRECTION_WORDS[direction]}."
    if not cells["s_q95"].gt(0).any():
        return f"{start} It is empty or withheld."
    top = cells.iloc[int(cells["s_q95"].to_numpy().argmax())]
    return f"{start} The largest value, {significant(top['s_q95'])}, is at {top['variable']}, hour {top['hour']}."


def auroc_text(metrics: pd.DataFrame, model: str) -> str:
    """Pooled held-out AUROC of the first seed with its interval."""
    rows = metrics[(metrics["model"] == model) & (metrics["metric"] == "auroc") & (metrics["scope"] == "pooled")]
    return interval(*rows.iloc[0][["value", "low", "high"]]) if len(rows) else NOTHING


def _listed(items: Iterable[str]) -> str:
    *most, last = items
    return f"{', '.join(most)} and {last}" if most else last


def _in_sentence(label: str) -> str:
    """A variable's label inside a sentence; `pH` and `PaCO2` keep their capitals."""
    return label[0].lower() + label[1:] if label[1:].islower() else label
