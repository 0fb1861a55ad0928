"""The parts of the report that answer: verdicts on the claims, stability, transfer; plain values for its templates."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ehr_attack.figures import names
from ehr_attack.page import Image, embed_figure
from ehr_attack.schemas.verdicts import CANNOT_TELL, NOT_SUPPORTED, SUPPORTED, VERDICT_WORDS
from ehr_attack.sections import records

CLAIMS = {
    1: "The model predicts death as well as published",
    2: "Later hours are more susceptible",
    3: "The two directions differ, and variables rank as published",
    4: "Laboratory variables dominate vital signs",
    5: "Few, small changes flip nearly everything",
}
BADGES = {SUPPORTED: "yes", NOT_SUPPORTED: "no", CANNOT_TELL: "unknown"}
"""Of each verdict, the class of its badge."""

ACROSS_WORDS = {"variable": "variables", "hour": "hours"}

_AGREEMENT_CAPTION = (
    "Mean rank correlation (Spearman) of S between single folds, seeds, models and attacks: of the variables (left) "
    "and of the hours (right)."
)
_TRANSFER_CAPTION = (
    "Share of the changes found on one model (rows) that flip another of the same fold (columns), among stays that it "
    "classifies correctly. Grey: not compared, or withheld."
)


def verdict_rows(table: pd.DataFrame, models: Sequence[str], modes: Sequence[str]) -> dict[str, Any]:
    """`verdicts.csv` for the page.

    `claims`: a row a claim with the number of tests that ended in each verdict; `first`: the tests of the first model
    and attack; `others`: the tests of the rest, a list a model and attack, by its name.
    """
    counts = [
        {"claim": claim, "text": text, "counts": {word: int((part["verdict"] == word).sum()) for word in VERDICT_WORDS}}
        for claim, text in CLAIMS.items()
        if len(part := table[table["claim"] == claim])
    ]
    groups = {
        f"{model}, attack {mode}" if mode else f"{model}, predictive performance": records(part)
        for model in models
        for mode in ("", *modes)
        if len(part := table[(table["model"] == model) & (table["mode"] == mode)])
    }
    leading = (models[0], ("", modes[0]))
    first = table[(table["model"] == leading[0]) & table["mode"].isin(leading[1])]
    shown = {f"{models[0]}, attack {modes[0]}", f"{models[0]}, predictive performance"}
    return {
        "claims": counts,
        "first": records(first),
        "others": {name: rows for name, rows in groups.items() if name not in shown},
    }


def agreement_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """`stability.csv`, a row a kind of comparison and axis: how many pairs, and the least, median and greatest rho."""
    known = table.dropna(subset="spearman")
    return [
        {"across": f"{across}s", "axis": ACROSS_WORDS.get(str(axis), axis), "pairs": len(part)}
        | {name: float(part["spearman"].quantile(share)) for name, share in (("low", 0), ("median", 0.5), ("high", 1))}
        for (across, axis), part in known.groupby(["across", "axis"], sort=False)
    ]


def agreement_figures(figures: Path) -> dict[str, Image]:
    """The figures of the whole run, by stem."""
    captions = dict(zip(names.AGREEMENT_FIGURES, (_AGREEMENT_CAPTION, _TRANSFER_CAPTION), strict=True))
    return {stem: embed_figure(figures, stem, f"Matrices. {caption}", caption) for stem, caption in captions.items()}
