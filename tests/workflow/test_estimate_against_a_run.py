"""The estimate of a small run against the run itself."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest


@pytest.fixture(scope="module")
def results(finished) -> Path:
    return finished.folder / "results" / "small"


@pytest.fixture(scope="module")
def estimated(finished, tmp_path_factory):
    """The estimate for the finished run's own config, made before looking at its files."""
    return estimate(finished.folder, tmp_path_factory.mktemp("estimate"))


def estimate(project: Path, folder: Path, *arguments: str) -> dict:
    """What `ehr-attack estimate` writes as JSON, with the rules by name."""
    file = folder / "estimate.json"
    command = [sys.executable, "-m", "ehr_attack.cli", "estimate", "--directory", str(project), "--json", str(file)]
    done = subprocess.run(
        [*command, *arguments],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    data = json.loads(file.read_text())
    return data | {"rules": {rule["rule"]: rule for rule in data["rules"]}, "printed": done.stdout}


def rows(paths) -> int:
    return sum(pq.read_metadata(path).num_rows for path in paths)


def size(folder: Path) -> int:
    """Bytes of all files below a folder, without the records of how they were made, which the estimate leaves out."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "provenance.json"]
    return sum(path.stat().st_size for path in files if path.parent.name != "provenance")


def test_jobs_are_those_that_snakemake_plans(finished, estimated):
    planned = finished.stale_rules("--forceall")
    assert {name: rule["jobs"] for name, rule in estimated["rules"].items()} == planned
    assert estimated["total"]["jobs"] == sum(planned.values()) + 1  # rule all


def test_jobs_of_a_search_of_mistakes_and_of_the_null_cohort_are_counted_too(finished, tmp_path):
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(
        "training: {models: [lstm, logistic], tune: true, tuning: {trials: 2}}\n"
        "attack: {modes: [ista, sun2018], shards: 2}\n"
        "features: {imputation: linear}\n"
        "audit: {mistakes: [transposed_axis, look_ahead_interpolation]}\n"
        "susceptibility: {null_cohort: all}\n"
    )
    planned = finished.stale_rules("--forceall", "--configfile", str(overlay))
    rules = estimate(finished.folder, tmp_path, "--configfile", str(overlay))["rules"]
    assert {"tune", "plot_tuning", "look_ahead_features", "audit_of_mistakes", "null_cohort"} < set(planned)
    assert {name: rule["jobs"] for name, rule in rules.items()} == planned


def test_the_sample_is_the_whole_cohort_so_its_counts_are_exact(results, estimated):
    rules = estimated["rules"]
    assert estimated["source"]["exact"]
    assert estimated["cohort_stays"] == rows([results / "extract/stays.parquet"])
    assert rules["stage"]["rows"] == rows((results / "extract/staged").glob("*.parquet"))
    assert rules["audit"]["rows"] == rows((results / "audit").glob("*.parquet"))
    assert rules["extract"]["rows"] == rows([results / "extract/measurements.parquet"])
    assert rules["features"]["rows"] == rows([results / "features/features.parquet"])
    assert rules["train"]["rows"] == rows(results.glob("models/*/*/*/predictions.parquet"))


def test_outcome_rows_are_exact_where_max_stays_decides(results, estimated):
    """Six stays a fold, two lambdas, two folds, two modes; each fold has more than six stays classified correctly."""
    written = rows(results.glob("attacks/*/*/*/*/outcomes.parquet"))
    assert written == 6 * 2 * 2 * 2
    assert estimated["rules"]["attack"]["rows"] == estimated["rules"]["attack"]["rows_at_most"] == written
    assert estimated["rules"]["merge_attack"]["rows"] == written


def test_outcome_rows_are_bounded_where_the_model_decides(finished, estimated, tmp_path):
    overlay = tmp_path / "all.yaml"
    overlay.write_text("attack: {max_stays: null}\n")
    attack = estimate(finished.folder, tmp_path, "--configfile", str(overlay))["rules"]["attack"]
    stays = estimated["cohort_stays"]
    assert attack["rows_at_most"] == stays * 2 * 2  # every stay is held out once; two lambdas, two modes
    assert attack["rows"] == pytest.approx(0.75 * attack["rows_at_most"])
    assert attack["rows"] > estimated["rules"]["attack"]["rows"]
    assert attack["seconds"] < attack["seconds_at_most"]


def test_disk_of_the_first_stages_is_exact(results, estimated):
    """The same records give the same bytes, however many threads wrote them."""
    rules = estimated["rules"]
    assert rules["synthetic"]["disk_bytes"] == size(results / "source")
    assert rules["stage"]["disk_bytes"] == size(results / "extract/staged")
    assert rules["audit"]["disk_bytes"] == size(results / "audit")
    extracted = [results / "extract" / name for name in ("stays.parquet", "measurements.parquet")]
    # A few bytes in the stays are their own source's name.
    assert rules["extract"]["disk_bytes"] == pytest.approx(sum(path.stat().st_size for path in extracted), rel=1e-3)
    assert rules["features"]["disk_bytes"] == size(results / "features")


def test_disk_of_every_stage_is_within_a_factor_of_three(results, estimated):
    rules = estimated["rules"]
    written = {
        ("train", "evaluate"): size(results / "models"),
        ("attack", "merge_attack"): size(results / "attacks"),
        ("susceptibility",): size(results / "susceptibility"),
        ("plot_cohort",): sum(path.stat().st_size for path in (results / "figures").glob("flow.*")),
        ("plot_cohort", "plot_model", "plot_attack"): size(results / "figures"),
        ("tables",): size(results / "tables"),
        ("report",): size(results / "report"),
    }
    for names, actual in written.items():
        expected = sum(rules[name]["disk_bytes"] for name in names)
        assert actual / 3 < expected < actual * 3, names
    # In so small a run no attack succeeds on some sides, and such a patient's figure is all but empty.
    assert 0 < size(results / "private") < rules["plot_patients"]["disk_bytes"]
    assert size(results) / 1.5 < estimated["total"]["disk_bytes"] < size(results) * 1.5


def test_checkpoints_are_exact(results, estimated):
    """All that varies beside the weights are a few kilobytes of JSON and Parquet."""
    weights = sum(path.stat().st_size for path in results.glob("models/*/*/*/model.safetensors"))
    assert 0 < estimated["rules"]["train"]["disk_bytes"] - weights < 2 * 20_000


def test_memory_is_not_less_than_what_a_job_takes_to_start(estimated):
    """A process that has imported what a training job imports, and done nothing."""
    if not Path("/proc/self/status").exists():
        pytest.skip("the peak memory of a process itself is read from /proc")
    # Not ru_maxrss: that of a child begins with what the process that started it held.
    code = (
        "import re, ehr_attack.training; print(re.search(r'VmHWM:\\s+(\\d+) kB', open('/proc/self/status').read())[1])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    started = int(done.stdout) * 1024
    for name in ("train", "attack"):
        assert started < estimated["rules"][name]["memory_bytes"] < 5 * started
    assert estimated["total"]["memory_bytes"] > started


def test_time_is_positive_and_grows_with_the_work(finished, estimated, tmp_path):
    overlay = tmp_path / "more.yaml"
    overlay.write_text("training: {epochs: 2000}\nattack: {steps: 3000, lambdas: {count: 50}}\n")
    more = estimate(finished.folder, tmp_path, "--configfile", str(overlay))
    assert all(rule["seconds"] > 0 and rule["wall_seconds"] > 0 for rule in estimated["rules"].values())
    for name in ("train", "attack"):
        assert more["rules"][name]["seconds"] > 2 * estimated["rules"][name]["seconds"]
    assert more["total"]["wall_seconds"] > estimated["total"]["wall_seconds"]


def test_what_is_printed_names_each_rule_and_no_path(finished, estimated):
    lines = [line.split()[0] for line in estimated["printed"].splitlines() if line]
    assert set(estimated["rules"]) <= set(lines)
    assert str(finished.folder) not in estimated["printed"]
    assert re.search(r"^Disk: +about [\d.]+ MB; [\d.,]+ [MGT]B free here$", estimated["printed"], flags=re.MULTILINE)


def test_nothing_is_written_but_the_json_file(finished, tmp_path):
    before = sorted(path for path in finished.folder.rglob("*") if "__pycache__" not in path.parts)
    estimate(finished.folder, tmp_path)
    assert sorted(path for path in finished.folder.rglob("*") if "__pycache__" not in path.parts) == before
    assert [path.name for path in tmp_path.iterdir()] == ["estimate.json"]
