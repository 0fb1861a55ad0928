"""What stands on the page: the run's tables for people, shortened, and its main figures."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from ehr_attack.attacks import is_baseline
from ehr_attack.errors import UserError
from ehr_attack.findings import DIRECTION_WORDS
from ehr_attack.headline import headline
from ehr_attack.lineage.records import read_records
from ehr_attack.model_sections import metric_label
from ehr_attack.page import fixed, interval, significant, template_environment, thousands
from ehr_attack.provenance import short_digest
from ehr_attack.public_config import public_config
from ehr_attack.publishing.ranks import Interval, published_intervals
from ehr_attack.schemas.susceptibility import BASES
from ehr_attack.schemas.verdicts import VERDICT_WORDS
from ehr_attack.sections import records
from ehr_attack.stability import ATTACK, MODEL
from ehr_attack.storage import atomic_path, read_json, write_text
from ehr_attack.verdict_sections import CLAIMS

METRICS = ("auroc", "auprc", "f1", "score1", "brier_recalibrated", "calibration_slope_recalibrated")
MOST_VARIABLES = 8
FEW_SMALL_CHANGES = 5  # the claim whose tests are of the attacked stays
_FIGURES = ("variables", "hours", "susceptibility_0_to_1", "susceptibility_1_to_0")
_DECIMALS = re.compile(rb"(?<=[\d]\.)(\d{2})\d+")
_UNSEEN = re.compile(rb"<!--.*?-->|<metadata>.*?</metadata>|(?<=>)\s+(?=<)", re.S)


def write_results(run: Path, page: Path) -> list[Path]:
    """Write `page` (Markdown) and the SVG files beside it, in the folder of its name; returns those.

    The bytes depend on the run alone. Raises UserError where a table or figure of the run is missing.
    """
    description, made_by = read_json(run / "run.json"), _made_by(run)
    models = _as_configured(description["models"], made_by["config"]["training"]["models"])
    modes = _as_configured(description["modes"], made_by["config"]["attack"]["modes"])
    modes = [mode for mode in modes if not is_baseline(mode)]
    figures = _copy_figures(run / "figures", page.with_suffix(""), models[0], modes[0])
    environment = template_environment()
    environment.autoescape = False  # Markdown, and all words are the project's own or the config's.
    for function in (fixed, interval, significant, thousands):
        environment.filters[function.__name__] = function
    context = {
        "page": page,
        "shown_run": public_config(run.as_posix()),
        "shown_page": public_config(page.as_posix()),
        "description": description,
        "directions": DIRECTION_WORDS,
        "models": models,
        "modes": modes,
        "figures": figures,
        "claims": CLAIMS,
        "verdict_words": VERDICT_WORDS,
        **made_by,
        **_numbers(run, models, modes),
    }
    write_text(environment.get_template("results.md.j2").render(context), page)
    return list(figures.values())


def _as_configured(names: Sequence[str], configured: Sequence[str]) -> list[str]:
    """The names in the order of the config, whose first is the one that figures show; a class comes by its own name."""
    order = [entry.rpartition(":")[2] for entry in configured]
    return sorted(names, key=lambda name: order.index(name) if name in order else len(order))


def _made_by(run: Path) -> dict[str, Any]:
    """The config of the run with its digest, as the report shows it, the digest of all code, and the versions."""
    jobs = read_records(run)
    of_report = next((record for record in jobs.values() if record["rule"] == "report"), None)
    if of_report is None:
        raise UserError(f"{run}: no record of the report. Run snakemake without a target, then publish again.")
    config = of_report["params"]["config"]
    code = {name: digest for record in jobs.values() for name, digest in record["code"].items()}
    versions = {name: version for record in jobs.values() for name, version in record["versions"].items()}
    return {
        "config": config,
        "config_yaml": yaml.safe_dump(config, sort_keys=False, allow_unicode=True),
        "config_digest": short_digest(config),
        "code_digest": short_digest(code),
        "versions": dict(sorted(versions.items(), key=lambda item: item[0].lower())),
    }


def _numbers(run: Path, models: Sequence[str], modes: Sequence[str]) -> dict[str, Any]:
    tables = run / "tables"
    cohort = _read(tables, "cohort", dtype=str).set_index("characteristic")["count"]
    return {
        "stays": cohort["ICU stays"],
        "patients": cohort["Patients"],
        "deaths": cohort["Died in hospital"],
        "metric_labels": {metric: metric_label(metric) for metric in METRICS},
        "model_rows": _model_rows(_read(tables, "model_metrics"), models),
        "attack_rows": _attack_rows(_read(tables, "attack_summary"), _read(tables, "verdicts"), models),
        "variable_rows": {
            (model, mode): _variable_rows(
                _read(tables, f"susceptibility_variables_{model}_{mode}"),
                published_intervals(run / "susceptibility" / model / mode),
            )
            for model in models
            for mode in modes
        },
        "rank_rows": records(_read(tables, "rank_comparison").query("measure == 's_q95'")),
        "verdicts": _verdicts(_read(tables, "verdicts"), models[0], modes[0]),
        "agreement": _agreement_rows(_read(tables, "stability")),
    }


def _verdicts(table: pd.DataFrame, model: str, mode: str) -> dict[int, dict[str, Any]]:
    """By claim, of its tests that have a value: those of one model and mode, the others, and how often each verdict."""
    table = table[table["value"].notna()].fillna(dict.fromkeys(("model", "mode", "direction", "basis"), ""))
    first = (table["model"] == model) & table["mode"].isin(["", mode])
    return {
        claim: {
            "first": records(rows[first[rows.index]]),
            "others": records(rows[~first[rows.index]]),
            "counts": rows["verdict"].value_counts().to_dict(),
        }
        for claim, rows in ((claim, table[table["claim"] == claim]) for claim in CLAIMS)
    }


def _attack_rows(summary: pd.DataFrame, verdicts: pd.DataFrame, models: Sequence[str]) -> list[dict[str, Any]]:
    """The attack summary with the patients attacked: one is attacked once for each seed."""
    key = ["model", "mode", "direction"]
    tested = verdicts[verdicts["claim"] == FEW_SMALL_CHANGES]
    counted = tested.groupby(key)["n_patients"].first().astype(str)  # the first test is of all attacked stays
    rows = summary[summary["model"].isin(models)]
    return records(rows.join(counted.rename("n_patients"), on=key))


def _agreement_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The correlations of each kind of comparison, attack and axis; of models and of attacks pair by pair."""
    pairs = table["first"].str.cat(table["second"], sep=" and ")
    table = table.assign(pair=pairs.where(table["across"].isin([MODEL, ATTACK]), "")).fillna({"mode": ""})
    known = table.dropna(subset="spearman").groupby(["across", "pair", "mode", "axis"], sort=False)["spearman"]
    return [
        dict(zip(("across", "pair", "mode", "axis"), key, strict=True))
        | {"pairs": len(rho), "median": rho.median(), "low": rho.min(), "high": rho.max()}
        for key, rho in known
    ]


def _model_rows(table: pd.DataFrame, models: Sequence[str]) -> list[dict[str, Any]]:
    """A row a model and seed: each of METRICS pooled over the held-out stays."""
    pooled = table[(table["scope"] == "pooled") & table["metric"].isin(METRICS) & table["model"].isin(models)]
    return [
        {"model": model, "seed": seed, "metrics": {row["metric"]: row for row in records(part)}}
        for (model, seed), part in pooled.groupby(["model", "seed"], sort=False)
    ]


def _variable_rows(table: pd.DataFrame, intervals: Mapping[tuple[str, str, str], Interval]) -> list[dict[str, Any]]:
    """A row a variable that is among the first MOST_VARIABLES in some direction, over all or observed cells."""
    ranks = {
        key: {"rank": row["rank"], "interval": intervals.get(key, (None, None))}
        for basis in BASES
        for row in records(headline(table, basis=basis).dropna(subset="rank"))
        for key in [(row["variable"], row["direction"], row["basis"])]
    }
    leading = pd.concat([headline(table, basis=basis).sort_values(["direction", "rank"]) for basis in BASES])
    chosen = leading[leading["rank"] <= MOST_VARIABLES].drop_duplicates("variable")
    labels = dict(zip(chosen["variable"], chosen["label"], strict=True))
    return [
        {
            "label": label,
            "ranks": {
                direction: {basis: ranks.get((variable, direction, basis)) for basis in BASES}
                for direction in DIRECTION_WORDS
            },
        }
        for variable, label in labels.items()
    ]


def _read(tables: Path, stem: str, dtype: type[str] | None = None) -> pd.DataFrame:
    """A table for people; counts of which some are hidden are text."""
    try:
        return pd.read_csv(tables / f"{stem}.csv", dtype=dtype)
    except (OSError, ValueError) as error:
        raise UserError(f"{tables / stem}.csv: not a readable table. Run snakemake without a target first.") from error


def _copy_figures(figures: Path, folder: Path, model: str, mode: str) -> dict[str, Path]:
    """The figures of one attack, by kind, in `folder`: nothing that a reader does not see, coordinates to 0.01."""
    stems: Mapping[str, str] = {kind: _stem(kind, model, mode) for kind in _FIGURES}
    copies = {}
    for kind, stem in stems.items():
        try:
            svg = (figures / f"{stem}.svg").read_bytes()
        except OSError as error:
            raise UserError(f"{error.filename}: the figure is missing. Run snakemake without a target.") from error
        copies[kind] = folder / f"{stem}.svg"
        with atomic_path(copies[kind]) as temporary:
            temporary.write_bytes(_DECIMALS.sub(rb"\1", _UNSEEN.sub(b"", svg)))
    return copies


def _stem(kind: str, model: str, mode: str) -> str:
    base, _, direction = kind.partition("_")
    return f"{base}_{model}_{mode}" + (f"_{direction}" if direction else "")
