"""The need of the rules behind the attacks: susceptibility, verdicts, figures, tables and the report."""

from ehr_attack.estimate import constants as known
from ehr_attack.estimate.plan import RuleEstimate
from ehr_attack.estimate.rule_costs import RuleCosts

_FULL_DPI = 150


class LateCosts(RuleCosts):
    """The rules that measure and show what the attacks found."""

    def susceptibility(self) -> RuleEstimate:
        """The measures with their intervals, which every resample of patients makes anew."""
        changes = self._changes_of_a_fold * self.work.trainings
        resampling = self._resamples * self.work.cells * known.RESAMPLE_SECONDS_A_CELL
        stays = self.work.attacked() * self.work.trainings
        empty, full = known.MAPS_BYTES
        drawn = known.SUSCEPTIBILITY_MEMORY + stays * self._resamples * known.BYTES_A_STAY_AND_RESAMPLE
        return self._rule(
            "susceptibility",
            self._attacks,
            seconds=self._attacks * (changes * known.SUSCEPTIBILITY_SECONDS_A_CHANGE + resampling),
            disk=self._attacks * self._drawn((empty, full + self._resamples * known.REPLICATE_BYTES)),
            memory=drawn + self._cohort_cells,  # which of them were recorded, a byte each
        )

    def agreement(self) -> list[RuleEstimate]:
        """Tests of the claims, stability, and changes put on other models; and what `ehr-attack screen` reads."""
        tried = (len(self.work.models) * self.work.seeds) ** 2 * self.work.folds
        seconds = self._load_seconds + tried * len(self.work.mapped_modes) * known.TRANSFER_SECONDS_A_PAIR
        memory = known.ATTACK_MEMORY + known.LOAD_BYTES_A_CELL * self._cohort_cells
        return [
            self._rule("verdicts", 1, disk=known.FILE_BYTES),
            self._rule("stability", 1, disk=known.FILE_BYTES),
            self._rule("transfer", 1, seconds=seconds, disk=known.FILE_BYTES, memory=memory),
            self._rule("describe_run", 1, disk=known.DESCRIPTION_BYTES),
        ]

    def mistakes(self) -> list[RuleEstimate]:
        """The table and the figure on what the mistakes made on purpose do."""
        if not self.work.variants:
            return []
        return [
            self._rule("audit_of_mistakes", 1, disk=known.FILE_BYTES),
            self._rule("plot_mistakes", 1, disk=known.MISTAKE_FIGURES_BYTES * self._figure_size),
        ]

    def figures(self) -> list[RuleEstimate]:
        """Every rule that draws, but of the mistakes."""
        models, pairs = len(self.work.models), self._pairs
        size = self._figure_size
        drawn = [
            self._rule("plot_cohort", 1, disk=known.COHORT_FIGURES_BYTES * size),
            self._rule("plot_model", models, disk=models * known.MODEL_FIGURES_BYTES * size),
            self._rule("plot_attack", pairs, disk=pairs * self._drawn(known.ATTACK_FIGURES_BYTES) * size),
            self._rule("plot_agreement", 1, disk=known.AGREEMENT_FIGURES_BYTES * size),
        ]
        if self.work.trials:
            drawn.append(self._rule("plot_tuning", models, disk=models * known.TUNING_FIGURES_BYTES * size))
        if not self.config["report"]["patient_examples"]:
            return drawn
        disk = pairs * self._drawn(known.PATIENT_FIGURES_BYTES) * size
        return [*drawn, self._rule("plot_patients", pairs, disk=disk, memory=self._memory_of_changes)]

    def tables(self) -> RuleEstimate:
        """The tables for people."""
        memory = known.LIGHT_MEMORY + known.LOAD_BYTES_A_CELL * self._cohort_cells
        disk = known.TABLES_BYTES + self._pairs * known.TABLES_BYTES_A_MODE
        return self._rule("tables", 1, disk=disk, memory=memory)

    def report(self) -> RuleEstimate:
        """The page, which holds all figures and tables."""
        return self._rule(
            "report", 1, disk=self._drawn(known.REPORT_BYTES) + self._pairs * self._drawn(known.REPORT_BYTES_A_MODE)
        )

    @property
    def _figure_size(self) -> float:
        """Bytes of figures over those at 150 dpi: about half are PNG files, whose size grows with the resolution."""
        return float(0.5 + 0.5 * (self.config["plots"]["dpi"] / _FULL_DPI) ** 2)

    @property
    def _pairs(self) -> int:
        """Models and modes that figures and tables show."""
        return len(self.work.models) * len(self.work.mapped_modes)

    @property
    def _memory_of_changes(self) -> float:
        changes = self._changes_of_a_fold * self.work.trainings
        cohort = known.LOAD_BYTES_A_CELL * self._cohort_cells
        return known.LIGHT_MEMORY + cohort + changes * known.SUSCEPTIBILITY_BYTES_A_CHANGE

    def _drawn(self, sizes: tuple[float, float]) -> float:
        """The size of a drawing between that of empty and that of full maps."""
        empty, full = sizes
        return empty + (full - empty) * self._patience
