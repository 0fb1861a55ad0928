"""Runs that are recorded as finished without being run: what is stale is decided by Snakemake's records alone.

An empty file stands for each result; `snakemake --touch` then keeps the records that a real run would keep.
"""

import os
from pathlib import Path
from typing import Any

import yaml

import mimic3_builder as mimic3
import physionet2012_builder as physionet2012
from ehr_attack.attacks import MODES
from ehr_attack.mistakes import MISTAKES
from ehr_attack.models import MODELS
from workflow.conftest import Project, copy_project, merged
from workflow.dry_runs import DryRuns

ISTA = {"modes": ["ista"]}
RUNS: dict[str, dict[str, Any]] = {
    "modes": {"attack": {"modes": list(MODES)}},
    "models": {"training": {"models": list(MODELS)}, "attack": ISTA},
    "audited": {
        "features": {"imputation": "linear"},
        "training": {"tune": True},
        "attack": ISTA,
        "audit": {"mistakes": list(MISTAKES)},
        "susceptibility": {"null_cohort": "first"},
    },
    "mimic4": {"synthetic": {"shape": "mimic4"}},
    "mimic3": {"source": {"kind": "mimic3", "path": "tables"}},
    "server": {"source": {"kind": "mimic3", "database": "postgresql"}},
    "physionet2012": {"source": {"kind": "physionet2012", "path": "records"}, "folds": {"method": "by_set"}},
}
"""By name, what differs from the small run."""

SERVER = {"EHR_ATTACK_DATABASE_URI": "postgresql://nobody@127.0.0.1:9/none"}
"""An address in the environment, as such runs need it; no dry run connects."""


def recorded_run(dry_runs: DryRuns, project_dir: Path, folder: Path, name: str) -> Project:
    """The run called `name` of `RUNS`, in a checkout of its own in `folder`."""
    project = copy_project(project_dir, folder)
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(merged(yaml.safe_load(file.read_text()), RUNS[name])))
    for tables in ("tables", "elsewhere"):
        write_tables(folder / tables)
    for part in ("a", "b"):
        physionet2012.write_set(folder / "records", part, {1: ["00:07,HR,73"], 2: ["00:07,HR,80"]}, deaths=[1])
    record(dry_runs, project)
    return project


def write_tables(folder: Path) -> None:
    """MIMIC-III's tables with one stay."""
    records = mimic3.Records()
    mimic3.a_usual_stay(records)
    records.write(folder)
    for table, header in (("D_ITEMS", "row_id,itemid,label"), ("D_LABITEMS", "row_id,itemid,label")):
        (folder / f"{table}.csv").write_text(f"{header}\n1,1,one\n")


def record(dry_runs: DryRuns, project: Project, *options: str, **environment: str) -> None:
    """Make empty results and have Snakemake record them as made by the config and the code as they are now."""
    environment = SERVER | environment
    summary = dry_runs.snakemake(project.folder, "--summary", *options, **environment)
    for line in summary.splitlines():
        path = project.folder / line.partition("\t")[0]
        if line.startswith("results/") and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    dry_runs.snakemake(project.folder, "--touch", "--forceall", *options, **environment)
    assert dry_runs.planned(project.folder, *options, **environment) == {}, os.listdir(project.folder)
