"""The profile for Slurm fits the rules: it names those that exist, and groups them so that every group can begin."""

import re
from pathlib import Path

import pytest
import yaml

import slurm_cluster as slurm
from ehr_attack.paths import PROJECT_DIR
from real_parts import skip_or_fail
from workflow.conftest import Project, copy_project

PROFILE = PROJECT_DIR / "profiles" / "slurm" / "config.yaml"
# All that adds rules to a run, and what a group may trip over: baselines follow the attack that they are matched to.
EVERYTHING = {
    "features.imputation": "linear",
    "training.models": ["lstm", "logistic"],
    "training.tune": True,
    "attack.modes": ["ista", "sun2018", "measurement", "single", "random_cells", "last_hours"],
    "attack.shards": 2,
    "susceptibility.null_cohort": "all",
    "audit.mistakes": ["transposed_axis", "look_ahead_interpolation"],
}


def rules_on_gpus() -> dict[str, bool]:
    """Every rule, and whether it asks for a GPU."""
    files = sorted((PROJECT_DIR / "workflow" / "rules").glob("*.smk"))
    parts = [part for file in files for part in re.split(r"^rule ", file.read_text(), flags=re.MULTILINE)[1:]]
    return {part.partition(":")[0]: bool(re.search(r"^ +gpu=1,$", part, flags=re.MULTILINE)) for part in parts}


def test_groups_hold_rules_that_exist_and_no_gpu() -> None:
    profile, on_gpus = yaml.safe_load(PROFILE.read_text()), rules_on_gpus()
    groups = dict(entry.split("=") for entry in profile["groups"])
    assert len(groups) == len(profile["groups"]) > 10
    assert [rule for rule in groups if on_gpus[rule]] == []
    assert {entry.split("=")[0] for entry in profile["group-components"]} < set(groups.values())


def test_the_partition_of_gpu_jobs_is_suggested_for_the_rules_that_ask_for_one() -> None:
    suggested = set(re.findall(r'^#   (\w+): {slurm_partition: "gpu"}$', PROFILE.read_text(), flags=re.MULTILINE))
    assert suggested == {rule for rule, gpu in rules_on_gpus().items() if gpu} >= {"train", "attack", "tune"}


def test_what_makes_a_result_stale_is_the_same_in_both_profiles() -> None:
    default = yaml.safe_load((PROJECT_DIR / "profiles" / "default" / "config.yaml").read_text())
    slurm_profile = yaml.safe_load(PROFILE.read_text())
    for key in ("rerun-triggers", "max-checksum-file-size", "rerun-incomplete"):
        assert slurm_profile[key] == default[key]


@pytest.fixture
def everything(project_dir: Path, tmp_path: Path) -> Project:
    project = copy_project(project_dir, tmp_path / "project")
    for key, value in EVERYTHING.items():
        project.edit_config(key, value)
    return project


def test_every_group_can_begin_whatever_is_switched_on(everything: Project) -> None:
    """Snakemake refuses a group that would wait for itself."""
    if (reason := slurm.why_not_submit()) is not None:
        skip_or_fail(reason)
    planned = everything.snakemake("--dry-run", "--workflow-profile", "profiles/slurm").stdout
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", planned, flags=re.MULTILINE))
    assert rules_on_gpus().keys() <= jobs.keys()
    # The shards of an attack are merged in the job that measures its susceptibility.
    groups = re.findall(r"Group job susceptibility", planned)
    assert len(groups) == int(jobs["susceptibility"]) < int(jobs["merge_attack"])
