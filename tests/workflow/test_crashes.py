"""What dies underneath a run changes no result: five strikes, and a job that outlives the run of an older config.

The same over the quick preset, ten times as often, is in tests/nightly/test_crashes.py.
"""

import time

import pytest

from crashes import Disturbed, assert_nothing_is_amiss, disturb, own_file_system, result_files
from ehr_attack.synthetic import generate
from real_parts import skip_or_fail
from workflow.conftest import Project, copy_project

ATTACK_LOG = "results/small/logs/attack_lstm_ista_seed_0_fold_0_shard_0.log"


def of_own_tables(project_dir, folder, tables) -> Project:
    """A project whose source is a folder of tables."""
    project = copy_project(project_dir, folder)
    project.edit_config("source.kind", "mimic3")
    project.edit_config("source.path", str(tables))
    return project


def test_five_strikes_leave_the_results_of_an_undisturbed_run(project_dir, tmp_path):
    with own_file_system(tmp_path / "disk") as mounted:
        if not mounted:
            skip_or_fail("no file system can be mounted here: that takes root and, in a container, CAP_SYS_ADMIN")
        # The same path, so that the report of the settings is the same too.
        tables = tmp_path / "disk" / "tables"
        generate(tables, stays=160, seed=1, signal="late")
        reference = of_own_tables(project_dir, tmp_path / "undisturbed", tables)
        start = time.monotonic()
        reference.snakemake()
        seconds = time.monotonic() - start
        project = of_own_tables(project_dir, tmp_path / "disk" / "project", tables)
        results = project.folder / "results/small"
        disturbed = Disturbed(tmp_path / "disk", project.folder, results, seconds, sources=tables)
        told = disturb(disturbed, seed=0)
        assert_nothing_is_amiss(disturbed, reference.folder / "results/small", told)
        assert project.stale_rules() == {}


def test_a_table_that_cannot_be_read_is_named_before_anything_runs(project_dir, tmp_path):
    tables = tmp_path / "tables"
    generate(tables, stays=160, seed=1, signal="late")
    project = of_own_tables(project_dir, tmp_path / "project", tables)
    (tables / "ADMISSIONS.csv.gz").chmod(0)
    disturbed = Disturbed(tmp_path, project.folder, project.folder / "results/small", 60)
    assert disturbed.start().wait(timeout=disturbed.patience) == 1
    assert f"ehr-attack: {tables}/ADMISSIONS.csv.gz: cannot be read (Permission denied)" in disturbed.log()
    assert "Traceback" not in disturbed.log()
    assert not disturbed.results.exists()


@pytest.fixture
def struck_in_an_attack(project) -> Project:
    """The small run, whose Snakemake alone was killed while it attacked with other settings."""
    project.edit_config("attack.steps", 100_000)
    project.edit_config("attack.modes", ["ista"])
    log = project.folder / ATTACK_LOG
    log.unlink()
    disturbed = Disturbed(project.folder, project.folder, project.folder / "results/small", 60)
    run = disturbed.start()
    while "Attacking" not in disturbed.log() or not log.exists():
        assert run.poll() is None
        time.sleep(0.05)
    run.kill()
    run.wait()
    return project


def test_a_job_of_an_older_config_that_outlives_its_run_changes_no_result(struck_in_an_attack, finished):
    project = struck_in_an_attack
    project.edit_config("attack.steps", 6)
    project.edit_config("attack.modes", ["sun2018", "ista"])
    project.snakemake("--unlock")
    project.snakemake()
    time.sleep(2)  # longer than it takes a job to see that it is alone
    expected, found = (result_files(p.folder / "results/small") for p in (finished, project))
    assert [name for name in expected if found.get(name) != expected[name]] == []
