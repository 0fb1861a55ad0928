"""Made-up aggregates and records in the canonical schemas, for the tests of figures, tables and the report.

`MadeUpRun(stays=60, successes={"0_to_1": 40, "1_to_0": 6}).write(folder)` writes what the pipeline would have
written and returns where. The numbers are invented but hang together: sums, shares and counts agree across
tables.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from ehr_attack.figures.agreement import plot_agreement
from ehr_attack.figures.flow import plot_flow
from ehr_attack.figures.models import plot_model
from ehr_attack.figures.names import (
    AGREEMENT_FIGURES,
    COHORT_FIGURES,
    attack_figures,
    model_figures,
    patient_figures,
)
from ehr_attack.figures.patient import plot_patient
from ehr_attack.figures.susceptibility import plot_attack
from ehr_attack.report import build_report
from ehr_attack.schemas.attacks import OUTCOMES, PERTURBATIONS
from ehr_attack.schemas.audit import INTEGRITY, ITEM_AUDIT
from ehr_attack.schemas.cohort import STAYS, features_schema
from ehr_attack.schemas.evaluation import DECISIONS, METRICS, MODEL_CURVES, SUBGROUPS
from ehr_attack.schemas.summaries import ATTACK_CURVES, ATTACK_SUMMARY
from ehr_attack.schemas.susceptibility import CELLS, HOURS, TRADEOFF, VARIABLES
from ehr_attack.schemas.training import HISTORY
from ehr_attack.schemas.verdicts import STABILITY, TRANSFER, VERDICTS
from ehr_attack.storage import read_frame, write_frame, write_json, write_text
from ehr_attack.summaries.agreement import write_agreement_tables
from ehr_attack.summaries.attacks import write_attack_tables
from ehr_attack.summaries.audit import write_audit_tables
from ehr_attack.summaries.cohort import write_cohort_tables
from ehr_attack.summaries.models import write_model_tables
from ehr_attack.summaries.protocol import write_protocol_table
from ehr_attack.summaries.susceptibility import write_susceptibility_tables
from ehr_attack.variables import Variable, load_variables
from map_builder import (
    LAMBDAS,
    made_up_cells,
    made_up_stability,
    made_up_sums,
    made_up_tradeoff,
    made_up_transfer,
    made_up_verdicts,
)

# Eight distinctive digits: a hit of one of them in an output is a leak, not a coincidence.
FIRST_STAY_ID, FIRST_SUBJECT_ID, FIRST_HADM_ID = 73_140_001, 62_710_001, 51_410_001
DIRECTIONS = ("0_to_1", "1_to_0")

_TYPICAL = {
    "heart_rate": 86.0, "sbp": 121.0, "dbp": 62.0, "temperature": 36.9, "resp_rate": 18.0, "spo2": 97.0,
    "lactate": 1.9, "paco2": 41.0, "ph": 7.38, "albumin": 3.1, "bicarbonate": 24.0, "calcium": 8.4,
    "creatinine": 1.2, "glucose": 135.0, "magnesium": 2.0, "potassium": 4.1, "sodium": 138.0, "bun": 24.0,
    "platelets": 210.0, "inr": 1.3,
}  # fmt: skip

_METRIC_VALUES = {
    "auroc": 0.861, "auprc": 0.512, "f1": 0.497, "precision": 0.402, "recall": 0.652, "specificity": 0.831,
    "accuracy": 0.868, "score1": 0.401, "brier": 0.102, "calibration_intercept": -1.21, "calibration_slope": 0.87,
    "brier_recalibrated": 0.091, "calibration_intercept_recalibrated": -0.04, "calibration_slope_recalibrated": 0.98,
    "f1_half": 0.452, "precision_half": 0.314, "recall_half": 0.807, "specificity_half": 0.713, "accuracy_half": 0.726,
}  # fmt: skip
_MODEL_TABLES = ("metrics", "decisions", "subgroups")
_SUBGROUP_PARTS = {"all": {"all": 100}, "sex": {"F": 45, "M": 55}, "care_unit": {"CCU": 40, "MICU": 55, "TSICU": 5}}


@dataclass(frozen=True)
class RunFiles:
    """Where a made-up run lies; the layout is that of `results/<run>`."""

    root: Path
    models: tuple[str, ...]
    modes: tuple[str, ...]
    folds: int
    seeds: tuple[int, ...]

    @property
    def stays(self) -> Path:
        return self.root / "extract/stays.parquet"

    @property
    def flow(self) -> Path:
        return self.root / "extract/cohort_flow.json"

    @property
    def features(self) -> Path:
        return self.root / "features/features.parquet"

    @property
    def codes(self) -> Path:
        return self.root / "audit/items.parquet"

    @property
    def integrity(self) -> Path:
        return self.root / "audit/integrity.parquet"

    @property
    def figures(self) -> Path:
        return self.root / "figures"

    @property
    def tables(self) -> Path:
        return self.root / "tables"

    @property
    def private(self) -> Path:
        return self.root / "private"

    @property
    def report(self) -> Path:
        return self.root / "report/index.html"

    def metrics(self, model: str) -> Path:
        return self.root / f"models/{model}/metrics.parquet"

    def subgroups(self, model: str) -> Path:
        return self.root / f"models/{model}/subgroups.parquet"

    def decisions(self, model: str) -> Path:
        return self.root / f"models/{model}/decisions.parquet"

    def model_curves(self, model: str) -> Path:
        return self.root / f"models/{model}/curves.parquet"

    def histories(self, model: str) -> list[Path]:
        parts = [(seed, fold) for seed in self.seeds for fold in range(self.folds)]
        return [self.root / f"models/{model}/seed_{s}/fold_{f}/history.parquet" for s, f in parts]

    def attacks(self, model: str, mode: str, table: str) -> list[Path]:
        """`table`: outcomes or perturbations; one file a fold, of the first seed."""
        folder = self.root / f"attacks/{model}/{mode}/seed_{self.seeds[0]}"
        return [folder / f"fold_{fold}/{table}.parquet" for fold in range(self.folds)]

    def measure(self, model: str, mode: str, table: str) -> Path:
        """`table`: cells, variables, hours, tradeoff, curves or summary."""
        return self.root / f"susceptibility/{model}/{mode}/{table}.parquet"

    @property
    def agreement(self) -> dict[str, Path]:
        """The tables of the whole run: verdicts, stability, transfer."""
        return {name: self.root / f"susceptibility/{name}.parquet" for name in ("verdicts", "stability", "transfer")}


@dataclass(frozen=True)
class MadeUpRun:
    """A run to be made up; every stay is its own admission, two in ten patients have a second stay."""

    stays: int = 400
    deaths: int = 60
    successes: Mapping[str, int] = field(default_factory=lambda: {"0_to_1": 150, "1_to_0": 40})
    models: tuple[str, ...] = ("lstm",)
    modes: tuple[str, ...] = ("sun2018", "ista")
    folds: int = 3
    seeds: tuple[int, ...] = (1,)
    hours: int = 48
    profile: str = "clinical"
    kind: str = "synthetic"
    zero_map: bool = False
    intervals: bool = True
    seed: int = 7

    def write(self, root: Path) -> RunFiles:
        """Write every table below `root`."""
        files = RunFiles(root, self.models, self.modes, self.folds, self.seeds)
        random = np.random.default_rng(self.seed)
        stays = self._stays(random)
        write_frame(stays, files.stays, STAYS)
        write_json(self._flow(stays), files.flow)
        write_frame(self._codes(), files.codes, ITEM_AUDIT)
        write_frame(_integrity(), files.integrity, INTEGRITY)
        features = self._features(random, stays["stay_id"].to_numpy())
        write_frame(features, files.features, features_schema([v.name for v in self.variables]))
        for model in self.models:
            write_frame(self._metrics(model), files.metrics(model), METRICS)
            write_frame(self._subgroups(model), files.subgroups(model), SUBGROUPS)
            write_frame(self._decisions(model), files.decisions(model), DECISIONS)
            write_frame(self._model_curves(model), files.model_curves(model), MODEL_CURVES)
            for index, path in enumerate(files.histories(model)):
                seed, fold = self.seeds[index // self.folds], index % self.folds
                write_frame(self._history(random, model, seed, fold), path, HISTORY)
            for mode in self.modes:
                self._write_attack(random, files, stays, model, mode)
        verdicts = made_up_verdicts(self.models, self.modes[0], max(self.successes.values(), default=0))
        write_frame(verdicts, files.agreement["verdicts"], VERDICTS)
        stability = made_up_stability(self.models, self.modes, self.folds)
        write_frame(stability, files.agreement["stability"], STABILITY)
        transfer = made_up_transfer(self.models, self.modes, self.seeds[0])
        write_frame(transfer, files.agreement["transfer"], TRANSFER)
        return files

    @property
    def variables(self) -> tuple[Variable, ...]:
        return load_variables(self.profile)

    def _codes(self) -> pd.DataFrame:
        rows = [
            {
                "variable": variable.name,
                "variable_label": variable.label,
                "table_name": variable.table,
                "code": f"code-{number}",
                "label": variable.label,
                "fluid": variable.fluid,
                "unit": variable.unit,
                "expected_unit": variable.unit,
                "n_rows": 3000 + number,
                "n_other_unit": 30,
                "n_patients": 300,
                "n_outside": 12,
                "q05": 0.7 * _TYPICAL[variable.name],
                "median": _TYPICAL[variable.name],
                "q95": 1.3 * _TYPICAL[variable.name],
                "findings": "",
                "failing": "",
            }
            for number, variable in enumerate(self.variables)
        ]
        rows[0] |= {"findings": "its fluid is Urine; expected Blood", "failing": "fluid:code-0"}
        rows[1] |= {"n_rows": 41, "n_patients": 3, "n_outside": 1}
        return pd.DataFrame(rows)

    def _stays(self, random: np.random.Generator) -> pd.DataFrame:
        index = np.arange(self.stays)
        intime = pd.Timestamp("2150-03-01") + pd.to_timedelta(index * 31, unit="h")
        days = random.gamma(2.0, 1.6, self.stays) + 2.0
        units = random.choice(["MICU", "SICU", "CCU", "CSRU", "TSICU"], self.stays, p=[0.4, 0.25, 0.2, 0.12, 0.03])
        died = np.zeros(self.stays, dtype=bool)
        died[random.permutation(self.stays)[: self.deaths]] = True
        return pd.DataFrame(
            {
                "stay_id": FIRST_STAY_ID + index,
                "subject_id": FIRST_SUBJECT_ID + (index * 10) // 12,
                "hadm_id": FIRST_HADM_ID + index,
                "intime": intime,
                "outtime": (intime + pd.to_timedelta(days, unit="D")).floor("s"),
                "age_years": random.normal(64, 15, self.stays).clip(18, 91.4),
                "sex": random.choice(["F", "M"], self.stays),
                "care_unit": units,
                "los_icu_days": days,
                "los_hospital_days": days + random.gamma(2.0, 2.0, self.stays),
                "died_in_hospital": died,
                "source": self.kind,
                "source_set": random.choice(["a", "b"], self.stays),
                "hours_observable": self.hours,
            }
        )

    def _flow(self, stays: pd.DataFrame) -> dict[str, object]:
        patients = int(stays["subject_id"].nunique())
        excluded = (("all", "ICU stays in the source", 0), ("age", "age below 18 years or unknown", 4),
                    ("order", "events out of order (discharge or death before admission)", 3),
                    ("icu", "ICU stay shorter than 48 hours", self.stays // 2),
                    ("window", "discharge or death before hour 48", 12))  # fmt: skip
        left = self.stays + sum(count for _, _, count in excluded)
        steps = []
        for key, label, count in excluded:
            left -= count
            extra = left - self.stays
            numbers = {"stays": left, "patients": patients + extra, "deaths": self.deaths + extra // 4}
            steps.append({"key": key, "label": label, "excluded_stays": count, **numbers})
        source = {"kind": self.kind, "version": "1.4", "profile": self.profile}
        return {"source": source, "time_zero": "ICU intime", "steps": steps}

    def _features(self, random: np.random.Generator, stay_ids: np.ndarray) -> pd.DataFrame:
        rows = len(stay_ids) * self.hours
        frame = pd.DataFrame(
            {
                "stay_id": np.repeat(stay_ids, self.hours),
                "hour": np.tile(np.arange(self.hours), len(stay_ids)),
            }
        )
        columns = {}
        for variable in self.variables:
            values = _TYPICAL[variable.name] * (1 + 0.06 * random.standard_normal(rows))
            seen = random.random(rows) < (0.85 if variable.group == "vital" else 0.12)
            columns[variable.name] = np.where(seen, values, np.nan).astype(np.float32)
        return pd.concat([frame, pd.DataFrame(columns)], axis=1)

    def _metrics(self, model: str) -> pd.DataFrame:
        rows = []
        for seed in self.seeds:
            for fold in (None, *range(self.folds)):
                part = 1 if fold is None else self.folds
                width = 0.03 * part**0.5
                counts = (self.stays // part, self.stays * 5 // 6 // part, self.deaths // part)
                for metric, value in _METRIC_VALUES.items():
                    centre = value + (0 if fold is None else 0.01 * (fold - 1))
                    low, high = (centre - width, centre + width) if self.intervals else (np.nan, np.nan)
                    rows.append((model, seed, fold, metric, centre, low, high, *counts))
        return pd.DataFrame(rows, columns=METRICS.names)

    def _subgroups(self, model: str) -> pd.DataFrame:
        """All stays, two sexes, and care units of which the last is small."""
        rows = []
        for attribute, parts in _SUBGROUP_PARTS.items():
            for level, part in parts.items():
                counts = {"n_stays": self.stays * part // 100, "n_deaths": self.deaths * part // 100}
                for seed in self.seeds:
                    label = {"model": model, "seed": seed, "attribute": attribute, "level": level}
                    rows += [
                        label | counts | {"n_patients": counts["n_stays"], "metric": metric, "value": value}
                        for metric, value in _METRIC_VALUES.items()
                    ]
        frame = pd.DataFrame(rows)
        return frame.assign(low=frame["value"] - 0.05, high=frame["value"] + 0.05)

    def _decisions(self, model: str) -> pd.DataFrame:
        runs = [{"model": model, "seed": seed, "fold": fold} for seed in self.seeds for fold in range(self.folds)]
        return pd.DataFrame(runs).assign(
            threshold_f1=0.6123456,
            threshold_score1=0.55,
            recalibration_intercept=-1.5,
            recalibration_slope=0.9,
            n_stays=self.stays // 10,
            n_deaths=self.deaths // 10,
        )

    def _model_curves(self, model: str) -> pd.DataFrame:
        grid, deciles = np.linspace(0, 1, 101), np.linspace(0.05, 0.95, 10)
        shapes = {
            "roc": (grid, grid**0.16),
            "pr": (grid, np.where(grid == 0, 0.95, 0.95 - 0.8 * grid**1.7)),
            "calibration": (deciles, deciles**1.4),
            "recalibrated": (deciles / 2, deciles / 2),
        }
        frames = [
            pd.DataFrame({"model": model, "seed": seed, "curve": name, "x": x, "y": y})
            for seed in self.seeds
            for name, (x, y) in shapes.items()
        ]
        return pd.concat(frames, ignore_index=True)

    def _history(self, random: np.random.Generator, model: str, seed: int, fold: int) -> pd.DataFrame:
        epoch = np.arange(1, 26)
        noise = 0.01 * random.standard_normal((3, len(epoch)))
        validation = 0.42 + 0.25 * np.exp(-epoch / 4) + 0.0004 * (epoch - 14).clip(0) ** 2 + noise[1]
        return pd.DataFrame(
            {
                "model": model,
                "seed": seed,
                "fold": fold,
                "epoch": epoch,
                "train_loss": 0.36 + 0.32 * np.exp(-epoch / 5) + noise[0],
                "validation_loss": validation,
                "validation_auroc": 0.86 - 0.3 * np.exp(-epoch / 3) + noise[2],
                "chosen": epoch == epoch[validation.argmin()],
            }
        )

    def _write_attack(
        self, random: np.random.Generator, files: RunFiles, stays: pd.DataFrame, model: str, mode: str
    ) -> None:
        cells = pd.concat([self._cells(random, direction) for direction in self.successes], ignore_index=True)
        cells = cells.assign(model=model, mode=mode)
        write_frame(cells, files.measure(model, mode, "cells"), CELLS)
        for axis, schema in (("variable", VARIABLES), ("hour", HOURS)):
            sums = made_up_sums(cells, axis, intervals=self.intervals)
            write_frame(sums, files.measure(model, mode, f"{axis}s"), schema)
        tradeoff = pd.concat(
            [
                made_up_tradeoff(stays, self._attacked(direction)).assign(direction=direction)
                for direction, stays in self.successes.items()
            ]
        ).assign(model=model, mode=mode)
        write_frame(tradeoff, files.measure(model, mode, "tradeoff"), TRADEOFF)
        write_frame(self._attack_curves(model, mode), files.measure(model, mode, "curves"), ATTACK_CURVES)
        write_frame(self._summary(model, mode), files.measure(model, mode, "summary"), ATTACK_SUMMARY)
        outcomes, perturbations = self._attacks(random, stays, model, mode)
        for name, frame, schema in (
            ("outcomes", outcomes, OUTCOMES),
            ("perturbations", perturbations, PERTURBATIONS),
        ):
            for fold, path in enumerate(files.attacks(model, mode, name)):
                write_frame(frame[frame["fold"] == fold], path, schema)

    def _cells(self, random: np.random.Generator, direction: str) -> pd.DataFrame:
        shape = {"hours": self.hours, "stays": self.successes[direction]}
        names = [variable.name for variable in self.variables]
        cells = made_up_cells(random, names, **shape, zero=self.zero_map, intervals=self.intervals)
        return cells.assign(direction=direction)

    def _attacked(self, direction: str) -> int:
        return self.successes[direction] * 10 // 9 + 1

    def _attack_curves(self, model: str, mode: str) -> pd.DataFrame:
        frames = []
        for direction, stays in self.successes.items():
            attacked = self._attacked(direction)
            for budget, scale in (("linf", 0.08), ("share", 0.03)):
                allowed = np.linspace(0, 4 * scale, 60)
                rate = stays / attacked * (1 - np.exp(-((allowed / scale) ** 2)))
                frame = pd.DataFrame({"allowed": allowed, "success_rate": rate, "budget": budget})
                frames.append(frame.assign(direction=direction, n_attacked=attacked))
        return pd.concat(frames, ignore_index=True).assign(model=model, mode=mode)

    def _summary(self, model: str, mode: str) -> pd.DataFrame:
        rows = []
        for direction, stays in self.successes.items():
            counts = dict.fromkeys(("n_flipped", "n_flipped_float64", "n_feasible", "n_selected"), stays)
            medians = {
                "median_lambda": 0.004,
                "median_l1": 1.9,
                "median_linf": 0.11,
                "median_n_changed": 34.0,
                "median_n_edited": 34.0,
            }
            medians = {name: value if stays else np.nan for name, value in medians.items()}
            rows.append(
                {
                    "model": model,
                    "mode": mode,
                    "direction": direction,
                    "n_attacked": self._attacked(direction),
                }
                | counts
                | dict.fromkeys(("n_failed", "n_still_falling"), self._attacked(direction) - stays)
                | dict.fromkeys(("n_vanished", "n_stuck", "rows_pruned", "rows_audited", "rows_audited_flipped"), 0)
                | {"rows": self._attacked(direction) * len(LAMBDAS), "rows_flipped": stays * len(LAMBDAS)}
                | {"rows_lost_float64": 0, "rows_lost_feasible": 1}
                | medians
                | {"median_share_observed": 0.31 if stays else np.nan}
            )
        return pd.DataFrame(rows)

    def _attacks(
        self, random: np.random.Generator, stays: pd.DataFrame, model: str, mode: str
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        attacks = pd.concat(
            [self._attack_rows(stays, direction) for direction in self.successes], ignore_index=True
        ).assign(model=model, mode=mode, seed=self.seeds[0])
        cells = self._perturbations(random, attacks)
        size = cells["delta_scaled"].abs()
        sums = pd.DataFrame({"l1": size, "l2": size**2, "linf": size, "n_changed_observed": cells["observed"]})
        norms = sums.groupby(cells["attack"]).agg(
            {"l1": "sum", "l2": "sum", "linf": "max", "n_changed_observed": "sum"}
        )
        norms["l2"] **= 0.5
        return attacks.join(norms).fillna(dict.fromkeys(norms, 0)), cells

    def _attack_rows(self, stays: pd.DataFrame, direction: str) -> pd.DataFrame:
        label = int(direction[0])
        ids = stays.loc[stays["died_in_hospital"] == bool(label), "stay_id"].to_numpy()[: self._attacked(direction)]
        position = np.repeat(np.arange(len(ids)), len(LAMBDAS))
        flipped = position < self.successes[direction]
        grid = np.tile(LAMBDAS, len(ids))
        return pd.DataFrame(
            {
                "fold": position % self.folds,
                "stay_id": np.repeat(ids, len(LAMBDAS)),
                "lambda": grid,
                "label": label,
                "direction": direction,
                "flipped": flipped,
                "flipped_float64": flipped,
                "feasible": flipped,
                "steps": 40,
                **dict.fromkeys(("margin", "margin_float32", "margin_float64", "margin_feasible"), 0.02),
                "margin_clean": -1.0,
                **dict.fromkeys(("gradient_vanished", "stuck_at_bounds", "pruned", "audited"), False),
                "still_falling": ~flipped,
                "p_clean": 0.8 * label + 0.1,
                "p_adversarial": 0.5,
                "n_changed": np.where(flipped, 4 + position % 40, 0),
                "n_edited": np.where(flipped, 4 + position % 40, 0),
                "selected": flipped & (grid == LAMBDAS[1]),
            }
        )

    def _perturbations(self, random: np.random.Generator, attacks: pd.DataFrame) -> pd.DataFrame:
        names = np.array([v.name for v in self.variables])
        attack = np.repeat(attacks.index.to_numpy(), attacks["n_changed"])
        step = np.concatenate([np.arange(n) for n in attacks["n_changed"]] or [np.empty(0, dtype=int)])
        # 101 shares no factor with 48 x 19, so the cells of an attack are distinct.
        cell = (attack * 7 + step * 101) % (self.hours * len(names))
        delta = random.normal(0, 0.12, len(cell))
        frame = attacks.loc[attack, ["model", "mode", "seed", "fold", "stay_id", "lambda"]].reset_index(drop=True)
        return frame.assign(
            attack=attack,
            hour=cell // len(names),
            variable=names[cell % len(names)],
            delta_scaled=delta,
            delta_clinical=delta * np.array([_TYPICAL[name] for name in names])[cell % len(names)],
            observed=random.random(len(cell)) < 0.4,
        )


def _integrity() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"table_name": "labevents", "what": "rows read", "cases": 27_000, "total": None, "consequence": "counted"},
            {"table_name": "admissions", "what": "died early", "cases": 4, "total": 900, "consequence": "excluded"},
            {"table_name": "labevents", "what": "far away", "cases": 300, "total": 9000, "consequence": "not used"},
        ]
    ).astype({"total": "Int64"})


def identifiers(files: RunFiles) -> set[str]:
    """Every stay, subject and admission id of the run, as text."""
    frame = read_frame(files.stays, ["stay_id", "subject_id", "hadm_id"])
    return {str(number) for number in np.unique(frame.to_numpy())}


def shipped_config() -> dict[str, Any]:
    """The project's own config.yaml."""
    config: dict[str, Any] = yaml.safe_load((Path(__file__).parents[1] / "config.yaml").read_text(encoding="utf-8"))
    return config


def write_tables(files: RunFiles, profile: str) -> None:
    """Write every table for people of a made-up run."""
    out = {"profile": profile, "out_dir": files.tables}
    write_cohort_tables(stays=files.stays, features=files.features, flow=files.flow, **out)
    parts = {name: [getattr(files, name)(model) for model in files.models] for name in _MODEL_TABLES}
    write_audit_tables(codes=files.codes, integrity=files.integrity, out_dir=files.tables)
    write_protocol_table(config=shipped_config(), out_dir=files.tables)
    write_model_tables(**parts, flow=files.flow, out_dir=files.tables)
    pairs = [(model, mode) for model in files.models for mode in files.modes]
    for model, mode in pairs:
        parts = {name: files.measure(model, mode, name) for name in ("cells", "variables", "hours", "tradeoff")}
        write_susceptibility_tables(model=model, mode=mode, **parts, **out)
    summaries, variables, hours = (
        [files.measure(model, mode, name) for model, mode in pairs] for name in ("summary", "variables", "hours")
    )
    write_agreement_tables(**files.agreement, out_dir=files.tables)
    write_attack_tables(summaries=summaries, variables=variables, hours=hours, **out)


def draw_figures(files: RunFiles, profile: str, *, dpi: int = 100, style: str = "paper") -> None:
    """Draw every figure of a made-up run, those of single patients too."""
    look = {"dpi": dpi, "style": style}
    plot_flow(flow=files.flow, out_dir=files.figures, **look)
    pairs = {name: files.agreement[name] for name in ("stability", "transfer")}
    plot_agreement(**pairs, out_dir=files.figures, **look)
    for model in files.models:
        parts = {name: getattr(files, name)(model) for name in ("metrics", "subgroups")}
        parts["curves"] = files.model_curves(model)
        plot_model(model=model, **parts, histories=files.histories(model), out_dir=files.figures, **look)
        for mode in files.modes:
            kinds = ("cells", "variables", "hours", "curves", "tradeoff")
            tables = {name: files.measure(model, mode, name) for name in kinds}
            labels = {"model": model, "mode": mode, "profile": profile}
            plot_attack(**labels, **tables, published=True, out_dir=files.figures, **look)
            attacks = {name: files.attacks(model, mode, name) for name in ("outcomes", "perturbations")}
            plot_patient(**labels, **attacks, features=files.features, out_dir=files.private, **look)


def place_figures(files: RunFiles) -> None:
    """Put a tiny drawing in the place of every figure, for tests that do not look at figures."""
    head = '<svg xmlns="http://www.w3.org/2000/svg" width="504pt" height="270pt" viewBox="0 0 7 4">'
    svg = f'{head}<path d="M0 0h7v4"/></svg>'
    for model in files.models:
        stems = [
            *model_figures(model),
            *(stem for mode in files.modes for stem in attack_figures(model, mode)),
        ]
        private = [stem for mode in files.modes for stem in patient_figures(model, mode)]
        for folder, names in ((files.figures, [*COHORT_FIGURES, *AGREEMENT_FIGURES, *stems]), (files.private, private)):
            for stem in names:
                write_text(svg, folder / f"{stem}.svg")


def make_report(files: RunFiles, *, patients: bool = True, **changes: Any) -> str:
    """Build the report of a made-up run whose tables and figures lie there; the page.

    `changes`: values of the configuration by dotted key with `__` for dots, e.g. `source__kind="mimic3"`.
    """
    config = shipped_config()
    for key, value in changes.items():
        block, _, name = key.partition("__")
        config[block][name] = value
    build_report(
        out=files.report,
        tables=files.tables,
        figures=files.figures,
        models=files.models,
        modes=files.modes,
        config=config,
        provenance={"versions": {"Python": "3.11.9", "torch": "2.13.0"}, "devices": {"training": "cpu"}},
        patient_figures=sorted(files.private.glob("*.svg")) if patients else None,
    )
    return files.report.read_text(encoding="utf-8")
