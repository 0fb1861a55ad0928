"""What a finished run makes of edits that are more than one value or file; for those see `rerun_matrix.md`."""

import os
import shutil
import subprocess
import sys

import pytest

from workflow.conftest import Project
from workflow.recorded_runs import recorded_run, write_tables

HEAVY = ("torch", "duckdb", "matplotlib", "scipy", "sklearn", "seaborn", "optuna", "plotly")
IMPORTED = """
import sys
import snakemake.cli
before = set(sys.modules)
try:
    snakemake.cli.main(["--dry-run"])
except SystemExit:
    print("imported:", *(set(sys.modules) - before))
"""


def test_a_finished_run_has_nothing_to_do(finished):
    assert finished.stale_rules() == {}


def test_a_dry_run_imports_none_of_the_packages_that_jobs_compute_with(finished):
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED], cwd=finished.folder, capture_output=True, text=True, check=True
    )
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("imported:"))
    imported = {name.partition(".")[0] for name in line.split()[1:]}
    assert "ehr_attack" in imported and not imported & set(HEAVY)


def test_swapped_values_are_noticed(project):
    project.edit_config("training.epochs", 64)
    project.edit_config("training.batch_size", 2)
    assert "train" in project.stale_rules()


def test_editing_back_is_no_edit(project):
    config = project.folder / "config.yaml"
    before = config.read_text()
    project.edit_config("attack.steps", 99)
    config.write_text(before)
    assert project.stale_rules() == {}


def test_touching_every_file_reruns_nothing(project):
    for folder, _, files in os.walk(project.folder):
        if ".snakemake" not in folder:
            for file in files:
                os.utime(os.path.join(folder, file))
    assert project.stale_rules() == {}


def test_a_run_knows_its_results_from_another_folder(finished, tmp_path):
    """`--directory`: results and records lie there, the code here."""
    folder = tmp_path / "elsewhere"
    shutil.copytree(finished.folder, folder, symlinks=True)
    for part in ("Snakefile", "workflow", "scripts", "profiles", "envs"):
        shutil.rmtree(folder / part) if (folder / part).is_dir() else (folder / part).unlink()
    assert finished.stale_rules("--directory", str(folder)) == {}
    Project(folder).edit_config("attack.steps", 7)
    assert "attack" in finished.stale_rules("--directory", str(folder))
    assert finished.stale_rules() == {}


def test_one_mode_or_model_less_and_back_attacks_nothing(project, dry_runs):
    before = (project.folder / "config.yaml").read_text()
    project.edit_config("attack.modes", ["ista"])
    assert not {"attack", "merge_attack", "susceptibility", "train"} & set(dry_runs.planned(project.folder))
    (project.folder / "config.yaml").write_text(before)
    assert dry_runs.planned(project.folder) == {}


def test_another_version_of_a_package_reruns_what_imports_it(project, dry_runs, tmp_path):
    """A package that says another version stands before the installed one, as after an upgrade."""
    metadata = tmp_path / "newer" / "safetensors-99.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: safetensors\nVersion: 99.0\n")
    stale = set(project.stale_rules(PYTHONPATH=str(tmp_path / "newer")))
    assert {"train", "attack", "transfer"} <= stale and not {"folds", "features", "extract"} & stale


@pytest.fixture(scope="module")
def from_tables(dry_runs, project_dir, tmp_path_factory) -> Project:
    return recorded_run(dry_runs, project_dir, tmp_path_factory.mktemp("tables") / "project", "mimic3")


def test_a_touch_or_a_copy_of_the_source_reruns_nothing(from_tables, dry_runs):
    tables = from_tables.folder / "tables"
    for file in tables.iterdir():
        os.utime(file)
    assert dry_runs.planned(from_tables.folder) == {}
    shutil.rmtree(tables)
    write_tables(tables)
    assert dry_runs.planned(from_tables.folder) == {}


def test_the_header_of_a_table_counts_too(from_tables, dry_runs):
    file = from_tables.folder / "tables" / "LABEVENTS.csv"
    before = file.read_text()
    file.write_text(before.replace("VALUEUOM", "valueuom", 1))
    try:
        assert before != file.read_text() and dry_runs.planned(from_tables.folder)["stage"] == 1
    finally:
        file.write_text(before)


def test_results_without_snakemakes_records_are_not_trusted(project):
    """A fresh clone with a copy of results beside it: nothing says which of them are stale."""
    memory = project.folder / ".snakemake"
    shutil.rmtree(memory)
    for options in ((), ("--dry-run",)):
        done = project.snakemake(*options, check=False)
        assert done.returncode != 0 and "Traceback" not in done.stdout + done.stderr
        assert "ehr-attack: results/small: holds results, but .snakemake does not know" in done.stderr
    assert project.stale_rules("--forceall")["train"] == 2
    project.snakemake("--unlock")


def test_results_are_taken_over_on_the_users_word_and_stale_from_then_on(project):
    shutil.rmtree(project.folder / ".snakemake")
    project.snakemake("--touch", "--forceall")
    assert project.stale_rules() == {}
    project.edit_config("attack.steps", 7)
    assert "attack" in project.stale_rules()


def test_wrong_config_ends_in_one_line_without_a_traceback(project):
    project.edit_config("attack.lambdas.low", "0.1")
    done = project.snakemake("--dry-run", check=False)
    assert done.returncode != 0
    assert "ehr-attack: config key attack.lambdas.low: found '0.1'" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert len([line for line in done.stderr.splitlines() if "config key" in line]) == 1


def test_a_source_that_fails_its_audit_ends_the_run_before_anything_is_learned(project):
    """The audit goes first, though nothing waits for it; two edits at once, and both are seen."""
    models = {file: file.read_bytes() for file in (project.folder / "results/small/models").rglob("*.parquet")}
    project.edit_config("source.full_release", True)
    project.edit_config("training.lr", 0.002)
    assert {"audit", "train"} <= set(project.stale_rules())
    done = project.snakemake(check=False)
    assert done.returncode != 0 and "Error in rule audit" in done.stdout + done.stderr
    assert models == {file: file.read_bytes() for file in (project.folder / "results/small/models").rglob("*.parquet")}
