"""An environment file under `--sdm conda`: another pin makes stale what is made in it, and only there.

conda itself is not needed: for a plan, Snakemake asks the executable who it is and goes by the text of the files. A
stand-in answers these questions; nothing is installed. The run is recorded, not run (see `recorded_runs`).
"""

import json
import os
from pathlib import Path

import pytest

from workflow.conftest import Project, copy_project
from workflow.matrix import Matrix, read_matrix, with_later
from workflow.recorded_runs import record

CONDA = ("--sdm", "conda")
# By hand: which rules, and all that read their results, depend on what is made in each environment.
FIRST = {
    "extract": ("synthetic", "describe_run"),
    "torch": ("folds",),
    "plot": ("plot_cohort", "plot_model", "plot_attack", "plot_patients", "plot_agreement", "tables"),
}


@pytest.fixture(scope="module")
def conda(tmp_path_factory) -> dict[str, str]:
    """The environment variables of a machine whose conda answers questions, and can do no more."""
    folder = tmp_path_factory.mktemp("bin")
    answers = {
        "info --json": json.dumps({"conda_prefix": str(folder), "platform": "linux-64"}),
        "--version": "conda 25.1.0",
        "config --get channel_priority --json": json.dumps({"get": {"channel_priority": "strict"}}),
    }
    cases = "".join(f"'{question}') echo '{answer}';;\n" for question, answer in answers.items())
    (folder / "conda").write_text(f'#!/bin/sh\ncase "$*" in\n{cases}*) exit 1;;\nesac\n')
    (folder / "conda").chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


@pytest.fixture(scope="module")
def made_in_conda(project_dir, tmp_path_factory, dry_runs, conda) -> Project:
    project = copy_project(project_dir, tmp_path_factory.mktemp("conda") / "project")
    record(dry_runs, project, *CONDA, **conda)
    return project


def rules_of(name: str, matrix: Matrix) -> set[str]:
    later = set().union(*(with_later(rule, matrix.pipeline) for rule in FIRST[name]))
    return later - matrix.lacks["small"]


@pytest.mark.parametrize("name", sorted(FIRST))
def test_another_pin_reruns_what_is_made_in_the_environment_under_conda_only(name, made_in_conda, dry_runs, conda):
    file = made_in_conda.folder / "envs" / f"{name}.yaml"
    before = file.read_text()
    lines = before.splitlines()
    place = next(i for i, line in enumerate(lines) if "==" in line or "=" in line.partition("- ")[2])
    lines[place] += ".999"
    try:
        file.write_text("\n".join(lines) + "\n")
        assert set(dry_runs.planned(made_in_conda.folder, *CONDA, **conda)) == rules_of(name, read_matrix())
    finally:
        file.write_text(before)
    assert dry_runs.planned(made_in_conda.folder, *CONDA, **conda) == {}


def test_without_conda_no_environment_file_counts(project_dir, tmp_path, dry_runs):
    project = copy_project(project_dir, tmp_path / "project")
    record(dry_runs, project)
    for name in FIRST:
        project.append(f"envs/{name}.yaml", "  - edited=1\n")
    assert dry_runs.planned(project.folder) == {}


def test_every_environment_is_tried(project_dir: Path):
    assert {path.stem for path in (project_dir / "envs").glob("*.yaml")} == set(FIRST)
