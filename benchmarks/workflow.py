"""What does the workflow cost beside calls of the library: its own time, a process a job, records of provenance?

    make bench-workflow [ROUNDS=3]      or: python -m benchmarks.workflow --rounds 3

A ladder of four ways to make the results of the preset `quick`, each the one above and something more: all jobs in one
process; the same with provenance; a process a job; Snakemake. One core and one thread each, and every byte is compared.
Then the dry run of a finished run of 5 folds and 3 models. Writes benchmarks/results/workflow.json and the table in
benchmarks/README.md.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.publishing import (
    FOLDER,
    circumstances,
    judged,
    machine,
    measured_on,
    parser_with_rounds,
    publish,
    target_lines,
    versions_text,
)
from ehr_attack.lineage.records import GATHERED, RECORDS

LIBRARY, RECORDED, PROCESSES, WORKFLOW, PLAN = "library", "with provenance", "a process a job", "workflow", "dry run"
STEPS = {
    LIBRARY: "the library: all jobs in one process",
    RECORDED: "the same, each job recording its provenance",
    PROCESSES: "the same, each job in a process of its own: Python and its imports",
    WORKFLOW: "**the workflow**: `snakemake --cores 1`",
}
_PARTS = ("Snakefile", "config.yaml", "workflow", "scripts", "profiles", "envs")
_QUICK = ("--configfile", "workflow/presets/quick.yaml")
_LARGE = {
    "run": {"name": "large"},
    "synthetic": {"stays": 200},
    "folds": {"count": 5},
    "training": {"models": ["lstm", "gru", "logistic"], "epochs": 1},
    "attack": {"modes": ["ista"], "lambdas": {"count": 2}, "steps": 5, "max_stays": 4},
    "susceptibility": {"bootstrap": 20, "null_cohort": "none"},
    "plots": {"dpi": 40},
}
_OVERHEAD, _DRY_RUN_SECONDS = 0.25, 5.0

Taken = dict[str, float]


@dataclass(frozen=True)
class Project:
    """A copy of the workflow, in which commands are measured."""

    folder: Path

    def measured(self, *command: str) -> Taken:
        """Seconds of the clock, and of the work of all its processes, that a Python command takes here."""
        log = self.folder.with_suffix(".log")
        one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        path = {"PYTHONPATH": os.pathsep.join([str(self.folder / "scripts"), str(FOLDER.parent)])}
        start = time.perf_counter()
        with log.open("ab") as out:
            process = subprocess.Popen(
                [sys.executable, *command], cwd=self.folder, env=os.environ | one_thread | path, stdout=out, stderr=out
            )
            _, status, used = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"{log}: {' '.join(command)} failed")
        return {"seconds": time.perf_counter() - start, "cpu_seconds": used.ru_utime + used.ru_stime}

    def results(self, name: str) -> dict[str, bytes]:
        """The results of a run by file, without what tells times and how they were made."""
        run = self.folder / "results" / name
        files = {path.relative_to(run): path for path in run.rglob("*") if path.is_file()}
        aside = ("logs", "benchmarks", RECORDS)
        return {
            str(file): path.read_bytes()
            for file, path in files.items()
            if file.parts[0] not in aside and file.name != GATHERED
        }


def copy_project(folder: Path) -> Project:
    """The workflow of this checkout in a folder of its own."""
    folder.mkdir()
    for part in _PARTS:
        source = FOLDER.parent / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / part)
    return Project(folder)


def main() -> None:
    """Run the benchmark and write its results."""
    arguments = parser_with_rounds(__doc__, 3, "each way").parse_args()
    with tempfile.TemporaryDirectory(prefix="ehr-attack-bench-") as scratch:
        result = benchmark(Path(scratch), arguments.rounds)
    publish("workflow", result, report(result), arguments.out)


def benchmark(scratch: Path, rounds: int) -> dict[str, Any]:
    """Measure the ladder in `rounds` rounds, then dry runs as often."""
    load = os.getloadavg()[0]
    measured: dict[str, list[Taken]] = {}
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", flush=True)
        jobs, equal, taken = climb(scratch / str(number))
        for step, seconds in taken.items():
            measured.setdefault(step, []).append(seconds)
        if not equal:
            raise SystemExit("the library and the workflow did not write the same bytes")
    large, dry_runs = measure_dry_run(scratch / "large", rounds)
    return judged_result(
        {
            "rounds": rounds,
            "jobs": jobs,
            "taken": {step: _best(rounds_of) for step, rounds_of in measured.items()},
            "large": {"jobs": large, "dry_run": _best(dry_runs)},
            **measured_on(load, ("snakemake", "torch", "pandas")),
        }
    )


def climb(folder: Path) -> tuple[int, bool, dict[str, Taken]]:
    """One round of the ladder, from the workflow down; returns the jobs, whether all bytes are equal, and the times."""
    project = copy_project(folder)
    plan, taken = str(folder.with_suffix(".plan")), {}
    taken[PLAN] = project.measured("-m", "snakemake", "--cores", "1", "--dry-run", "--quiet", *_QUICK)
    taken[WORKFLOW] = project.measured("-m", "snakemake", "--cores", "1", *_QUICK)
    expected = project.results("quick")
    jobs = len(list((folder / "results/quick" / RECORDS).glob("*.json")))
    equal = []
    for step in (PROCESSES, RECORDED, LIBRARY):
        shutil.rmtree(folder / "results")
        shutil.rmtree(folder / ".snakemake")
        project.measured("-m", "benchmarks.job_plan", plan, *_QUICK)
        run = ("-m", "benchmarks.one_process", plan)
        if step == PROCESSES:
            parts = [project.measured(*run, "--records", "--only", str(job)) for job in range(jobs)]
            taken[step] = {key: sum(part[key] for part in parts) for key in parts[0]}
        else:
            taken[step] = project.measured(*run, *(["--records"] if step == RECORDED else []))
        equal.append(project.results("quick") == expected)
    return jobs, all(equal), taken


def measure_dry_run(folder: Path, rounds: int) -> tuple[int, list[Taken]]:
    """The dry run of a finished run of 5 folds and 3 models: its jobs, and what each of `rounds` dry runs takes."""
    project = copy_project(folder)
    (folder / "large.yaml").write_text(yaml.safe_dump(_LARGE), encoding="utf-8")
    large = ("--configfile", "large.yaml")
    print("a run of 5 folds and 3 models", flush=True)
    project.measured("-m", "snakemake", "--cores", str(machine()["cores"]), *large)
    jobs = len(list((folder / "results/large" / RECORDS).glob("*.json")))
    return jobs, [project.measured("-m", "snakemake", "--cores", "1", "--dry-run", *large) for _ in range(rounds)]


def _best(rounds: list[Taken]) -> Taken:
    return {key: min(taken[key] for taken in rounds) for key in ("seconds", "cpu_seconds")}


def judged_result(result: dict[str, Any]) -> dict[str, Any]:
    """`result` with its targets. The overhead is that of processor time: other work on the machine adds none to it."""
    taken, dry_run = result["taken"], result["large"]["dry_run"]
    overhead = taken[WORKFLOW]["cpu_seconds"] / taken[LIBRARY]["cpu_seconds"] - 1
    asked = [
        (
            "overhead on the quick preset beside the library in one process under 25 %, or explained",
            f"{100 * overhead:.0f} % of processor time: explained above",
            overhead < _OVERHEAD,
        ),
        (
            "`snakemake -n` on a finished run of 5 folds and 3 models under 5 s",
            f"{dry_run['seconds']:.1f} s ({dry_run['cpu_seconds']:.1f} s of the processor)",
            dry_run["seconds"] < _DRY_RUN_SECONDS,
        ),
    ]
    return result | {"overhead": overhead, "targets": judged(asked)}


def report(result: dict[str, Any]) -> list[str]:
    """The results as lines of Markdown."""
    taken, jobs = result["taken"], result["jobs"]
    lines = [
        f"{circumstances(result)}; one core, one thread, best of {result['rounds']} round(s); {versions_text(result)}.",
        "",
        f"| the {jobs} jobs of the preset `quick` | CPU s | s | more than the line above, CPU s | a job |",
        "| --- | --- | --- | --- | --- |",
    ]
    above = 0.0
    for step, label in STEPS.items():
        cpu = taken[step]["cpu_seconds"]
        more = (f"{cpu - above:.1f}", f"{(cpu - above) / jobs:.2f}") if above else ("", "")
        lines.append(f"| {label} | {cpu:.1f} | {taken[step]['seconds']:.1f} | {more[0]} | {more[1]} |")
        above = cpu
    added = {step: taken[step]["cpu_seconds"] - taken[LIBRARY]["cpu_seconds"] for step in STEPS}
    share, each = (added[PROCESSES] - added[RECORDED]) / added[WORKFLOW], added[WORKFLOW] / jobs
    lines += [
        "",
        f"The results have the same bytes all four ways. {100 * share:.0f} % of what the workflow adds are the starts "
        f"of {jobs} processes that import what they use; planning, as in a dry run of the same, takes "
        f"{taken[PLAN]['cpu_seconds']:.1f} s. Both depend on the number of jobs, not on the number of patients: it is "
        f"{each:.1f} s a job, less than 25 % where jobs work for {each / _OVERHEAD:.0f} s or more in the mean; here "
        f"they work for {taken[LIBRARY]['cpu_seconds'] / jobs:.1f} s.",
        "",
        f"A finished run of 5 folds and 3 models has {result['large']['jobs']} jobs.",
        "",
        *target_lines(result),
    ]
    return lines


if __name__ == "__main__":
    main()
