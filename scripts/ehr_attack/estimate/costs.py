"""The need of every rule of the workflow, from counts, the pilot, the calibration and constants. Pure arithmetic."""

import dataclasses
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ehr_attack.attacks import label_of, settings_of
from ehr_attack.estimate import constants as known
from ehr_attack.estimate.calibration import Calibration
from ehr_attack.estimate.pilot import Measured, Pilot
from ehr_attack.estimate.plan import Plan, RuleEstimate
from ehr_attack.estimate.workload import CORRECT_SHARE, Workload
from ehr_attack.mistakes import LOOK_AHEAD_INTERPOLATION
from ehr_attack.sources.duck import memory_limit_gb

_ALL_CORRECT = 1.0
_FULL_DPI = 150


def mean_updates(kind: str, steps: int) -> float:
    """Updates of a row, averaged over all rows, when the search is given up after `steps`; at most `steps`."""
    source = kind if kind in known.UPDATES_A_ROW else "synthetic"
    curve = known.UPDATES_A_ROW[source]
    for (x0, y0), (x1, y1) in itertools.pairwise(curve):
        if steps <= x1:
            return y0 + (y1 - y0) * (steps - x0) / (x1 - x0)
    last_steps, last_updates = curve[-1]
    return last_updates + known.STILL_SEARCHING[source] * (steps - last_steps)


def make_plan(
    config: Mapping[str, Any], pilot: Pilot, calibration: Calibration, workload: Workload, *, cores: int
) -> Plan:
    """The need of a run of the checked `config` on `cores` cores and the GPUs that the calibration found."""
    costs = _Costs(config, pilot, calibration, workload)
    rules = [
        *costs.first_stages(),
        *costs.longer_window(),
        costs.folds(),
        *costs.search(),
        costs.train(),
        costs.evaluate(),
        costs.attack(),
        costs.merge_attack(),
        costs.susceptibility(),
        *costs.mistakes(),
        *costs.figures(),
        costs.tables(),
        costs.report(),
    ]
    return Plan(rules, cores, calibration.gpus)


@dataclass(frozen=True)
class _Costs:
    config: Mapping[str, Any]
    pilot: Pilot
    calibration: Calibration
    work: Workload

    def first_stages(self) -> list[RuleEstimate]:
        pilot = self.pilot
        stages = [
            self._in_duckdb("stage", pilot.stage, threads=2),
            # Equal rows are looked for in all that was staged, which takes more memory than to sort it.
            self._in_duckdb("audit", pilot.audit, threads=2, bytes_a_row=known.GROUP_BYTES_A_ROW),
            self._in_duckdb("extract", pilot.extract, threads=2),
            self._in_duckdb("features", pilot.features),
        ]
        if pilot.synthetic is None:
            return stages
        return [self._measured("synthetic", pilot.synthetic, memory=known.LIGHT_MEMORY), *stages]

    def folds(self) -> RuleEstimate:
        return self._rule("folds", 1, rows=self.work.stays, disk=self.work.stays * known.FOLD_BYTES + known.FILE_BYTES)

    def longer_window(self) -> list[RuleEstimate]:
        """What a model looks ahead to, where that mistake is made on purpose."""
        audit, hours = self.config["audit"], self.config["features"]["window_hours"]
        if LOOK_AHEAD_INTERPOLATION not in audit["mistakes"]:
            return []
        growth = 1 + audit["look_ahead_hours"] / hours
        extract, features = (stage.times(growth) for stage in (self.pilot.extract, self.pilot.features))
        sorting = dataclasses.replace(features, sorted_rows=extract.rows)
        return [
            self._in_duckdb("look_ahead_extract", extract, threads=2),
            self._in_duckdb("look_ahead_features", sorting),
        ]

    def search(self) -> list[RuleEstimate]:
        """The search of hyperparameters, as if no trial were ended early."""
        if not self.work.trials:
            return []
        train, jobs = self.train(), len(self.work.models) * self.work.trainings
        trainings = sum(map(self._train_seconds, self.work.models)) * self.work.trainings
        disk = jobs * (2 * known.FILE_BYTES + self.work.trials * known.TRIAL_BYTES)
        return [
            self._rule(
                "tune",
                jobs,
                seconds=self.work.trials * trainings,
                disk=disk,
                memory=train.memory_bytes,
                on_gpu=train.on_gpu,
            )
        ]

    def _train_seconds(self, name: str) -> float:
        """Seconds of one training of a model."""
        work, cost = self.work, self.calibration.models[name]
        epoch = work.trained_on * cost.train_seconds + work.validated_on * cost.predict_seconds
        return self._load_seconds + work.epochs[name] * epoch + work.stays * cost.predict_seconds

    def train(self) -> RuleEstimate:
        work = self.work
        seconds = disk = 0.0
        for name in work.trained_models:
            cost = self.calibration.models[name]
            seconds += self._train_seconds(name)
            disk += cost.weight_bytes + known.DESCRIPTION_BYTES + 2 * known.FILE_BYTES
            disk += work.stays * known.PREDICTION_BYTES + work.epochs[name] * known.HISTORY_BYTES
        prepare = known.PREPARE_BYTES_A_CELL[self.config["features"]["imputation"]]
        activations = max(self.calibration.models[name].activation_bytes for name in work.models)
        batch = activations * known.COPIES_OF_ACTIVATIONS * self.config["training"]["batch_size"]
        return self._rule(
            "train",
            len(work.trained_models) * work.trainings,
            rows=len(work.trained_models) * work.trainings * work.stays,
            seconds=work.trainings * seconds,
            disk=work.trainings * disk,
            memory=known.TRAIN_MEMORY + prepare * self._cohort_cells + batch,
            on_gpu=self.calibration.train_device == "cuda",
        )

    def evaluate(self) -> RuleEstimate:
        work = self.work
        of_a_seed = known.EVALUATE_SECONDS_A_GROUP * (work.folds + 1) + known.EVALUATE_SECONDS_A_STAY * work.stays
        return self._rule(
            "evaluate",
            len(work.trained_models),
            seconds=len(work.trained_models) * work.seeds * self._resamples * of_a_seed,
            disk=len(work.trained_models) * known.EVALUATION_FILES * known.FILE_BYTES,
        )

    def attack(self) -> RuleEstimate:
        jobs = self._attacks * self.work.trainings * self.work.shards
        activations = max(self.calibration.models[name].activation_bytes for name in self.work.models)
        # The margins that prove a flip are computed in float64, hence as much again.
        chunk = 2 * activations * known.COPIES_OF_ACTIVATIONS * self.calibration.chunk_rows
        changes = self._changes_of_a_fold / self.work.shards * known.MERGE_BYTES_A_CHANGE
        return self._rule(
            "attack",
            jobs,
            rows=self._attack_rows(),
            seconds=self._attack_seconds(jobs),
            disk=self._outcome_files(self.work.shards),
            memory=known.ATTACK_MEMORY + known.LOAD_BYTES_A_CELL * self._cohort_cells + chunk + changes,
            on_gpu=self.calibration.attack_device == "cuda",
            most_rows=self._attack_rows(_ALL_CORRECT),
            most_seconds=self._attack_seconds(jobs, most=True),
        )

    def merge_attack(self) -> RuleEstimate:
        changes = self._changes_of_a_fold
        return self._rule(
            "merge_attack",
            self._attacks * self.work.trainings,
            rows=self._attack_rows(),
            seconds=self._attacks * self.work.trainings * changes * known.MERGE_SECONDS_A_CHANGE,
            disk=self._outcome_files(1),
            memory=known.LIGHT_MEMORY + changes * known.MERGE_BYTES_A_CHANGE,
            most_rows=self._attack_rows(_ALL_CORRECT),
        )

    def susceptibility(self) -> RuleEstimate:
        changes = self._changes_of_a_fold * self.work.trainings
        stacked = self.work.attacked() * self.work.trainings * self.work.cells
        resampling = self._resamples * stacked * known.RESAMPLE_SECONDS_A_CELL
        return self._rule(
            "susceptibility",
            self._attacks,
            seconds=self._attacks * (changes * known.SUSCEPTIBILITY_SECONDS_A_CHANGE + resampling),
            disk=self._attacks * known.MAPS_BYTES,
            memory=self._memory_of_changes + stacked * known.STACK_BYTES_A_CELL,
        )

    def mistakes(self) -> list[RuleEstimate]:
        """The table and the figure on what the mistakes made on purpose do."""
        if not self.work.variants:
            return []
        return [
            self._rule("audit_of_mistakes", 1, disk=known.FILE_BYTES),
            self._rule("plot_mistakes", 1, disk=known.MISTAKE_FIGURES_BYTES * self._figure_size),
        ]

    def figures(self) -> list[RuleEstimate]:
        models, pairs = len(self.work.models), self._pairs
        size = self._figure_size
        drawn = [
            self._rule("plot_cohort", 1, disk=known.COHORT_FIGURES_BYTES * size),
            self._rule("plot_model", models, disk=models * known.MODEL_FIGURES_BYTES * size),
            self._rule("plot_attack", pairs, disk=pairs * self._drawn(known.ATTACK_FIGURES_BYTES) * size),
        ]
        if self.work.trials:
            drawn.append(self._rule("plot_tuning", models, disk=models * known.TUNING_FIGURES_BYTES * size))
        if not self.config["report"]["patient_examples"]:
            return drawn
        disk = pairs * self._drawn(known.PATIENT_FIGURES_BYTES) * size
        return [*drawn, self._rule("plot_patients", pairs, disk=disk, memory=self._memory_of_changes)]

    def tables(self) -> RuleEstimate:
        memory = known.LIGHT_MEMORY + known.LOAD_BYTES_A_CELL * self._cohort_cells
        disk = known.TABLES_BYTES + self._pairs * known.TABLES_BYTES_A_MODE
        return self._rule("tables", 1, disk=disk, memory=memory)

    def report(self) -> RuleEstimate:
        return self._rule("report", 1, disk=known.REPORT_BYTES + self._pairs * self._drawn(known.REPORT_BYTES_A_MODE))

    @property
    def _figure_size(self) -> float:
        """Bytes of figures over those at 150 dpi: about half are PNG files, whose size grows with the resolution."""
        return float(0.5 + 0.5 * (self.config["plots"]["dpi"] / _FULL_DPI) ** 2)

    @property
    def _pairs(self) -> int:
        """Models and modes that figures and tables show."""
        return len(self.work.models) * len(self.work.mapped_modes)

    @property
    def _attacks(self) -> int:
        """Models, those with a mistake made on purpose too, and modes."""
        return len(self.work.attacks)

    @property
    def _resamples(self) -> int:
        return int(self.config["susceptibility"]["bootstrap"])

    @property
    def _cohort_cells(self) -> float:
        return self.work.stays * self.work.cells

    @property
    def _load_seconds(self) -> float:
        return self._cohort_cells * known.LOAD_SECONDS_A_CELL

    @property
    def _changed_cells(self) -> dict[str, float]:
        """Changed cells of a row, averaged over rows, by mode."""
        share, cells = known.CHANGED_SHARE, self.work.cells * self._patience
        return {mode: share.get(mode, share[known.OTHER_MODE]) * cells for mode in self.work.modes}

    @property
    def _changes_of_a_fold(self) -> float:
        """Changed cells of the attack of one mode on one fold, of the mode that changes most."""
        return self.work.attacked() * self.work.lambdas * max(self._changed_cells.values())

    @property
    def _memory_of_changes(self) -> float:
        changes = self._changes_of_a_fold * self.work.trainings
        cohort = known.LOAD_BYTES_A_CELL * self._cohort_cells
        return known.LIGHT_MEMORY + cohort + changes * known.SUSCEPTIBILITY_BYTES_A_CHANGE

    @property
    def _patience(self) -> float:
        """Updates of a row over those of the measured runs, at most 1: a search given up early changes less."""
        kind, steps = self.config["source"]["kind"], self.config["attack"]["steps"]
        return min(mean_updates(kind, steps) / mean_updates(kind, 100), 1.0)

    def _drawn(self, sizes: tuple[float, float]) -> float:
        """The size of a drawing between that of empty and that of full maps."""
        empty, full = sizes
        return empty + (full - empty) * self._patience

    def _rows_of(self, pair: tuple[str, str], correct_share: float = CORRECT_SHARE) -> float:
        """Rows of one model and mode, over seeds and folds."""
        lambdas = settings_of(label_of(pair[1]), self.config["attack"])["lambdas"]["count"]
        return self.work.attack_rows(correct_share, self.calibration.attacks[pair].rows_a_stay or lambdas)

    def _attack_rows(self, correct_share: float = CORRECT_SHARE) -> float:
        return sum(self._rows_of(pair, correct_share) for pair in self.work.attacks)

    def _attack_seconds(self, jobs: int, most: bool = False) -> float:
        """Seconds of all attack jobs; `most`: every stay is classified correctly and no row flips."""
        seconds = jobs * self._load_seconds
        for pair in self.work.attacks:
            cost = self.calibration.attacks[pair]
            rows = self._rows_of(pair, _ALL_CORRECT if most else CORRECT_SHARE)
            seconds += rows * (self._updates(pair, most) * cost.step_seconds + cost.row_seconds)
        return seconds

    def _updates(self, pair: tuple[str, str], most: bool) -> float:
        """Updates of a row, on average or at most."""
        settings = settings_of(label_of(pair[1]), self.config["attack"])
        kind, steps = self.calibration.attacks[pair].updates, settings["steps"]
        if kind == "two":
            return 2.0
        if kind == "tries":
            return float(settings["levels"] * self.pilot.extract.rows / max(self.pilot.stays, 1.0))
        return float(steps) if most or kind == "all" else mean_updates(self.config["source"]["kind"], steps)

    def _outcome_files(self, files_a_fold: int) -> float:
        """Bytes of outcomes and perturbations, in so many files of each for a fold."""
        changed, bytes_of = self._changed_cells, known.CHANGE_BYTES
        of_rows = sum(
            self._rows_of(pair)
            * (known.OUTCOME_BYTES + changed[pair[1]] * bytes_of.get(pair[1], bytes_of[known.OTHER_MODE]))
            for pair in self.work.attacks
        )
        files = self._attacks * self.work.trainings * files_a_fold
        return of_rows + files * (2 * known.FILE_BYTES + known.OUTCOMES_FILE_BYTES)

    def _in_duckdb(
        self, rule: str, measured: Measured, *, threads: int = 1, bytes_a_row: float = known.SORT_BYTES_A_ROW
    ) -> RuleEstimate:
        """A rule that sorts or groups rows in DuckDB: what is beyond its limit spills to disk."""
        limit = memory_limit_gb(self.config["source"]["memory_mb"]) * 1e9
        need = measured.sorted_rows * bytes_a_row
        memory = known.DUCKDB_MEMORY + min(need, limit)
        return self._measured(rule, measured, memory=memory, threads=threads, temporary=max(need - limit, 0.0))

    def _measured(
        self, rule: str, measured: Measured, *, memory: float, threads: int = 1, temporary: float = 0.0
    ) -> RuleEstimate:
        return self._rule(
            rule,
            measured.jobs,
            rows=measured.rows,
            seconds=measured.seconds,
            longest=measured.longest or measured.seconds,
            disk=measured.bytes,
            memory=memory,
            threads=threads,
            temporary=temporary,
        )

    def _rule(
        self,
        rule: str,
        jobs: int,
        *,
        rows: float = 0.0,
        seconds: float = 0.0,
        longest: float | None = None,
        disk: float = 0.0,
        memory: float = known.LIGHT_MEMORY,
        threads: int = 1,
        on_gpu: bool = False,
        temporary: float = 0.0,
        most_rows: float | None = None,
        most_seconds: float | None = None,
    ) -> RuleEstimate:
        """seconds: the work of all jobs, to which each one's start is added; longest: that of the longest job."""
        start = known.STARTS[rule] * self.calibration.start_seconds
        most_seconds = seconds if most_seconds is None else most_seconds
        return RuleEstimate(
            rule=rule,
            jobs=jobs,
            rows=rows,
            seconds=jobs * start + seconds,
            longest=start + (seconds / jobs if longest is None else longest),
            memory_bytes=memory,
            disk_bytes=disk,
            most_rows=rows if most_rows is None else most_rows,
            most_seconds=jobs * start + most_seconds,
            most_longest=start + (most_seconds / jobs if longest is None else longest),
            threads=threads,
            on_gpu=on_gpu,
            temporary_bytes=temporary,
        )
