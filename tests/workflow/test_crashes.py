"""What dies underneath a run changes no result: five strikes, and a job that outlives the run of an older config.

The same over the quick preset, ten times as often, is in tests/nightly/test_crashes.py.
"""

import compileall
import shutil
import time
from pathlib import Path

import pytest

from crashes import Disturbed, assert_nothing_is_amiss, descendants, disturb, own_file_system
from ehr_attack.synthetic import generate
from real_parts import skip_or_fail
from workflow.conftest import Project, copy_project

CHECKPOINTS = [f"results/small/models/lstm/seed_0/fold_{fold}/model.safetensors" for fold in (0, 1)]


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


def test_modules_that_a_full_disk_has_cut_short_are_compiled_anew(project):
    compileall.compile_dir(project.folder / "scripts", quiet=1)
    for file in project.folder.glob("scripts/**/*.pyc"):
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    (project.folder / "results/small/report/index.html").unlink()
    project.snakemake()
    assert (project.folder / "results/small/report/index.html").exists()


@pytest.fixture
def struck_in_training(project) -> tuple[Project, list[int]]:
    """The small run, whose Snakemake alone was killed while it trained with other settings; and its jobs."""
    project.edit_config("training.epochs", 5_000)
    disturbed = Disturbed(project.folder, project.folder, project.folder / "results/small", 60)
    run = disturbed.start(*CHECKPOINTS)
    while not (project.folder / CHECKPOINTS[0]).with_name(".resume").exists():
        assert run.poll() is None, disturbed.log()[-2000:]
        time.sleep(0.05)
    jobs = descendants(run.pid)
    run.kill()
    run.wait()
    return project, jobs


def test_a_job_of_an_older_config_ends_with_its_run_and_changes_no_result(struck_in_training, finished):
    project, jobs = struck_in_training
    assert jobs
    end = time.monotonic() + 120
    while any(is_at_work(job) for job in jobs):
        assert time.monotonic() < end, "a job goes on although its Snakemake is gone"
        time.sleep(0.1)
    assert not (project.folder / CHECKPOINTS[0]).exists()
    shutil.copy2(finished.folder / "config.yaml", project.folder)
    project.snakemake("--unlock")
    project.snakemake(*CHECKPOINTS)
    for file in CHECKPOINTS:
        assert (project.folder / file).read_bytes() == (finished.folder / file).read_bytes(), file
    assert list(project.folder.glob("results/small/models/**/.*")) == []


def is_at_work(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
