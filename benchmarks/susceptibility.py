"""What does the analysis of susceptibility cost: of a run of 60,000 stays in memory, of an ordinary one in time?

    make bench-susceptibility [RUN_STAYS=60000]      or: python -m benchmarks.susceptibility --stays 60000

The tables are made up and streamed to disk (`made_up_attacks.py`), then read by the workflow's own function, in a
process of its own with one thread. The ordinary run is resampled the usual way (`dense_resampling.py`), too, with the
same draws. Writes benchmarks/results/susceptibility.json and the table in benchmarks/README.md.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.dense_resampling import dense_stack, resampled_s_q95
from benchmarks.made_up_attacks import HOURS, MODE, MODEL, NAMES, make_run
from benchmarks.publishing import FOLDER, circumstances, judged, measured_on, publish, target_lines, versions_text
from ehr_attack.directions import DIRECTIONS
from ehr_attack.resampling import ModelDraws
from ehr_attack.schemas.susceptibility import SELECTED
from ehr_attack.storage import read_frame
from ehr_attack.susceptibility import analyse_attacks
from ehr_attack.susceptibility.design import Design, Weights
from ehr_attack.susceptibility.measuring import measure_direction
from ehr_attack.susceptibility.rows import arrange, read_outcomes
from ehr_attack.susceptibility.spooling import spool_changes

LAMBDAS, DRAWS, ORDINARY_STAYS, LARGE_STAYS = 25, 300, 600, 60_000
MEMORY_GB, MINUTES = 2.0, 15.0
_TABLES = ("cells", "variables", "hours", "by_model", "replicates", "tradeoff", "curves", "summary")
_SEED = 1


def main() -> None:
    """Run the benchmark and write its results; with --measure, the part of it that runs in a process of its own."""
    arguments = _arguments()
    if arguments.measure:
        print(json.dumps(MEASUREMENTS[arguments.measure](arguments.folder)))
        return
    result = benchmark(arguments.stays)
    publish("susceptibility", result, report(result), arguments.out)


def benchmark(stays: int) -> dict[str, Any]:
    """Make both runs, and measure each contender in a process of its own with one thread."""
    load = os.getloadavg()[0]
    data = FOLDER / "data"
    data.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=data, prefix="susceptibility.") as scratch:
        runs = {}
        for name, size in (("ordinary", ORDINARY_STAYS), ("large", stays)):
            print(f"making up {size:,} stays x {LAMBDAS} lambdas", flush=True)
            runs[name] = prepare(Path(scratch) / name, size)
        ordinary, large = Path(scratch) / "ordinary", Path(scratch) / "large"
        measured = {
            "ordinary": measure_in_a_process("whole", ordinary),
            "replicates": measure_in_a_process("replicates", ordinary),
            "large": measure_in_a_process("whole", large),
        }
    return _judged(
        {
            "runs": runs,
            "draws": DRAWS,
            **measured,
            **measured_on(load, ("numpy", "scipy", "pyarrow", "pandas")),
        }
    )


def _judged(result: dict[str, Any]) -> dict[str, Any]:
    return result | {"targets": targets(result)}


def prepare(folder: Path, stays: int) -> dict[str, Any]:
    """Make a run in `folder` for the measurements; returns how large it is."""
    made = make_run(folder, stays, LAMBDAS)
    (folder / "paths.json").write_text(json.dumps(made), encoding="utf-8")
    size = sum(Path(path).stat().st_size for path in made["perturbations"])
    return {"stays": stays, "rows": made["rows"], "changes": made["changes"], "perturbations_mb": round(size / 1e6)}


def measure_whole(folder: Path) -> dict[str, Any]:
    """Seconds and peak memory of the workflow's analysis: every policy, basis, interval and table."""
    out = {name: str(folder / "out" / f"{name}.parquet") for name in _TABLES}
    started = time.perf_counter(), time.process_time()
    analyse_attacks(
        **_inputs(folder),
        model=MODEL,
        mode=MODE,
        variable_names=NAMES,
        window_hours=HOURS,
        resamples=DRAWS,
        out=out,
    )
    return _seconds_since(started) | {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3}


def measure_replicates(folder: Path) -> dict[str, Any]:
    """Seconds of the resamples of S_q95 of the selected attacks, the usual way and ours, and how far they are apart."""
    inputs = _inputs(folder)
    people = read_frame(inputs["stays"], ["stay_id", "subject_id"])
    outcomes = read_outcomes(inputs["outcomes"], MODE)
    subjects = people["subject_id"].to_numpy()
    attacks = arrange(outcomes, people["stay_id"].to_numpy(), subjects, (SELECTED,))
    draws = ModelDraws.drawn(attacks.patient, attacks.seed, attacks.fold, DRAWS, _SEED)
    patient_of_stay = np.zeros(len(people), dtype=np.int64)
    patient_of_stay[attacks.stay] = attacks.patient
    started = time.perf_counter(), time.process_time()
    perturbations = pd.concat(map(read_frame, inputs["perturbations"]), ignore_index=True)
    usual = []
    for direction in DIRECTIONS:
        magnitude, stay = dense_stack(outcomes, perturbations, direction, NAMES, HOURS)
        usual.append(resampled_s_q95(magnitude, draws.of_patients(patient_of_stay[stay])))
    usually, started = _seconds_since(started), (time.perf_counter(), time.process_time())
    ours = []
    # One basis, and neither models nor smaller resamples: what the usual way gives, too.
    unrecorded = np.zeros((len(people), HOURS, len(NAMES)), dtype=bool)
    with spool_changes(inputs["perturbations"], attacks, NAMES, HOURS, folder) as spooled:
        for place in range(len(DIRECTIONS)):
            design = Design.of(attacks, place)
            weights = Weights(design.membership([(None, None)]), draws.of_patients(design.patient))
            measures = measure_direction(attacks, design, weights, spooled, unrecorded, place)
            fields = measures[SELECTED, "all"].patients
            ours.append(fields["q95"] * fields["gpp"])
    measured = _seconds_since(started)
    apart = max(float(np.abs(a - b).max()) for a, b in zip(usual, ours, strict=True))
    return {"usual": usually, "ours": measured, "largest_difference": apart}


MEASUREMENTS = {"whole": measure_whole, "replicates": measure_replicates}


def targets(result: dict[str, Any]) -> list[dict[str, Any]]:
    """What was asked of the analysis, and whether it is met."""
    large, replicates = result["large"], result["replicates"]
    speedup = replicates["usual"]["cpu_seconds"] / replicates["ours"]["cpu_seconds"]
    asked = [
        (
            f"{result['runs']['large']['stays']:,} stays x {LAMBDAS} lambdas within {MEMORY_GB:g} GB of memory",
            f"{large['peak_mb'] / 1e3:.2f} GB",
            large["peak_mb"] < MEMORY_GB * 1e3,
        ),
        (
            f"within {MINUTES:g} minutes of one core's work",
            f"{large['cpu_seconds'] / 60:.1f} minutes",
            large["cpu_seconds"] < 60 * MINUTES,
        ),
        (
            "resamples equal to the usual way's within 1e-6",
            f"{replicates['largest_difference']:.1g}",
            replicates["largest_difference"] < 1e-6,
        ),
        ("the same resamples faster than the usual way", f"{speedup:.1f} times", speedup > 1),
    ]
    return judged(asked)


def report(result: dict[str, Any]) -> list[str]:
    """The table of benchmarks/README.md."""
    ordinary, large = result["runs"]["ordinary"], result["runs"]["large"]
    replicates = result["replicates"]

    def row(what: str, run: dict[str, Any], took: dict[str, Any]) -> str:
        memory = f"{took['peak_mb']:,.0f}" if "peak_mb" in took else ""
        seconds = f"{took['seconds']:,.1f} ({took['cpu_seconds']:,.1f})"
        return f"| {what} | {run['stays']:,} | {run['changes'] / 1e6:,.1f} | {seconds} | {memory} |"

    whole = "**all tables: three policies, two bases, all intervals**"
    return [
        f"{circumstances(result)}; one thread, {result['draws']} draws; {versions_text(result)}.",
        "",
        f"| step | stays (x {LAMBDAS} lambdas) | changed cells, millions | s (CPU) | peak MB |",
        "| --- | --- | --- | --- | --- |",
        row("S_q95 of the selected attacks resampled, the usual way", ordinary, replicates["usual"]),
        row("**the same, ours**", ordinary, replicates["ours"]),
        row(whole, ordinary, result["ordinary"]),
        row(whole, large, result["large"]),
        "",
        f"The perturbations of the large run take {large['perturbations_mb']:,} MB on disk.",
        "",
        *target_lines(result),
    ]


def _inputs(folder: Path) -> dict[str, Any]:
    paths = json.loads((folder / "paths.json").read_text(encoding="utf-8"))
    return {name: paths[name] for name in ("outcomes", "perturbations", "features", "stays")}


def _seconds_since(started: tuple[float, float]) -> dict[str, Any]:
    """Seconds of the clock, and of this process's own work, since `started`."""
    return {"seconds": time.perf_counter() - started[0], "cpu_seconds": time.process_time() - started[1]}


def measure_in_a_process(part: str, folder: Path) -> dict[str, Any]:
    """What one of MEASUREMENTS gives on the run in `folder`, in a process of its own with one thread."""
    print(f"measuring {part}, {folder.name}", flush=True)
    command = [sys.executable, "-m", "benchmarks.susceptibility", "--measure", part, "--folder", str(folder)]
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    done = subprocess.run(
        command, cwd=FOLDER.parent, env=os.environ | one_thread, stdout=subprocess.PIPE, text=True, check=True
    )
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the analysis of susceptibility.")
    parser.add_argument("--stays", type=int, default=LARGE_STAYS, help="stays of the large run")
    parser.add_argument("--out", type=Path, default=FOLDER, help="the folder of README.md and results/")
    parser.add_argument("--measure", choices=list(MEASUREMENTS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
