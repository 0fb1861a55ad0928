"""The benchmark of the workflow: its stand-in for Snakemake's object, its comparison of bytes, and its targets."""

import json

import pytest

from benchmarks.job_plan import planned
from benchmarks.one_process import Named, as_data, from_data, run
from benchmarks.workflow import LIBRARY, PLAN, PROCESSES, RECORDED, WORKFLOW, Project, judged_result, report
from workflow.conftest import copy_project

FOLDS = "results/small/folds/folds.parquet"


@pytest.fixture
def in_a_project(project_dir, tmp_path, monkeypatch):
    project = copy_project(project_dir, tmp_path / "project")
    monkeypatch.chdir(project.folder)
    return project


def test_a_plan_has_the_jobs_in_order_and_they_run_without_snakemake(in_a_project):
    tasks = planned([FOLDS])
    places = [task.rule for task in tasks]
    assert places.index("synthetic") < places.index("stage") < places.index("extract") < places.index("folds")
    assert places.count("stage") == 5 and places[-1] == "folds"
    for task in tasks:
        run(from_data(json.loads(json.dumps(as_data(task)))), with_record=True)
    found = (in_a_project.folder / FOLDS).read_bytes()
    records = {path.stem for path in (in_a_project.folder / "results/small/provenance").glob("*.json")}
    assert len(records) == len(tasks)
    in_a_project.snakemake("--forceall", FOLDS)
    assert (in_a_project.folder / FOLDS).read_bytes() == found


def test_files_are_found_by_place_and_by_name():
    files = Named(["a", "b", "c"], {"one": "a", "others": ["b", "c"]})
    assert (files[0], files.one, files["others"]) == ("a", "a", ["b", "c"])
    assert dict(files.items()) == {"one": "a", "others": ["b", "c"]}
    assert files.get("one") == "a" and files.get("none") is None


def test_the_results_compared_are_those_that_tell_no_times_and_no_provenance(tmp_path):
    run_folder = tmp_path / "results/quick"
    for file in ("logs/a.log", "benchmarks/a.tsv", "provenance/a.json", "tables/provenance.json", "tables/a.csv"):
        (run_folder / file).parent.mkdir(parents=True, exist_ok=True)
        (run_folder / file).write_text(file)
    assert Project(tmp_path).results("quick") == {"tables/a.csv": b"tables/a.csv"}


def test_a_command_is_measured_with_the_processes_it_starts(tmp_path):
    work = "import time; start = time.process_time()\nwhile time.process_time() < start + 0.5: pass"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {work!r}], check=True)"
    taken = Project(tmp_path).measured("-c", child)
    assert 0.5 <= taken["cpu_seconds"] <= taken["seconds"] + 0.5
    with pytest.raises(SystemExit, match="failed"):
        Project(tmp_path).measured("-c", "raise SystemExit(3)")


@pytest.mark.parametrize(("workflow", "dry_run", "met"), [(12.4, 4.9, [True, True]), (12.6, 5.1, [False, False])])
def test_targets_are_judged_by_their_numbers(workflow, dry_run, met):
    cpu = {LIBRARY: 10.0, RECORDED: 10.5, PROCESSES: 12.0, WORKFLOW: workflow, PLAN: 1.0}
    result = {
        "date": "2026-11-28", "machine": {"cpu": "a processor", "cores": 2, "ram_gb": 8.0}, "load_before": 0.1,
        "versions": {"snakemake": "9"}, "load_after": 0.2, "rounds": 1, "jobs": 10,
        "taken": {step: {"seconds": 2 * seconds, "cpu_seconds": seconds} for step, seconds in cpu.items()},
        "large": {"jobs": 99, "dry_run": {"seconds": dry_run, "cpu_seconds": 3.0}},
    }  # fmt: skip
    result = judged_result(result)
    assert [target["met"] for target in result["targets"]] == met
    text = "\n".join(report(result))
    assert "| 12.0 | 24.0 | 1.5 | 0.15 |" in text and "has 99 jobs" in text
