"""What happens once, before any job: as the project's own workflow, as a module, without hooks, on a cluster."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
import yaml

from workflow.conftest import Project, copy_project, merged
from workflow.recorded_runs import record, write_tables
from workflow.test_module import CONFIG, outer_project

REFUSED = "ehr-attack: results/small: holds results, but .snakemake does not know"
FEATURES = "results/small/features/features.parquet"
PASSWORD = "unique-Passw0rd-of-this-test"
ON_SERVER = {"source": {"kind": "mimic3", "database": "postgresql"}}
URI_VARIABLE = "EHR_ATTACK_DATABASE_URI"
# A job of seconds in front of it, `describe_run`, and no connection to a server.
TOLD = """

rule told:
    input:
        {run_file},
    output:
        "told.json",
    shell:
        "printenv EHR_ATTACK_PLAN > {{output}}"
"""


@pytest.fixture(scope="module")
def recorded(dry_runs, project_dir, tmp_path_factory) -> Project:
    """A small run that is recorded as finished. Tests must not edit it."""
    project = copy_project(project_dir, tmp_path_factory.mktemp("recorded") / "project")
    record(dry_runs, project)
    return project


@pytest.fixture
def project(recorded, tmp_path) -> Project:
    shutil.copytree(recorded.folder, tmp_path / "project")
    return Project(tmp_path / "project")


def refused(project: Project, *arguments: str, message: str = REFUSED) -> bool:
    """Whether the call ends in the one message; or else succeeds."""
    done = project.snakemake(*arguments, check=False)
    told = [line for line in done.stderr.splitlines() if line.startswith("ehr-attack: ")]
    assert "Traceback" not in done.stdout + done.stderr and len(told) == (done.returncode != 0)
    return done.returncode != 0 and told[0].startswith(message)


def test_a_single_result_without_its_record_is_not_trusted(project):
    """As after a forced run of foreign results that was killed, or was asked for a part of them."""
    shutil.rmtree(project.folder / ".snakemake")
    assert (
        refused(project, "--dry-run") and refused(project) and refused(project, "--dry-run", "results/small/run.json")
    )
    assert not refused(project, "--touch", "-F", FEATURES)
    assert refused(project, "--dry-run")
    assert not refused(project, "--touch", "-F") and project.stale_rules() == {}


def test_what_the_config_no_longer_makes_needs_no_record(project):
    shutil.rmtree(project.folder / ".snakemake")
    project.edit_config("attack.modes", ["ista"])
    project.snakemake("--touch", "--forceall")
    assert (project.folder / "results/small/susceptibility/lstm/sun2018").is_dir()
    assert project.stale_rules() == {}
    project.edit_config("attack.modes", ["sun2018", "ista"])
    assert refused(project, "--dry-run")


@pytest.mark.parametrize(
    "arguments",
    [["--lint"], ["--list-rules"], ["--rulegraph"], ["--summary"], ["--unlock"], ["-nF"], ["-n", "--forcea"]],
)
def test_who_asks_for_no_result_or_for_all_anew_is_not_refused(project, arguments):
    shutil.rmtree(project.folder / ".snakemake")
    assert not refused(project, *arguments)


def test_as_a_module_below_a_prefix_results_need_their_records_too(recorded, project_dir, tmp_path):
    outer = outer_project(project_dir, tmp_path / "outer", CONFIG + '    prefix:\n        "inner"\n')
    shutil.copytree(recorded.folder / "results", outer.folder / "inner" / "results")
    assert refused(outer, "--dry-run", message=REFUSED.replace("results/small", "inner/results/small"))


def with_told(project_dir: Path, folder: Path, module: bool, **changes: dict) -> Project:
    """The workflow with the rule `told`, or as a module of one that has it."""
    if module:
        project = outer_project(project_dir, folder, **changes)
        project.append("Snakefile", TOLD.format(run_file="rules.ehr_attack_describe_run.output"))
        return project
    project = copy_project(project_dir, folder)
    project.append("Snakefile", TOLD.format(run_file="rules.describe_run.output"))
    config = merged(yaml.safe_load((folder / "config.yaml").read_text()), changes)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return project


def on_a_cluster(project: Project, *arguments: str, **environment: str) -> dict[str, str]:
    """Make told.json from job scripts; returns these by name."""
    scripts = project.folder / "scripts_of_jobs"
    scripts.mkdir()
    search = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment |= {"KEPT_JOB_SCRIPTS": str(scripts), "PYTHONPATH": os.pathsep.join(search)}
    cluster = ["--executor", "jobscripts", "--jobs", "1", "--seconds-between-status-checks", "1"]
    project.snakemake(*cluster, *arguments, "told.json", **environment)
    return {path.name: path.read_text() for path in scripts.iterdir()}


@pytest.mark.parametrize("module", [False, True])
def test_jobs_are_told_the_plan_without_hooks_and_as_a_module(project_dir, tmp_path, module):
    project = with_told(project_dir, tmp_path / "project", module)
    project.snakemake("--no-hooks", "told.json")
    files = json.loads((project.folder / "told.json").read_text())["files"]
    for script in ("describe_run", "attack"):
        text = (project_dir / "scripts" / f"{script}.py").read_bytes()
        assert files[f"scripts/{script}.py"] == hashlib.sha256(text).hexdigest()[:16]


DECLARED = f"envvars:\n    {URI_VARIABLE!r},\n"


@pytest.mark.parametrize("declared", ["", DECLARED], ids=["undeclared", "declared"])
@pytest.mark.parametrize("module", [False, True])
def test_no_job_script_holds_the_address_of_a_server(project_dir, tmp_path, module, declared):
    """Without hooks, as a module, and as one of a workflow that declares the variable."""
    project = with_told(project_dir, tmp_path / "project", module, **ON_SERVER)
    snakefile = project.folder / "Snakefile"
    snakefile.write_text(snakefile.read_text() + "\n\n" + declared)
    uri = f"postgresql://nobody:{PASSWORD}@127.0.0.1:9/none"
    scripts = on_a_cluster(project, "--no-hooks", **{URI_VARIABLE: uri})
    assert len(scripts) == 2
    assert [name for name, text in scripts.items() if PASSWORD in text or URI_VARIABLE in text] == []


def test_a_clusters_jobs_do_not_read_the_tables_to_know_them(project_dir, tmp_path):
    changes = {"source": {"kind": "mimic3", "path": "tables"}}
    project = with_told(project_dir, tmp_path / "project", module=False, **changes)
    write_tables(project.folder / "tables")
    project.append(
        "Snakefile",
        "\n\nwith open('digested', 'a') as file:\n"
        "    print(workflow.is_main_process, table_digest.cache_info().currsize, file=file)\n",
    )
    on_a_cluster(project)
    counts = (project.folder / "digested").read_text().splitlines()
    assert counts[0] == "True 7" and len(counts) >= 3 and set(counts[1:]) == {"False 0"}
