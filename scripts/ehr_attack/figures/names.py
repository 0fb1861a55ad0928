"""The file stems of every figure and table for people; standard library only, since the Snakefile imports it.

A figure of stem `s` lies in `R/figures/s.svg` and `.png`, a patient figure in `R/private/`, a table in
`R/tables/s.csv`.
"""

from collections.abc import Sequence

from ehr_attack.directions import DIRECTIONS

ATTACK_FIGURES = ("variables", "hours", "success", "tradeoff", "cumulative", "ranks")
"""Kinds of figures of one attack mode on one model that show both directions, in the order in which they are drawn."""

COHORT_TABLES = ("cohort_flow", "cohort", "missingness", "item_audit", "integrity")
MODEL_TABLES = ("model_metrics", "model_decisions", "subgroups", "published_comparison", "paper_protocol")
ATTACK_TABLES = ("attack_summary", "verdicts", "rank_comparison", "paper_claims", "stability", "transfer")
MISTAKE_TABLES, MISTAKE_FIGURES = ("audit_of_mistakes",), ("mistakes_hours",)
"""Only in runs with `audit.mistakes`."""

COHORT_FIGURES = ("flow",)
AGREEMENT_FIGURES = ("agreement", "transfer")
"""Of the whole run: how models, seeds, folds and attacks agree."""


def model_figures(model: str) -> tuple[str, ...]:
    """Stems of the figures of one model."""
    return tuple(f"{kind}_{model}" for kind in ("roc", "pr", "calibration", "subgroups", "training"))


def tuning_figures(model: str) -> tuple[str, ...]:
    """Stems of the figures of the hyperparameter search of one model, of a run that has one."""
    return (f"tuning_{model}",)


def attack_figures(model: str, mode: str) -> tuple[str, ...]:
    """Stems of the figures of one attack mode on one model; the maps come once a direction."""
    stem = f"{model}_{mode}"
    maps = (f"{kind}_{stem}_{direction}" for kind in ("susceptibility", "measures") for direction in DIRECTIONS)
    return (*maps, *(f"{kind}_{stem}" for kind in ATTACK_FIGURES))


def patient_figures(model: str, mode: str) -> tuple[str, ...]:
    """Stems of the single-patient figures of one attack mode on one model, one a direction."""
    return tuple(f"patient_{model}_{mode}_{direction}" for direction in DIRECTIONS)


def susceptibility_tables(model: str, mode: str) -> tuple[str, ...]:
    """Stems of the susceptibility tables of one attack mode on one model."""
    return tuple(f"susceptibility_{level}_{model}_{mode}" for level in ("variables", "hours", "cells", "tradeoff"))


def all_tables(models: Sequence[str], modes: Sequence[str]) -> tuple[str, ...]:
    """Stems of every table of a run, in the order of the report."""
    maps = (stem for model in models for mode in modes for stem in susceptibility_tables(model, mode))
    return (*COHORT_TABLES, *MODEL_TABLES, *ATTACK_TABLES, *maps)
