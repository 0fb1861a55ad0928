"""A copy of the project in which tests may edit anything, with one small finished run in it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from workflow.dry_runs import DryRuns, planned_jobs

PARTS = ("Snakefile", "config.yaml", "workflow", "scripts", "profiles", "envs")

SMALL = {
    "run": {"name": "small"},
    "synthetic": {"stays": 160},
    "folds": {"count": 2},
    "training": {"epochs": 2},
    "attack": {"modes": ["sun2018", "ista"], "steps": 6, "max_stays": 6, "lambdas": {"count": 2}},
    "susceptibility": {"bootstrap": 20, "null_cohort": "none"},
    "plots": {"dpi": 40},
}


def merged(base: dict, overlay: dict) -> dict:
    """`base` with the keys of `overlay`, block by block."""
    result = dict(base)
    for key, value in overlay.items():
        result[key] = merged(result[key], value) if isinstance(value, dict) else value
    return result


@dataclass
class Project:
    """A checkout of the workflow in a folder of its own."""

    folder: Path

    def snakemake(self, *arguments: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess:
        """Run snakemake here and return what it printed."""
        command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if check:
            assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done

    def stale_rules(self, *arguments: str, **environment: str) -> dict[str, int]:
        """The rules that a dry run would run again, with their number of jobs."""
        done = self.snakemake("--dry-run", *arguments, **environment)
        return planned_jobs(done.stdout + done.stderr)

    def edit_config(self, key: str, value: object) -> None:
        """Set dotted `key` of config.yaml."""
        file = self.folder / "config.yaml"
        *blocks, last = key.split(".")
        config = yaml.safe_load(file.read_text())
        part = config
        for block in blocks:
            part = part[block]
        part[last] = value
        file.write_text(yaml.safe_dump(config))

    def append(self, file: str, text: str) -> None:
        """Add `text` at the end of a file of the project."""
        with (self.folder / file).open("a", encoding="utf-8") as target:
            target.write(text)


def copy_project(source: Path, target: Path) -> Project:
    target.mkdir(parents=True)
    for part in PARTS:
        if (source / part).is_dir():
            shutil.copytree(source / part, target / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source / part, target / part)
    project = Project(target)
    config = merged(yaml.safe_load((source / "config.yaml").read_text()), SMALL)
    (target / "config.yaml").write_text(yaml.safe_dump(config))
    return project


@pytest.fixture(scope="session")
def finished(project_dir, tmp_path_factory) -> Project:
    """A finished small run. Tests must not edit it; see `project`."""
    project = copy_project(project_dir, tmp_path_factory.mktemp("finished") / "project")
    project.snakemake()
    return project


@pytest.fixture
def project(finished, tmp_path) -> Project:
    """A copy of the finished run to edit; time stamps and Snakemake's records come along."""
    shutil.copytree(finished.folder, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project")


@pytest.fixture(scope="session")
def dry_runs() -> Iterator[DryRuns]:
    """Dry runs in little time, for tests that need many."""
    with DryRuns() as forks:
        yield forks
