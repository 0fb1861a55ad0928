"""What a run will take as a whole: every rule's need spread over the cores, GPUs, memory and disk that there are."""

from collections.abc import Sequence
from dataclasses import dataclass

from ehr_attack.estimate.constants import SNAKEMAKE_MEMORY


@dataclass(frozen=True)
class RuleEstimate:
    """One rule of the workflow, all its jobs together.

    seconds: of one core, or one GPU, summed over the jobs; longest: of the longest job. `most_*`: the upper bound,
    where every attacked row is searched to its last step. memory_bytes: of one job. disk_bytes: what stays.
    temporary_bytes: what one job puts on disk while it runs.
    """

    rule: str
    jobs: int
    rows: float
    seconds: float
    longest: float
    memory_bytes: float
    disk_bytes: float
    most_rows: float
    most_seconds: float
    most_longest: float
    threads: int = 1
    on_gpu: bool = False
    temporary_bytes: float = 0.0

    def jobs_at_once(self, cores: int, gpus: int) -> int:
        """How many jobs of this rule run side by side; a GPU takes one at a time."""
        places = max(gpus, 1) if self.on_gpu else max(cores // self.threads, 1)
        return min(self.jobs, places)

    def wall_seconds(self, cores: int, gpus: int, *, most: bool = False) -> float:
        """Time from the first job's start to the last job's end: the work over the places, or the longest job."""
        seconds, longest = (self.most_seconds, self.most_longest) if most else (self.seconds, self.longest)
        threads = min(self.threads, cores)
        return max(seconds / self.jobs_at_once(cores, gpus), longest) / threads if self.jobs else 0.0


@dataclass(frozen=True)
class Plan:
    """The rules in the order of the workflow, and what they run on."""

    rules: Sequence[RuleEstimate]
    cores: int
    gpus: int

    @property
    def core_seconds(self) -> float:
        """Work of all jobs together."""
        return sum(rule.seconds for rule in self.rules)

    @property
    def jobs(self) -> int:
        """Number of all jobs, rule `all` included, as `snakemake --dry-run` counts them."""
        return sum(rule.jobs for rule in self.rules) + 1

    def wall_seconds(self, *, most: bool = False) -> float:
        """Time of the whole run, stage after stage."""
        return sum(rule.wall_seconds(self.cores, self.gpus, most=most) for rule in self.rules)

    @property
    def disk_bytes(self) -> float:
        """What the finished run takes."""
        return sum(rule.disk_bytes for rule in self.rules)

    @property
    def temporary_bytes(self) -> float:
        """The most that jobs side by side put on disk besides."""
        return max(rule.temporary_bytes * rule.jobs_at_once(self.cores, self.gpus) for rule in self.rules)

    @property
    def memory_bytes(self) -> float:
        """The most that the jobs side by side take, with Snakemake itself."""
        return SNAKEMAKE_MEMORY + max(
            rule.memory_bytes * rule.jobs_at_once(self.cores, self.gpus) for rule in self.rules
        )

    @property
    def largest_job(self) -> RuleEstimate:
        """The rule whose jobs take most memory."""
        return max(self.rules, key=lambda rule: rule.memory_bytes)
