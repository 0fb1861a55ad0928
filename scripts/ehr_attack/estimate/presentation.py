"""The estimate in words: a table a rule a line, totals, assumptions, warnings; and the same as plain data for JSON."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ehr_attack.attacks import CHUNK_ROWS
from ehr_attack.estimate import constants as known
from ehr_attack.estimate.calibration import Calibration
from ehr_attack.estimate.machine import Machine
from ehr_attack.estimate.pilot import Pilot
from ehr_attack.estimate.plan import Plan, RuleEstimate
from ehr_attack.estimate.workload import CORRECT_SHARE, Workload
from ehr_attack.suppression import is_small

LONG_JOB_SECONDS = 4 * 3600
"""The time that the rules ask a cluster for, for one training or attack job."""

_WIDTH = 118
_UNEVEN = " The beginning of an event table need not be like the rest: its counts may be wrong by a factor of two."
_HEADER = ("rule", "jobs", "rows", "time", "at most", "memory a job", "disk")


@dataclass(frozen=True)
class Estimate:
    """The checked config, what was measured, and what follows from it."""

    config: Mapping[str, Any]
    pilot: Pilot
    calibration: Calibration
    work: Workload
    plan: Plan
    machine: Machine


def as_text(estimate: Estimate) -> str:
    """The whole estimate for a terminal."""
    calibration, work, plan, machine = estimate.calibration, estimate.work, estimate.plan, estimate.machine
    parts = [
        _heading(estimate),
        _table(plan),
        _totals(plan, machine, gpu_text(calibration, gpu_bytes(calibration, work, estimate.config))),
        "What this rests on\n" + _bullets(assumptions(estimate)),
    ]
    if found := warnings(plan, machine, work):
        parts.append("Warnings\n" + _bullets(found))
    return "\n\n".join(parts)


def as_data(estimate: Estimate) -> dict[str, Any]:
    """The same numbers as plain data: bytes, seconds, counts."""
    config, pilot, calibration = estimate.config, estimate.pilot, estimate.calibration
    work, plan, machine = estimate.work, estimate.plan, estimate.machine
    return {
        "run": config["run"]["name"],
        "source": {"kind": config["source"]["kind"], "sample": pilot.sample, "exact": pilot.exact},
        "cohort_stays": pilot.stays,
        "variables": pilot.variables,
        "machine": {
            "cores": machine.cores,
            "memory_bytes": machine.memory_bytes,
            "disk_bytes": machine.disk_bytes,
            "load": machine.load,
            "gpus": calibration.gpus,
        },
        "rules": [
            {
                "rule": rule.rule,
                "jobs": rule.jobs,
                "rows": rule.rows,
                "rows_at_most": rule.most_rows,
                "seconds": rule.seconds,
                "seconds_at_most": rule.most_seconds,
                "wall_seconds": rule.wall_seconds(plan.cores, plan.gpus),
                "memory_bytes": rule.memory_bytes,
                "disk_bytes": rule.disk_bytes,
                "temporary_bytes": rule.temporary_bytes,
                "device": _device(rule, calibration),
            }
            for rule in plan.rules
        ],
        "total": {
            "jobs": plan.jobs,
            "wall_seconds": plan.wall_seconds(),
            "wall_seconds_at_most": plan.wall_seconds(most=True),
            "core_seconds": plan.core_seconds,
            "memory_bytes": plan.memory_bytes,
            "disk_bytes": plan.disk_bytes,
            "temporary_bytes": plan.temporary_bytes,
        },
        "gpu_bytes": gpu_bytes(calibration, work, config),
        "assumptions": assumptions(estimate),
        "warnings": warnings(plan, machine, work),
    }


def gpu_bytes(calibration: Calibration, work: Workload, config: Mapping[str, Any]) -> dict[str, Any]:
    """GPU memory of a training and an attack job: measured, or (`measured` false) worked out from the activations."""
    train = max(
        cost.gpu_bytes or cost.activation_bytes * known.COPIES_OF_ACTIVATIONS * config["training"]["batch_size"]
        for cost in calibration.models.values()
    )
    chunk_rows = config["attack"]["chunk_rows"] or CHUNK_ROWS["cuda"]
    kept = max(cost.activation_bytes for cost in calibration.models.values())
    attack = max(
        cost.gpu_bytes or kept * known.COPIES_OF_ACTIVATIONS * chunk_rows for cost in calibration.attacks.values()
    )
    cell = known.GPU_BYTES_A_CELL * work.cells
    return {
        "measured": calibration.train_device == calibration.attack_device == "cuda",
        "train": known.CUDA_CONTEXT_BYTES + train + work.stays * cell,
        "attack": known.CUDA_CONTEXT_BYTES + attack + 2 * work.attacked() * cell,
    }


def gpu_text(calibration: Calibration, need: Mapping[str, Any]) -> str:
    """What a GPU is needed for, or would need."""
    size = f"{bytes_text(need['train'])} a training job, {bytes_text(need['attack'])} an attack job"
    if "cuda" in (calibration.train_device, calibration.attack_device):
        count = f"{calibration.gpus} GPU{'s' if calibration.gpus > 1 else ''}"
        return f"{count} here, one training or attack job at a time on each; about {size}"
    return f"none needed, none used here; on one, about {size}"


def assumptions(estimate: Estimate) -> list[str]:
    """What the numbers rest on, one sentence each."""
    config, pilot, calibration, work = estimate.config, estimate.pilot, estimate.calibration, estimate.work
    limit = "all" if work.max_stays is None else f"at most {work.max_stays:,} (attack.max_stays)"
    steps = config["attack"]["steps"]
    return [
        f"The stages up to the features were run on {pilot.sample} and "
        + ("need no scaling." if pilot.exact else "scaled to the whole in proportion.")
        + (_UNEVEN if config["source"]["kind"] in ("mimic3", "mimic4") and not pilot.exact else ""),
        f"Training and attack steps were timed on random inputs of {work.cells:,} cells a stay "
        f"(training on {calibration.train_device}, attack on {calibration.attack_device}), one thread a job, on this "
        "machine as busy as it is.",
        f"Of the held-out stays of a fold {CORRECT_SHARE:.0%} are classified correctly, and of these {limit} are "
        f"attacked, each at {work.lambdas} lambdas.",
        f"`time` takes the updates that rows needed on average in measured runs ({known.UPDATES_SOURCE}); "
        f"`at most` is what it takes when no row flips before its last step ({steps}) and every stay is classified "
        "correctly.",
        "Jobs run side by side as cores (or GPUs) allow, and rule after rule; sizes of figures and of changed cells, "
        "and the memory of libraries, are those of measured runs.",
    ]


def warnings(plan: Plan, machine: Machine, work: Workload) -> list[str]:
    """What is not enough here, each with what to do."""
    found = []
    if plan.disk_bytes + plan.temporary_bytes > machine.disk_bytes:
        found.append(
            f"Disk: about {bytes_text(plan.disk_bytes + plan.temporary_bytes)} are needed, temporary files included, "
            f"and {bytes_text(machine.disk_bytes)} are free. Free some, or run on another disk: snakemake --directory."
        )
    if machine.memory_bytes is not None and plan.memory_bytes > machine.memory_bytes:
        found.append(_memory_warning(plan, machine.memory_bytes))
    longest = max(plan.rules, key=lambda rule: rule.most_longest)
    if longest.most_longest > LONG_JOB_SECONDS:
        key = "Raise attack.shards" if longest.rule == "attack" else "Raise the rule's runtime"
        found.append(
            f"Time: one job of rule {longest.rule} takes about {seconds_text(longest.longest)} (at most "
            f"{seconds_text(longest.most_longest)}); on a cluster the rules ask for {seconds_text(LONG_JOB_SECONDS)} "
            f"at most. {key}."
        )
    if machine.load > machine.cores:
        found.append(
            f"This machine is busy (load {machine.load:.1f} on {machine.cores} cores): the times were measured under "
            "that load, and are shorter without it."
        )
    if work.stays / work.sets < 100:
        found.append(
            f"The cohort is small: {stays_text(work.held_out)} stays a fold. The run will work, but its results will "
            "mean little."
        )
    return found


def _memory_warning(plan: Plan, available: int) -> str:
    job = plan.largest_job
    fitting = int((available - known.SNAKEMAKE_MEMORY) // job.memory_bytes)
    need = f"Memory: about {bytes_text(plan.memory_bytes)} are needed and {bytes_text(available)} are available. "
    if fitting < 1:
        return need + f"Even one job of rule {job.rule} needs {bytes_text(job.memory_bytes)}: use a larger machine."
    return need + f"With --cores {fitting} it fits."


def _heading(estimate: Estimate) -> str:
    config, pilot, work = estimate.config, estimate.pilot, estimate.work
    about = "" if pilot.exact else "about "
    parts = f"{work.folds} folds, {work.seeds} seed{'s' if work.seeds > 1 else ''}"
    return (
        f"Estimate for results/{config['run']['name']} (source {config['source']['kind']}, "
        f"{about}{stays_text(pilot.source_stays)} stays, of which {about}{stays_text(pilot.stays)} in the cohort; "
        f"{pilot.variables} variables, {parts}, models {', '.join(work.models)}, modes {', '.join(work.modes)})"
    )


def _table(plan: Plan) -> str:
    rows = [_HEADER, *(_row(rule, plan) for rule in plan.rules), _total_row(plan)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    lines = [
        "  ".join(cell.ljust(width) if column == 0 else cell.rjust(width) for column, (cell, width) in enumerate(cells))
        for cells in (list(zip(row, widths, strict=True)) for row in rows)
    ]
    rule = "-" * len(lines[0])
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def _row(rule: RuleEstimate, plan: Plan) -> tuple[str, ...]:
    about, most = (rule.wall_seconds(plan.cores, plan.gpus, most=upper) for upper in (False, True))
    return (
        rule.rule,
        f"{rule.jobs:,}",
        stays_text(rule.rows) if rule.rows else "",
        seconds_text(about),
        seconds_text(most) if most > about else "",
        bytes_text(rule.memory_bytes),
        bytes_text(rule.disk_bytes),
    )


def _total_row(plan: Plan) -> tuple[str, ...]:
    return (
        "total",
        f"{plan.jobs:,}",
        "",
        seconds_text(plan.wall_seconds()),
        seconds_text(plan.wall_seconds(most=True)),
        "",
        bytes_text(plan.disk_bytes),
    )


def _totals(plan: Plan, machine: Machine, gpu: str) -> str:
    memory = "unknown" if machine.memory_bytes is None else bytes_text(machine.memory_bytes)
    spilled = f", and up to {bytes_text(plan.temporary_bytes)} for a time" if plan.temporary_bytes else ""
    lines = {
        "Time": f"about {seconds_text(plan.wall_seconds())} (at most {seconds_text(plan.wall_seconds(most=True))}) "
        f"on {plan.cores} core{'s' if plan.cores > 1 else ''}; {seconds_text(plan.core_seconds)} of computing",
        "Memory": f"about {bytes_text(plan.memory_bytes)} for all that runs side by side; {memory} available here",
        "Disk": f"about {bytes_text(plan.disk_bytes)}{spilled}; {bytes_text(machine.disk_bytes)} free here",
        "GPU": gpu,
    }
    return "\n".join(f"{name + ':':8s}{text}" for name, text in lines.items())


def _bullets(texts: Sequence[str]) -> str:
    return "\n".join(textwrap.fill(text, _WIDTH, initial_indent="- ", subsequent_indent="  ") for text in texts)


def _device(rule: RuleEstimate, calibration: Calibration) -> str:
    return {"train": calibration.train_device, "attack": calibration.attack_device}.get(rule.rule, "cpu")


def stays_text(count: float) -> str:
    """A count of records with thousands separated; small ones are not told apart."""
    return "fewer than 10" if is_small(round(count)) else f"{round(count):,}"


def bytes_text(count: float) -> str:
    """Bytes in the unit that suits them, to two or three figures."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size * 0.9995:
            return f"{count / size:.2g} {unit}" if count < 10 * size else f"{count / size:,.0f} {unit}"
    return f"{max(count / 1e3, 0.0):.0f} kB"


def seconds_text(seconds: float) -> str:
    """A duration in the unit that suits it, to two figures."""
    for unit, size, limit in (("days", 86_400, 2 * 86_400), ("h", 3_600, 2 * 3_600), ("min", 60, 100)):
        if seconds >= limit:
            return f"{seconds / size:.1f} {unit}" if seconds < 10 * size else f"{seconds / size:,.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 1 else "1 s"
