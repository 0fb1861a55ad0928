"""The quick preset, struck fifty times and taken up by the documented command, ends with the same bytes."""

import time

import pytest

from crashes import Disturbed, assert_nothing_is_amiss, disturb, own_file_system
from real_parts import skip_or_fail
from workflow.conftest import Project, copy_project

ROUNDS = range(10)
"""Each is struck once in every of the five ways."""
QUICK = ("--configfile", "workflow/presets/quick.yaml")


@pytest.fixture(scope="module")
def undisturbed(project_dir, tmp_path_factory) -> tuple[Project, float]:
    """A run of its own, and how long it took."""
    project = copy_project(project_dir, tmp_path_factory.mktemp("undisturbed") / "project")
    start = time.monotonic()
    project.snakemake(*QUICK)
    return project, time.monotonic() - start


@pytest.mark.parametrize("seed", ROUNDS)
def test_the_results_are_those_of_an_undisturbed_run(project_dir, undisturbed, tmp_path, seed):
    reference, seconds = undisturbed
    with own_file_system(tmp_path / "disk") as mounted:
        if not mounted:
            skip_or_fail("no file system can be mounted here: that takes root and, in a container, CAP_SYS_ADMIN")
        project = copy_project(project_dir, tmp_path / "disk" / "project")
        results = project.folder / "results/quick"
        disturbed = Disturbed(tmp_path / "disk", project.folder, results, seconds, arguments=QUICK)
        told = disturb(disturbed, seed)
        assert_nothing_is_amiss(disturbed, reference.folder / "results/quick", told)
        assert project.stale_rules(*QUICK) == {}
