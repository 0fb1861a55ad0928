"""How fast is the attack, and how small are its flips? Beside the published algorithm, ART and foolbox.

    make bench-attack [STAYS=256] [LAMBDAS=25]        or: python -m benchmarks.attack --stays 256 --lambdas 25

Correctly classified held-out stays of PhysioNet 2012 (`benchmarks.victims`), attacked by each contender in a process of
its own (two for ours on two cores). Writes benchmarks/results/attack.json and the table in benchmarks/README.md.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.attack_contenders import Contender, contenders, run_all
from benchmarks.attack_files import Outcome, load_problem, write_settings
from benchmarks.attack_measures import (
    RowTable,
    best_flips,
    compared_flags,
    explained,
    peaks,
    ratio_of_smallest,
    row_step_flop,
)
from benchmarks.attack_report import REFERENCE, headline, report, speedups, targets
from benchmarks.publishing import FOLDER, measured_on, publish
from benchmarks.victims import Cohort, prepare

LOWEST, HIGHEST, RATE = 0.0005, 0.015, 0.02
"""The paper's grid of lambdas, and the authors' rate."""

STUDY = FOLDER / "study_training.yaml"


def main() -> None:
    """Run the benchmark and write its results."""
    arguments = _arguments()
    work: Path = arguments.work
    problem = work.absolute() / "problem"
    cohort = prepare(problem, work / "workflow", arguments.shared, arguments.stays, [STUDY, *arguments.overlay])
    write_settings(problem, np.geomspace(LOWEST, HIGHEST, arguments.lambdas).tolist(), arguments.steps, RATE)
    result = benchmark(problem, cohort, contenders(arguments.tools and arguments.tools.absolute(), arguments.sample))
    publish("attack", result, report(result), arguments.out)


def benchmark(problem_folder: Path, cohort: Cohort, entrants: Sequence[Contender]) -> dict[str, Any]:
    """Let all `entrants` attack the stays in `problem_folder`, and compare them."""
    load = os.getloadavg()[0]
    problem = load_problem(problem_folder)
    flop = row_step_flop(problem)
    before = peaks()
    outcomes, failures = run_all(entrants, problem_folder)
    peak = {threads: max(value, before[threads]) for threads, value in peaks().items()}
    by_key = {entrant.key: entrant for entrant in entrants}
    reference = RowTable.of(outcomes[REFERENCE], len(problem.lambdas))
    measured = {key: _measured(by_key[key], outcome, flop, peak) for key, outcome in outcomes.items()}
    for key, outcome in outcomes.items():
        measured[key] |= best_flips(problem, outcome)
        if by_key[key].same_update:
            measured[key] |= compared_flags(reference, RowTable.of(outcome, len(problem.lambdas)))
    exact = headline(measured, pruned=False)
    compared = exact or REFERENCE
    result: dict[str, Any] = {
        **asdict(cohort),
        "stays": len(problem.inputs),
        "lambdas": len(problem.lambdas),
        "steps": problem.steps,
        "grid_row_steps": int(reference.steps.sum()),
        "peak_gflops": peak,
        "flop_per_row_step": flop,
        "contenders": measured,
        "not_run": failures,
        "differing_rows": explained(problem, reference, RowTable.of(outcomes[compared], len(problem.lambdas))),
        **measured_on(load, ("torch",)),
    }
    result["versions"] |= _versions(outcomes)
    result |= speedups(result)
    result["l1_of_art_to_ead"] = ratio_of_smallest(problem, outcomes, "art_elastic_net", "ead")
    return result | {"targets": targets(result)}


def _measured(entrant: Contender, outcome: Outcome, flop: float, peak: dict[int, float]) -> dict[str, Any]:
    seconds = outcome.clock.ended - outcome.clock.started
    microseconds = 1e6 * seconds / outcome.row_steps
    return {
        "label": entrant.label,
        "kind": entrant.kind,
        "threads": entrant.threads,
        "sample": entrant.sample,
        "pruned": entrant.pruned,
        "path": outcome.notes.get("path"),
        "seconds": seconds,
        "cpu_seconds": outcome.clock.cpu_seconds,
        "row_steps": outcome.row_steps,
        "us_per_row_step": microseconds,
        "cpu_us_per_row_step": 1e6 * outcome.clock.cpu_seconds / outcome.row_steps,
        "peak_share": flop / microseconds / 1e3 / peak[entrant.threads],
        "notes": outcome.notes,
    }


def _versions(outcomes: dict[str, Outcome]) -> dict[str, str]:
    found: dict[str, str] = {}
    for outcome in outcomes.values():
        found |= {name: number for name, number in outcome.notes.get("versions", {}).items() if name != "torch"}
    return found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    shared = Path(os.environ.get("EHR_ATTACK_SHARED", FOLDER.parents[1] / "shared"))
    parser.add_argument("--stays", type=int, default=256, help="how many stays are attacked")
    parser.add_argument("--lambdas", type=int, default=25, help="how many weights of |d|_1 the grid has")
    parser.add_argument("--steps", type=int, default=100, help="updates before a row is given up")
    parser.add_argument(
        "--sample", type=int, default=1600, help="rows by which the published algorithm is timed on 2 threads"
    )
    parser.add_argument("--shared", type=Path, default=shared, help="folder whose data/physionet2012 holds set A")
    parser.add_argument(
        "--work", type=Path, default=FOLDER / "data" / "attack", help="where models and outcomes are kept"
    )
    parser.add_argument("--tools", type=Path, help="Python of the environment of ART and foolbox; left out without it")
    parser.add_argument(
        "--overlay", type=Path, action="append", default=[], help="a config file for the workflow's part"
    )
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of README.md and results/")
    arguments = parser.parse_args()
    for name in ("stays", "lambdas", "steps", "sample"):
        if getattr(arguments, name) < 1:
            parser.error(f"--{name}: expected at least 1")
    return arguments


if __name__ == "__main__":
    main()
