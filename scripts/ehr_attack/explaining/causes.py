"""The jobs of a dry run, put together by rule and cause: what is stale by itself first, then what follows from it."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ehr_attack.errors import UserError
from ehr_attack.explaining.differences import differences
from ehr_attack.explaining.dry_run import PlannedJob
from ehr_attack.explaining.reasons import ParamsChange, read_reason
from ehr_attack.lineage.records import record_file
from ehr_attack.public_config import public_config
from ehr_attack.storage import read_json

_MOST = 5


@dataclass(frozen=True)
class Stale:
    """Some jobs of one rule that are stale for the same causes."""

    rule: str
    jobs: int
    causes: tuple[str, ...]


@dataclass(frozen=True)
class Explanation:
    """`roots` are stale by themselves; `followers`, jobs by rule, because what they read is made anew."""

    roots: list[Stale]
    followers: dict[str, int]


def explain(jobs: Sequence[PlannedJob], directory: Path, config_keys: Collection[str]) -> Explanation:
    """Put the jobs together. `directory`: where the run works, for its records; `config_keys`: dotted."""
    roots: Counter[tuple[str, tuple[str, ...]]] = Counter()
    followers: Counter[str] = Counter()
    for job in jobs:
        reason = read_reason(job.reason)
        if reason.follows:
            followers[job.rule] += 1
            continue
        causes = list(reason.words)
        if reason.params is not None:
            known = _recorded_params(directory / job.log) if job.log is not None else {}
            causes += differences(_shown(reason.params), known, config_keys, job.wildcards.get("table", ""))
        roots[job.rule, tuple(causes) or ("Snakemake gives no reason",)] += 1
    return Explanation([Stale(rule, count, causes) for (rule, causes), count in roots.items()], dict(followers))


def as_text(explanation: Explanation) -> str:
    """The explanation for people."""
    if not explanation.roots and not explanation.followers:
        return "Nothing is stale."
    lines = [f"{root.rule} ({_counted(root.jobs)}): {_listed(root.causes)}" for root in explanation.roots]
    if explanation.followers:
        following = ", ".join(f"{rule} ({jobs})" for rule, jobs in explanation.followers.items())
        lines += ["", f"Made anew since what they read is: {following}."]
        lines += ["Causes of their own, if there are any, show when what they read is made."]
    total = sum(root.jobs for root in explanation.roots) + sum(explanation.followers.values())
    return "\n".join([*lines, "", f"{_counted(total)} in all; `snakemake` runs them."])


def as_data(explanation: Explanation) -> dict[str, Any]:
    """The explanation as JSON holds it."""
    return {
        "stale": [{"rule": root.rule, "jobs": root.jobs, "causes": list(root.causes)} for root in explanation.roots],
        "follow": explanation.followers,
    }


def _recorded_params(log: Path) -> Mapping[str, Any]:
    """The params of the job by name, as its record tells them; {} where there is none that can be read."""
    try:
        record = read_json(record_file(log))
    except UserError:
        return {}
    params = record.get("params") if isinstance(record, dict) else None
    return params if isinstance(params, dict) else {}


def _shown(change: ParamsChange) -> ParamsChange:
    """As records hold params: lists for tuples, no credentials and no folders of this machine."""
    return ParamsChange(
        [public_config(value) for value in change.before], [public_config(value) for value in change.now]
    )


def _counted(jobs: int) -> str:
    return f"{jobs} job{'' if jobs == 1 else 's'}"


def _listed(causes: Sequence[str]) -> str:
    more = len(causes) - _MOST
    return "; ".join(causes[:_MOST]) + (f"; and {more} more" if more > 0 else "")
