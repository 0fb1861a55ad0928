"""The part of the report about mistakes made on purpose, as plain values for its template."""

from pathlib import Path
from typing import Any

import pandas as pd

from ehr_attack.figures import names
from ehr_attack.findings import DIRECTION_WORDS
from ehr_attack.mistakes import CONTROL
from ehr_attack.page import Image, embed_figure
from ehr_attack.sections import records
from ehr_attack.summaries import claims, mistakes

METRICS = mistakes.METRICS
NAMES = {
    mistakes.RIGHT: "Right run",
    CONTROL: "Right run, another seed",
    "transposed_axis": "Transposed axis",
    "scored_on_training": "Scored and attacked on training patients",
    "whole_cohort_scaling": "Scaled by the whole cohort",
    "look_ahead_interpolation": "Look-ahead interpolation",
}
MAP_LABELS = {
    claims.FLIPPED: "Flipped [%]",
    claims.LATE_SHARE: "S in the last quarter",
    claims.HOUR_TREND: "Rank correlation of S with the hour",
    claims.LAB_SHARE: "S in laboratory values",
    mistakes.LAST_VARIABLES: "S in the last quarter of the list of variables",
    mistakes.AGREEMENT: "Rank correlation of variables with the right run",
}


def mistake_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """`audit_of_mistakes.csv`, a row a mistake: its words, its metrics by seed, and its map by direction."""
    return [
        {
            "name": NAMES[str(mistake)],
            "words": str(words),
            "wrong": mistake not in (mistakes.RIGHT, CONTROL),
            "seeds": {
                seed: {row["quantity"]: row for row in records(part)}
                for seed, part in rows[rows["seed"] != mistakes.ALL_SEEDS].groupby("seed", sort=False)
            },
            "directions": {
                words: _by_quantity(rows[rows["direction"] == direction])
                for direction, words in DIRECTION_WORDS.items()
            },
        }
        for (mistake, words), rows in table.groupby(["mistake", "in_words"], sort=False)
    ]


def mistake_figure(figures: Path) -> Image:
    """The time course of susceptibility with and without each mistake."""
    (stem,) = names.MISTAKE_FIGURES
    caption = (
        "Wrong on purpose: the share of each hour in the susceptibility of the right run (solid, dark), of the same "
        "run from another seed (grey), and with one mistake each."
    )
    return embed_figure(figures, stem, f"{caption} Lines by hour, a panel a direction.", caption)


def _by_quantity(rows: pd.DataFrame) -> dict[str, dict[str, Any]]:
    return {row["quantity"]: row for row in records(rows)}
