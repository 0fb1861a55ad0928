"""What the costs of all rules are made from: counts, the pilot, the calibration and constants. Pure arithmetic."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ehr_attack.estimate import constants as known
from ehr_attack.estimate.calibration import Calibration
from ehr_attack.estimate.pilot import Pilot
from ehr_attack.estimate.plan import RuleEstimate
from ehr_attack.estimate.workload import Workload


def mean_updates(kind: str, steps: int) -> float:
    """Updates of a row, averaged over all rows, when the search is given up after `steps`; at most `steps`."""
    source = kind if kind in known.UPDATES_A_ROW else "synthetic"
    curve = known.UPDATES_A_ROW[source]
    for (x0, y0), (x1, y1) in itertools.pairwise(curve):
        if steps <= x1:
            return y0 + (y1 - y0) * (steps - x0) / (x1 - x0)
    last_steps, last_updates = curve[-1]
    return last_updates + known.STILL_SEARCHING[source] * (steps - last_steps)


@dataclass(frozen=True)
class RuleCosts:
    """The checked config, and what the need of its rules is worked out from."""

    config: Mapping[str, Any]
    pilot: Pilot
    calibration: Calibration
    work: Workload

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
    def _patience(self) -> float:
        """Updates of a row over those of the measured runs, at most 1: a search given up early changes less."""
        kind, steps = self.config["source"]["kind"], self.config["attack"]["steps"]
        return min(mean_updates(kind, steps) / mean_updates(kind, 100), 1.0)

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
