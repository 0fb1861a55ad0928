"""`ehr-attack explain` on a finished run after one edit: the cause in words, and nothing else."""

import base64
import gzip
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys

import pytest

from ehr_attack.storage import read_json


def explain(project, *arguments: str, status: int = 0) -> list[str]:
    """The lines that the command prints in the project's folder, or its error."""
    done = subprocess.run(
        [sys.executable, "-m", "ehr_attack.cli", "explain", *arguments],
        cwd=project.folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return (done.stderr if status else done.stdout).splitlines()


def causes(lines: list[str]) -> list[str]:
    """What is stale by itself: the lines before the first empty one."""
    return lines[: lines.index("")] if "" in lines else lines


def test_nothing_is_stale_then_a_key_is_edited(project):
    assert explain(project) == ["Nothing is stale."]
    project.edit_config("attack.steps", 7)
    lines = explain(project, "--json", "answer.json")
    assert set(causes(lines)) == {
        "describe_run (1 job): attack.steps was 6, is 7",
        "attack (4 jobs): attack.steps was 6, is 7",
    }
    answer, stale = read_json(project.folder / "answer.json"), project.stale_rules()
    told = {part["rule"]: part["jobs"] for part in answer["stale"]} | answer["follow"]
    assert told == stale
    assert lines[-1].startswith(f"{sum(stale.values())} jobs in all")


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        (
            {"synthetic.seed": 7, "synthetic.signal": "early"},
            ["synthetic (1 job): synthetic.seed was 1, is 7; synthetic.signal was late, is early"],
        ),
        ({"features.imputation": "linear"}, ["train (2 jobs): features.imputation was forward, is linear"]),
        ({"susceptibility.weight": 0.4}, ["merge_attack (4 jobs): susceptibility.weight was 0.5, is 0.4"]),
        ({"plots.dpi": 41}, ["plot_cohort (1 job): plots.dpi was 40, is 41"]),
    ],
)
def test_keys_are_called_as_in_the_config(project, edits, expected):
    for key, value in edits.items():
        project.edit_config(key, value)
    assert set(expected) <= set(causes(explain(project)))


def test_edited_code_another_package_and_what_is_missing(project):
    """Three causes in different branches of the workflow, each told at its own rule."""
    project.append("scripts/ehr_attack/figures/flow.py", "# edited\n")
    (project.folder / "results/small/run.json").unlink()
    as_if_made_with(project, "results/small/susceptibility/stability.parquet", "pyarrow", "1.0")
    assert set(causes(explain(project))) == {
        "plot_cohort (1 job): scripts/ehr_attack/figures/flow.py was edited",
        "describe_run (1 job): results/small/run.json is missing",
        f"stability (1 job): package pyarrow was 1.0, is {importlib.metadata.version('pyarrow')}",
    }


def as_if_made_with(project, output: str, package: str, version: str) -> None:
    """Let Snakemake's record of an output tell another version of a package than is installed."""
    record = project.folder / ".snakemake/metadata" / base64.b64encode(output.encode()).decode()
    text, changed = re.subn(rf"('package {package}': )'[^']+'", rf"\1'{version}'", record.read_text())
    assert changed == 1
    record.write_text(text)


def test_a_source_table_that_has_changed_is_named(project):
    tables = project.folder / "tables"
    shutil.copytree(project.folder / "results/small/source", tables)
    project.edit_config("source.kind", "mimic3")
    project.edit_config("source.path", "tables")
    project.edit_config("run.name", "own")
    target = "results/own/extract/staged/d_items.parquet"
    project.snakemake(target)
    file = tables / "D_ITEMS.csv.gz"
    file.write_bytes(file.read_bytes() + gzip.compress(b"\n"))
    assert causes(explain(project, target)) == ["stage (1 job): source table d_items has changed"]


def test_a_refusal_ends_in_snakemakes_message(project):
    lines = explain(project, "no/such/file", "--configfile", "workflow/presets/quick.yaml", status=1)
    assert lines[0].startswith("ehr-attack: snakemake --dry-run fails") and "no/such/file" in "".join(lines)
    (line,) = explain(project, "--configfile", "nope.yaml", status=1)
    assert line.startswith("ehr-attack: nope.yaml: the configuration cannot be read (No such file or directory)")
    project.edit_config("attack.stepz", 7)
    (line,) = explain(project, status=1)
    assert line.startswith("ehr-attack: config key attack.stepz: there is no such key")
