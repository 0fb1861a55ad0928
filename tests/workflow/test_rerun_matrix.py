"""Every row of `rerun_matrix.md`, each an edit of a finished run whose plan is compared with what the row says."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from ehr_attack.paths import CONFIG_SCHEMA_FILE
from workflow.conftest import Project
from workflow.matrix import Row, read_matrix
from workflow.recorded_runs import SERVER, recorded_run

MATRIX = read_matrix()
ALONE = [row for row in MATRIX.rows if row.rules]
WITHOUT_EFFECT = [row for row in MATRIX.rows if not row.rules]
# Rows that the real command must plan as the forks do.
BY_COMMAND = ("attack.steps = 7", "scripts/ehr_attack/fitting.py", "workflow/sql/mimic3/candidates.sql")
COMMENTS = {
    **dict.fromkeys((".py", ".yaml"), "# edited\n"),
    ".sql": "-- edited\n",
    **dict.fromkeys((".cpp", ".hpp", ".js"), "// edited\n"),
    ".css": "/* edited */\n",
}


@pytest.fixture(scope="module")
def run_called(dry_runs, project_dir, finished, tmp_path_factory) -> Callable[[str], Project]:
    """The runs of the matrix by name; edits are taken back, so that the tests share them."""
    runs: dict[str, Project] = {}

    def get(name: str) -> Project:
        if name not in runs:
            folder = tmp_path_factory.mktemp("runs") / name
            if name == "small":
                shutil.copytree(finished.folder, folder, symlinks=True)
                runs[name] = Project(folder)
            else:
                runs[name] = recorded_run(dry_runs, project_dir, folder, name)
        return runs[name]

    return get


@contextmanager
def edited(project: Project, *rows: Row) -> Iterator[None]:
    """The project with the edits of the rows; they are taken back."""
    files = {project.folder / ("config.yaml" if row.settings else row.edit) for row in rows}
    before = {file: file.read_bytes() for file in files}
    try:
        for row in rows:
            for key, value in row.settings.items():
                project.edit_config(key, yaml.safe_load(value))
            if not row.settings:
                project.append(row.edit, COMMENTS.get(Path(row.edit).suffix, "\n"))
        yield
    finally:
        for file, content in before.items():
            file.write_bytes(content)


@pytest.mark.parametrize("row", ALONE, ids=lambda row: f"{row.run}: {row.edit}")
def test_an_edit_reruns_what_the_matrix_says(row, run_called, dry_runs):
    project = run_called(row.run)
    with edited(project, row):
        planned = dry_runs.planned(project.folder, **SERVER)
    assert sorted(planned) == sorted(row.rules)
    assert {rule: planned[rule] for rule in row.jobs} == row.jobs


@pytest.mark.parametrize("run", sorted({row.run for row in WITHOUT_EFFECT}))
def test_edits_without_effect_rerun_nothing_even_together(run, run_called, dry_runs):
    project = run_called(run)
    with edited(project, *(row for row in WITHOUT_EFFECT if row.run == run)):
        assert dry_runs.planned(project.folder, **SERVER) == {}


@pytest.mark.parametrize("edit", BY_COMMAND)
def test_the_command_itself_plans_the_same(edit, run_called):
    (row,) = (row for row in MATRIX.rows if row.edit == edit and row.run == "small")
    project = run_called("small")
    with edited(project, row):
        assert set(project.stale_rules()) == row.rules


def test_what_is_taken_back_leaves_a_finished_run(run_called, dry_runs):
    for name in MATRIX.lacks:
        assert dry_runs.planned(run_called(name).folder, **SERVER) == {}, name


def test_every_run_has_the_rules_of_the_pipeline_that_it_does_not_lack(run_called, dry_runs):
    for name, lacking in MATRIX.lacks.items():
        planned = dry_runs.planned(run_called(name).folder, "--forceall", **SERVER)
        assert set(planned) == set(MATRIX.pipeline) - lacking, name


def test_every_config_key_has_a_row_and_every_row_a_key():
    schema = yaml.safe_load(CONFIG_SCHEMA_FILE.read_text())
    edited_keys = {key for row in MATRIX.rows for key in row.settings}
    assert edited_keys == set(leaves(schema))


def leaves(part: dict, prefix: str = "") -> Iterator[str]:
    for key, value in part["properties"].items():
        if value.get("type") == "object" and "properties" in value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def test_every_file_of_the_code_has_a_row_and_every_row_a_file(project_dir):
    rows = {row.edit for row in MATRIX.rows if not row.settings and row.edit.startswith(("scripts/", "workflow/"))}
    places = ("scripts/*.py", "scripts/ehr_attack/**/*", "workflow/sql/**/*")
    files = {path for place in places for path in project_dir.glob(place) if path.is_file()}
    ignored = ("__pycache__", ".mypy_cache")
    names = {path.relative_to(project_dir).as_posix() for path in files if not set(ignored) & set(path.parts)}
    assert rows == names - {"scripts/ehr_attack/py.typed"}


def test_no_edit_stands_twice():
    edits = [(row.run, row.edit) for row in MATRIX.rows]
    assert sorted(set(edits)) == sorted(edits)
