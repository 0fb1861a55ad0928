"""`ehr-attack explain`: which results are stale, and why, in words."""

import argparse
from pathlib import Path

from ehr_attack.config_file import read_config_file
from ehr_attack.config_reference import config_keys
from ehr_attack.explaining.causes import as_data, as_text, explain
from ehr_attack.explaining.dry_run import planned_jobs
from ehr_attack.storage import write_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `ehr-attack explain`."""
    parser.epilog = """examples:
  ehr-attack explain
  ehr-attack explain --configfile workflow/presets/quick.yaml
  ehr-attack explain --directory /scratch/me/study results/synthetic/features/features.parquet
  ehr-attack explain --json reasons.json -- --sdm conda    # what stands behind -- goes to snakemake as it is

Nothing is run: Snakemake is asked what it would run, and why. Say the same as to snakemake, or the answer is that to
another question."""
    parser.add_argument(
        "targets", nargs="*", metavar="TARGET", help="files or rules, as for snakemake (default: the whole run)"
    )
    parser.add_argument(
        "--configfile",
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="overlays on config.yaml, in this order, as for snakemake",
    )
    parser.add_argument(
        "--directory", type=Path, default=Path(), metavar="DIR", help="where the run works (default: here)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the answer to FILE as well")


def run(arguments: argparse.Namespace) -> None:
    """Ask Snakemake, and print the answer. Raises UserError for an overlay that is none, or as Snakemake refuses."""
    for overlay in arguments.configfile:
        read_config_file(Path(overlay))  # Snakemake itself would end in a traceback.
    passed = [] if arguments.directory == Path() else ["--directory", str(arguments.directory)]
    # Snakemake takes all that stands behind --configfile for files, so the targets go first.
    passed = [*arguments.targets, *passed]
    if arguments.configfile:
        passed += ["--configfile", *arguments.configfile]
    explanation = explain(planned_jobs(passed), arguments.directory, config_keys())
    if arguments.json is not None:
        write_json(as_data(explanation), arguments.json)
    print(as_text(explanation))
