"""The conda environments: the versions that CI tests, and all that the rules' scripts and the records of jobs import.

That a whole run needs no more than this is seen in tests/workflow/test_module.py.
"""

import os
import re
import subprocess
import sys
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from ehr_attack.attacks import MODES
from ehr_attack.digests import code_digest
from ehr_attack.models import MODELS
from ehr_attack.paths import PROJECT_DIR
from ehr_attack.sources import SERVER_STAGING, SOURCES
from environments import ENVIRONMENTS, PACKAGES, absent_modules, pins, scripts

PROJECT = tomllib.loads((PROJECT_DIR / "pyproject.toml").read_text())["project"]
REQUIRED = {canonicalize_name(needed.name): needed.specifier for needed in map(Requirement, PROJECT["dependencies"])}
# Snakemake starts the jobs, and the config is checked before there are any.
NO_JOB_NEEDS = {"snakemake", "jsonschema"}
# Imported by name, at run time.
REGISTERED = {
    "torch": {entry.partition(":")[0] for entry in MODELS.values()}
    | {mode.where.partition(":")[0] for mode in MODES.values()},
    "extract": {name for source in SOURCES.values() for name in (source.shape, source.staging)} | {SERVER_STAGING},
    "plot": set(),
}
# Jinja2 brings markupsafe; no rule of this environment calls the functions that import torch.
REACHED_BUT_NOT_USED = {"plot": {"markupsafe", "torch"}}


def constrained() -> dict[str, str]:
    """The versions of constraints.txt, which CI installs."""
    lines = (PROJECT_DIR / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_pin_is_the_version_that_is_tested_and_that_pyproject_allows(environment: str) -> None:
    versions = pins(environment)
    assert SpecifierSet(PROJECT["requires-python"]).contains(f"{versions.pop('python')}.0")
    versions.pop("pip", None)
    assert len(versions) > 5 and set(versions) <= set(PACKAGES)
    for name, version in versions.items():
        package = canonicalize_name(PACKAGES[name][0])
        assert version == constrained()[package], name
        assert REQUIRED[package].contains(version), name


def test_all_environments_have_the_same_python_and_together_all_that_pyproject_asks_for() -> None:
    assert len({pins(environment)["python"] for environment in ENVIRONMENTS}) == 1
    here = {canonicalize_name(PACKAGES[name][0]) for each in ENVIRONMENTS for name in pins(each) if name in PACKAGES}
    assert here == set(REQUIRED) - NO_JOB_NEEDS


def test_every_environment_is_that_of_a_rule() -> None:
    assert set(scripts()) == set(ENVIRONMENTS) == set(REGISTERED)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_package_that_a_script_reaches_is_pinned(environment: str) -> None:
    """By the digests that decide what is stale; a package that came with another would have any version."""
    digests = [code_digest(script, sorted(REGISTERED[environment])) for script in scripts()[environment]]
    reached = {name.removeprefix("package ") for digest in digests for name in digest if name.startswith("package ")}
    assert len(reached) > 3
    pinned = {name for entry in pins(environment) for name in PACKAGES.get(entry, ())}
    reached = {canonicalize_name(name) for name in reached} - REACHED_BUT_NOT_USED.get(environment, set())
    assert reached - {canonicalize_name(name) for name in pinned} == set()


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_a_script_imports_nothing_that_its_environment_lacks(environment: str) -> None:
    lines = [
        line.strip()
        for script in sorted(scripts()[environment])
        for line in script.read_text().splitlines()
        if re.match(r"\s*(from|import) ", line)
    ]
    assert len(lines) > 10
    lines += [f"import {module}" for module in sorted(REGISTERED[environment])]
    absent = sorted(absent_modules(environment))
    assert absent
    program = ["import sys", f"for name in {absent!r}: sys.modules[name] = None", "import ehr_attack.lineage.records"]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(program + lines)],
        env=os.environ | {"PYTHONPATH": str(PROJECT_DIR / "scripts")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-800:]
