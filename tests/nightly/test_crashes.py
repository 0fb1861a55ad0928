"""A run that is struck again and again, and taken up by the documented command, ends with the same bytes."""

import random
import time

import pytest

from crashes import STRIKES, Disturbed, disturb, own_file_system, result_files
from real_parts import skip_or_fail
from workflow.conftest import Project, copy_project

ROUNDS = range(10)
"""Each is struck once in every way: fifty strikes."""


@pytest.fixture(scope="module")
def undisturbed(project_dir, tmp_path_factory) -> tuple[Project, float]:
    """A run of its own, and how long it took."""
    project = copy_project(project_dir, tmp_path_factory.mktemp("undisturbed") / "project")
    start = time.monotonic()
    project.snakemake()
    return project, time.monotonic() - start


@pytest.mark.parametrize("seed", ROUNDS)
def test_the_results_are_those_of_an_undisturbed_run(project_dir, undisturbed, tmp_path, seed):
    reference, seconds = undisturbed
    with own_file_system(tmp_path / "disk") as mounted:
        if not mounted:
            skip_or_fail("no file system can be mounted here: that takes root and, in a container, CAP_SYS_ADMIN")
        project = copy_project(project_dir, tmp_path / "disk" / "project")
        disturbed = Disturbed(tmp_path / "disk", project.folder, project.folder / "results/small")
        strikes = random.Random(seed).sample(list(STRIKES), len(STRIKES))
        told = disturb(disturbed, strikes, seed, seconds / 2)
        expected, found = result_files(reference.folder / "results/small"), disturbed.files()
        assert found.keys() == expected.keys(), told
        assert [name for name in expected if found[name] != expected[name]] == [], told
        assert "Traceback" not in disturbed.log()
        assert project.stale_rules() == {}
