"""The report: one self-contained HTML page about a run, made from its tables for people and its figures.

It reads suppressed CSV tables only, never one with a row a stay, so nothing on the page can be finer than
they are.
"""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import yaml

from ehr_attack import findings, interactive, mistake_sections, model_sections, page, sections, verdict_sections
from ehr_attack.attacks import matched
from ehr_attack.directions import DIRECTIONS
from ehr_attack.errors import UserError
from ehr_attack.figures import names
from ehr_attack.public_config import public_config
from ehr_attack.storage import write_text
from ehr_attack.summaries import attacks as attack_summaries

_COUNTS = (
    *("excluded_stays", "stays", "patients", "deaths", "count", "stays_observed"),
    *("n_stays", "n_patients", "n_changed_patients", "n_deaths", "n_succeeded"),
    *("rows", "patients_with_rows", "cases", "total"),
    *attack_summaries.COUNTS,
)
_WORDS = (
    *("text", "in_words", "level", "step", "direction", "measure", "unit", "model", "mode", "scope", "attribute"),
    *("threshold", "remark", "policy", "basis"),
    *("label", "fluid", "code", "findings", "failing", "note"),
    *("key", "paper", "this_run"),
    *("hypothesis", "effect", "verdict", "reason", "across", "first", "second", "axis"),
)
_MOST_LIVE_ATTACKS, _MOST_SHARP_ATTACKS = 6, 1
"""Of so many attacks maps show values on hovering, and figures are sharp at any size: a page should stay small."""


def build_report(
    *,
    out: str | Path,
    tables: str | Path,
    figures: str | Path,
    models: Sequence[str],
    modes: Sequence[str],
    config: Mapping[str, Any],
    provenance: Mapping[str, Any],
    patient_figures: Sequence[str | Path] | None = None,
) -> None:
    """Write the page `out` (HTML; no network, no date, no script but its own and plotly's).

    tables, figures: the folders that hold the files named in `figures.names` for `models` and `modes`;
    config: the whole configuration (shown without credentials and folders); provenance: sections of names and
    values, such as {"versions": {"torch": "2.13.0"}, "devices": {"train": "cpu"}}; patient_figures: SVG files
    of single patients to show under a banner, or None. The bytes depend on these only. Raises UserError when
    a table or figure is missing.
    """
    tables, figures = Path(tables), Path(figures)
    made, tuned = bool(config["audit"]["mistakes"]), bool(config["training"]["tune"])
    stems = (*names.all_tables(models, modes), *(names.MISTAKE_TABLES if made else ()))
    read = {stem: _read(tables / f"{stem}.csv") for stem in stems}
    shown_config = public_config(config)
    context = {
        **_cohort(read, figures),
        **_models(read, figures, models, tuned=tuned),
        **_attacks(read, figures, models, modes),
        **_paper(read),
        **_answers(read, figures, models, modes),
        **_mistakes(read, figures, made=made),
        "config": shown_config,
        "config_yaml": yaml.safe_dump(shown_config, sort_keys=False, allow_unicode=True),
        "provenance": provenance,
        "caveats": _caveats(read, config),
        "patient_figures": [
            sections.patient_image(Path(path), compact=place >= len(DIRECTIONS) * _MOST_SHARP_ATTACKS)
            for place, path in enumerate(patient_figures or ())
        ],
        "downloads": page.embed_tables([tables / f"{stem}.csv" for stem in read]),
    }
    write_text(_environment().get_template("report.html.j2").render(context), out)


def _models(read: sections.Tables, figures: Path, models: Sequence[str], *, tuned: bool) -> dict[str, Any]:
    return {
        "models": [model_sections.model_section(read, figures, model, tuned) for model in models],
        "subgroup_metrics": model_sections.SUBGROUP_METRICS,
    }


def _attacks(read: sections.Tables, figures: Path, models: Sequence[str], modes: Sequence[str]) -> dict[str, Any]:
    """The sections of all attacks, the first ones in more detail, and what runs in the page to show them."""
    attacks = [
        sections.attack_section(
            read, figures, model, mode, live=place < _MOST_LIVE_ATTACKS, compact=place >= _MOST_SHARP_ATTACKS
        )
        for place, (model, mode) in enumerate(itertools.product(models, modes))
    ]
    return {
        "attacks": attacks,
        "mode_words": findings.MODE_WORDS,
        "check_labels": sections.CHECK_LABELS,
        "baselines": sections.baseline_rows(read["attack_summary"]),
        "matched_mode": matched(modes) or "",
        **_scripts(live=any(part["live"] for attack in attacks for part in attack["directions"])),
    }


def _paper(read: sections.Tables) -> dict[str, Any]:
    return {
        "comparison": model_sections.comparison_rows(read["published_comparison"]),
        "compared_metrics": model_sections.COMPARED_METRICS,
        "study_labels": model_sections.STUDY_LABELS,
        "protocol": sections.protocol_rows(read["paper_protocol"]),
        "claims": sections.claim_rows(read["paper_claims"]),
        "ranks": sections.rank_rows(read["rank_comparison"]),
    }


def _answers(read: sections.Tables, figures: Path, models: Sequence[str], modes: Sequence[str]) -> dict[str, Any]:
    return {
        "verdicts": verdict_sections.verdict_rows(read["verdicts"], models, modes),
        "badges": verdict_sections.BADGES,
        "agreement": verdict_sections.agreement_rows(read["stability"]),
        "agreement_figures": verdict_sections.agreement_figures(figures),
        "transfer": sections.records(read["transfer"]),
    }


def _mistakes(read: sections.Tables, figures: Path, *, made: bool) -> dict[str, Any]:
    return {
        "mistakes": mistake_sections.mistake_rows(read["audit_of_mistakes"]) if made else [],
        "mistake_figure": mistake_sections.mistake_figure(figures) if made else None,
        "mistake_metrics": mistake_sections.METRICS,
        "mistake_map_labels": mistake_sections.MAP_LABELS,
    }


def _scripts(*, live: bool) -> dict[str, Any]:
    """What runs in the page; live: plotly too, since there are maps for it to draw."""
    return {
        "live": live,
        "map_measures": interactive.MEASURES,
        "script": interactive.page_script(),
        "plotly": interactive.packed_plotly() if live else "",
        "allowed_scripts": interactive.allowed_scripts(live=live),
    }


def _environment() -> jinja2.Environment:
    environment = page.template_environment()
    for function in (
        page.fixed,
        page.significant,
        page.thousands,
        page.interval,
        page.minus,
        model_sections.metric_label,
    ):
        environment.filters[function.__name__] = function
    return environment


def _read(path: Path) -> pd.DataFrame:
    """A table for people; counts stay text, since some of them are hidden, and missing words become empty."""
    try:
        frame = pd.read_csv(path, dtype=dict.fromkeys((*_COUNTS, *_WORDS), str))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a readable table ({error}). Run `snakemake {path}` to make it anew.") from error
    return frame.fillna({name: "" for name in _WORDS if name in frame})


def _cohort(read: sections.Tables, figures: Path) -> dict[str, Any]:
    return {
        "flow_figure": sections.flow_figure(figures, read["cohort_flow"]),
        "flow": sections.records(read["cohort_flow"]),
        "cohort": sections.records(read["cohort"]),
        "missingness": sections.records(read["missingness"]),
        "item_audit": sections.records(read["item_audit"]),
        "integrity": sections.records(read["integrity"]),
        "stays": sections.cohort_number(read["cohort"], "ICU stays"),
        "patients": sections.cohort_number(read["cohort"], "Patients"),
        "deaths": sections.cohort_number(read["cohort"], "Died in hospital"),
    }


def _caveats(read: sections.Tables, config: Mapping[str, Any]) -> list[str]:
    return findings.caveats(
        kind=config["source"]["kind"],
        deaths=sections.cohort_number(read["cohort"], "Died in hospital")["count"],
        metrics=read["model_metrics"],
        attacks=read["attack_summary"],
        seeds=config["run"]["seeds"],
    )
