"""The workflow as a module of another one: the same results, a prefix before them, messages as ever."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from environments import absent_modules, scripts
from workflow.conftest import SMALL, Project
from workflow.test_pipeline import result_bytes

OUTER = """configfile: "config.yaml"


module ehr_attack:
    snakefile:
        "{snakefile}"
{options}

use rule * from ehr_attack as ehr_attack_*


rule count_stays:
    default_target: True
    input:
        rules.ehr_attack_all.input,
        flow=rules.ehr_attack_extract.output.flow,
    output:
        "count.txt",
    localrule: True
    shell:
        "grep -c excluded_stays {{input.flow}} > {{output}}"
"""
CONFIG = '    config:\n        config["ehr_attack"]\n'


def outer_project(
    project_dir: Path, folder: Path, options: str = CONFIG, snakefile: str = "", **changes: dict
) -> Project:
    """A workflow of its own in `folder` that uses the one in `project_dir`, with a config of its own."""
    (folder / "profiles").mkdir(parents=True)
    shutil.copytree(project_dir / "profiles" / "default", folder / "profiles" / "default")
    (folder / "Snakefile").write_text(OUTER.format(snakefile=snakefile or project_dir / "Snakefile", options=options))
    (folder / "config.yaml").write_text(yaml.safe_dump({"ehr_attack": SMALL | changes, "of_the_outer_one": 1}))
    return Project(folder)


def test_a_finished_run_is_taken_up_as_it_is(finished, project_dir, tmp_path):
    """Only the rule of the outer workflow has something to do, on the results of a run without it."""
    outer = outer_project(project_dir, tmp_path / "outer")
    for part in ("results", ".snakemake"):
        shutil.copytree(finished.folder / part, outer.folder / part)
    assert outer.stale_rules() == {"count_stays": 1}
    outer.snakemake()
    assert int((outer.folder / "count.txt").read_text()) > 0
    assert outer.stale_rules() == {}
    outer.edit_config("ehr_attack.attack.steps", 7)
    stale = outer.stale_rules()
    assert stale["ehr_attack_attack"] == 4 and "ehr_attack_train" not in stale and stale["count_stays"] == 1


def only_their_environments(folder: Path) -> tuple[Path, Path]:
    """A folder for PYTHONPATH that lets each job import only what its conda environment holds; the file of what it hid.

    Python imports `sitecustomize` before it runs the script that Snakemake has written: <random>.<name of the script>.
    """
    absent = {
        script.name: sorted(absent_modules(environment))
        for environment in scripts()
        for script in scripts()[environment]
    }
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        f"import sys\nabsent = {absent!r}\n"
        "name = sys.orig_argv[-1].partition('.snakemake/scripts/')[2].partition('.')[2]\n"
        "for module in absent.get(name, ()):\n    sys.modules[module] = None\n"
        f"if name in absent:\n    open({str(folder / 'hidden')!r}, 'a').write(name + '\\n')\n"
    )
    return folder, folder / "hidden"


def test_a_module_with_a_prefix_makes_the_same_results_below_it(finished, project_dir, tmp_path):
    """Each of its jobs is left no more packages than its conda environment has."""
    path, hidden = only_their_environments(tmp_path / "path")
    options = CONFIG + '    prefix:\n        "inner"\n'
    outer = outer_project(project_dir, tmp_path / "outer", options, attack=SMALL["attack"] | {"modes": ["ista"]})
    outer.snakemake(PYTHONPATH=os.pathsep.join([str(path), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep))
    assert {"stage.py", "train.py", "attack.py", "tables.py", "report.py"} <= set(hidden.read_text().split())
    assert {path.name for path in outer.folder.iterdir() if path.is_dir()} == {"inner", "profiles", ".snakemake"}
    assert outer.stale_rules() == {}
    made, alone = result_bytes(Project(outer.folder / "inner")), result_bytes(finished)
    # What gathers all modes differs: here there is one.
    same = {name for name in made if not name.startswith("susceptibility/") or "/ista/" in name}
    assert len(same) > 30 and any(name.startswith("attacks/lstm/ista/") for name in same)
    assert {name for name in same if made[name] != alone.get(name)} == set()
    assert (outer.folder / "inner/results/small/report/index.html").stat().st_size > 100_000


def test_source_tables_lie_where_the_config_says_whatever_the_prefix(shared_dir, project_dir, tmp_path):
    source = {"kind": "mimic3", "path": "tables"}
    options = CONFIG + '    prefix:\n        "inner"\n'
    outer = outer_project(project_dir, tmp_path / "outer", options, source=source)
    (outer.folder / "tables").symlink_to(shared_dir / "data" / "mimiciii-demo-1.4")
    assert outer.stale_rules()["ehr_attack_stage"] >= 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attack": {"stepz": 3}}, "ehr-attack: config key attack.stepz: there is no such key"),
        ({"source": {"kind": "mimic3", "path": "nowhere"}}, "nowhere"),
    ],
)
def test_a_mistake_in_its_config_ends_in_one_message(project_dir, tmp_path, changes, message):
    outer = outer_project(project_dir, tmp_path / "outer", **changes)
    done = outer.snakemake("--dry-run", check=False)
    assert done.returncode != 0
    assert message in done.stderr and "Traceback" not in done.stdout + done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("ehr-attack:")]) == 1


def test_without_a_config_of_its_own_it_takes_its_defaults_not_the_outer_config(project_dir, tmp_path):
    outer = outer_project(project_dir, tmp_path / "outer", options="")
    assert outer.stale_rules()["ehr_attack_train"] == 10  # five folds, the model and its null


def test_a_snakefile_without_its_library_says_what_to_do(project_dir, tmp_path):
    """Of a workflow on a git server, Snakemake fetches single files only; here from a repository on this machine."""
    repository = tmp_path / "repository"
    git = ["git", "-C", str(repository), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", str(repository)], check=True)
    shutil.copy(project_dir / "Snakefile", repository / "Snakefile")
    subprocess.run([*git, "add", "Snakefile"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--message=one"], check=True)
    outer = outer_project(project_dir, tmp_path / "outer", snakefile=f"git+file://{repository}/Snakefile@main")
    done = outer.snakemake("--dry-run", check=False)
    assert done.returncode != 0
    assert "ehr-attack: its library lies beside its Snakefile" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
