"""The need of every rule of the workflow, from counts, the pilot, the calibration and constants. Pure arithmetic."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from ehr_attack.attacks import label_of, settings_of
from ehr_attack.estimate import constants as known
from ehr_attack.estimate.calibration import Calibration
from ehr_attack.estimate.late_costs import LateCosts
from ehr_attack.estimate.pilot import Measured, Pilot
from ehr_attack.estimate.plan import Plan, RuleEstimate
from ehr_attack.estimate.rule_costs import RuleCosts, mean_updates
from ehr_attack.estimate.workload import CORRECT_SHARE, Workload
from ehr_attack.mistakes import LOOK_AHEAD_INTERPOLATION
from ehr_attack.sources.duck import memory_limit_gb

_ALL_CORRECT = 1.0


def make_plan(
    config: Mapping[str, Any], pilot: Pilot, calibration: Calibration, workload: Workload, *, cores: int
) -> Plan:
    """The need of a run of the checked `config` on `cores` cores and the GPUs that the calibration found."""
    costs = _Costs(config, pilot, calibration, workload)
    late = LateCosts(config, pilot, calibration, workload)
    rules = [
        *costs.first_stages(),
        *costs.longer_window(),
        costs.folds(),
        *costs.null_cohort(),
        *costs.search(),
        costs.train(),
        costs.evaluate(),
        costs.attack(),
        costs.merge_attack(),
        late.susceptibility(),
        *late.agreement(),
        *late.mistakes(),
        *late.figures(),
        late.tables(),
        late.report(),
    ]
    return Plan(rules, cores, calibration.gpus)


class _Costs(RuleCosts):
    """The rules up to the attacks."""

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

    def null_cohort(self) -> list[RuleEstimate]:
        """The records with the hours of each stay in random order: written once more, and made to features again."""
        if not self.work.on_null:
            return []
        extract, features = self.pilot.extract, self.pilot.features
        both = dataclasses.replace(
            features,
            seconds=2 * features.seconds,
            longest=2 * features.seconds,
            bytes=extract.bytes + features.bytes,
            rows=extract.rows + features.rows,
        )
        return [self._in_duckdb("null_cohort", both)]

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
            len(work.evaluated_models),
            seconds=len(work.evaluated_models) * work.seeds * self._resamples * of_a_seed,
            disk=len(work.evaluated_models) * known.EVALUATION_FILES * known.FILE_BYTES,
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
