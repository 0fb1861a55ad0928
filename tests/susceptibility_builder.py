"""Made-up attacks of a run, as the tables that the rule susceptibility reads, and the tables that it makes of them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ehr_attack.attacks.selection import ROW_KEY, mark_selected
from ehr_attack.schemas.attacks import OUTCOMES, PERTURBATIONS
from ehr_attack.schemas.cohort import STAYS, features_schema
from ehr_attack.storage import read_frame, write_frame
from ehr_attack.susceptibility import analyse_attacks

TABLES = ("cells", "variables", "hours", "by_model", "replicates", "tradeoff", "curves", "summary")


@dataclass
class MadeRun:
    """Attacks of one model and mode.

    stays: stay_id, subject_id, label, fold. attacks: seed, stay_id, lambda, success. changes: |D| of each attack,
    (attacks, hours, variables), counted where it succeeds. recorded: bool (stays, hours, variables).
    """

    stays: pd.DataFrame
    attacks: pd.DataFrame
    changes: np.ndarray
    recorded: np.ndarray
    mode: str = "ista"

    @property
    def variable_names(self) -> list[str]:
        return [f"v{place}" for place in range(self.changes.shape[2])]

    def outcomes(self) -> pd.DataFrame:
        rows = self.attacks.merge(self.stays, on="stay_id", how="left", validate="many_to_one")
        success = rows["success"].to_numpy()
        changes = np.where(success[:, None, None], self.changes, 0.0)
        rows = rows.assign(
            model="lstm", mode=self.mode, direction=np.where(rows["label"] == 1, "1_to_0", "0_to_1"),
            flipped=success, flipped_float64=success, feasible=success, steps=10,
            linf=changes.max(axis=(1, 2), initial=0.0), l1=changes.sum(axis=(1, 2)), l2=0.0,
            n_changed=(changes > 0).sum(axis=(1, 2)), still_falling=~success,
            gradient_vanished=False, stuck_at_bounds=False, pruned=False, audited=False,
        )  # fmt: skip
        place = np.searchsorted(self.stays["stay_id"], rows["stay_id"])
        observed = ((changes > 0) & self.recorded[place]).sum(axis=(1, 2))
        rows = rows.assign(n_changed_observed=observed, n_edited=rows["n_changed"])
        unknown = [name for name in OUTCOMES.names if name not in rows and name != "selected"]
        rows = rows.assign(**dict.fromkeys(unknown, 0.0))
        return rows.assign(selected=mark_selected(rows, self.recorded[0].size, 0.5))

    def perturbations(self, outcomes: pd.DataFrame) -> pd.DataFrame:
        row, hour, variable = np.nonzero(self.changes * outcomes["success"].to_numpy()[:, None, None])
        key = outcomes[ROW_KEY].iloc[row].reset_index(drop=True)
        size = self.changes[row, hour, variable]
        sign = np.where((row + hour) % 2, -1.0, 1.0)
        return key.assign(
            hour=hour, variable=np.asarray(self.variable_names)[variable], delta_scaled=sign * size,
            delta_clinical=sign * size,
            observed=self.recorded[np.searchsorted(self.stays["stay_id"], key["stay_id"]), hour, variable],
        )  # fmt: skip

    def write(self, folder: Path) -> dict[str, object]:
        """Write the run's tables; returns what `analyse_attacks` is called with, less `resamples` and `out`."""
        outcomes = self.outcomes()
        perturbations = self.perturbations(outcomes)
        paths: dict[str, list[str]] = {"outcomes": [], "perturbations": []}
        for seed in sorted(outcomes["seed"].unique()):
            for fold in sorted(self.stays["fold"].unique()):
                for name, table, schema in (
                    ("outcomes", outcomes, OUTCOMES),
                    ("perturbations", perturbations, PERTURBATIONS),
                ):
                    path = folder / f"seed_{seed}" / f"fold_{fold}" / f"{name}.parquet"
                    write_frame(table[(table["seed"] == seed) & (table["fold"] == fold)], path, schema)
                    paths[name].append(str(path))
        n_stays, n_hours, _ = self.recorded.shape
        # Hour -1 holds what was known before: it makes no cell of the window a recorded one.
        hours = np.tile(np.arange(-1, n_hours), n_stays)
        features = pd.DataFrame({"stay_id": np.repeat(self.stays["stay_id"].to_numpy(), n_hours + 1), "hour": hours})
        values = np.where(np.insert(self.recorded, 0, True, axis=1), 1.0, np.nan).reshape(-1, self.recorded.shape[2])
        features[self.variable_names] = values
        write_frame(features, folder / "features.parquet", features_schema(self.variable_names))
        unknown = {name: None for name in STAYS.names if name not in self.stays}
        write_frame(self.stays.assign(**unknown), folder / "stays.parquet", STAYS)
        return paths | {
            "features": str(folder / "features.parquet"),
            "stays": str(folder / "stays.parquet"),
            "model": "lstm",
            "mode": self.mode,
            "variable_names": self.variable_names,
            "window_hours": n_hours,
        }

    def analysed(self, folder: Path, resamples: int = 0) -> dict[str, pd.DataFrame]:
        """The tables that the run is analysed to."""
        out = {name: str(folder / "out" / f"{name}.parquet") for name in TABLES}
        analyse_attacks(**self.write(folder), resamples=resamples, out=out)  # type: ignore[arg-type]
        return {name: read_frame(path) for name, path in out.items()}


def made_run(random: np.random.Generator, n_patients: int, n_seeds: int = 1, n_lambdas: int = 3) -> MadeRun:
    """A random run of two hours and three variables, some patients with two stays; few sizes of changes, many ties."""
    subject = np.repeat(np.arange(n_patients), random.integers(1, 3, n_patients))
    n_stays = len(subject)
    fold = random.integers(0, 2, n_patients)[subject]
    stays = pd.DataFrame({"stay_id": 100 + np.arange(n_stays), "subject_id": 7 * subject, "fold": fold})
    stays = stays.assign(label=random.integers(0, 2, n_stays))
    lambdas = [float("nan")] if n_lambdas == 0 else 0.1 * np.arange(1, n_lambdas + 1)
    seeds, places, weights = np.meshgrid(np.arange(n_seeds), np.arange(n_stays), lambdas, indexing="ij")
    attacks = pd.DataFrame({"seed": seeds.ravel(), "stay_id": 100 + places.ravel(), "lambda": weights.ravel()})
    attacks = attacks.assign(success=random.random(len(attacks)) < 0.7)
    changes = random.choice([0.0, 0.0, 0.25, 0.5, 1.0], size=(len(attacks), 2, 3))
    # A cell that never changes, and one that is never recorded.
    changes[:, 0, 0] = 0.0
    recorded = random.random((n_stays, 2, 3)) < 0.8
    recorded[:, 1, 2] = False
    return MadeRun(stays, attacks, changes, recorded)
