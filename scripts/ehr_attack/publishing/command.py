"""`ehr-attack publish`: a run's results as a Markdown page with a few small figures."""

import argparse
from pathlib import Path

from ehr_attack.errors import UserError
from ehr_attack.lineage.verifying import UNKNOWN, verify
from ehr_attack.publishing.results import write_results


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `ehr-attack publish`."""
    parser.epilog = """examples:
  ehr-attack publish results/physionet2012 --to docs/results-physionet2012.md

The page holds what the report's tables hold (counts below ten withheld) and nothing of single patients; figures go
to a folder of the page's name beside it. Only a run that `ehr-attack verify` finds whole is published."""
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder of a finished run, such as results/synthetic")
    parser.add_argument("--to", type=Path, metavar="FILE", required=True, help="the page to write, a .md file")


def run(arguments: argparse.Namespace) -> None:
    """Write the page and its figures. Raises UserError for a run that is unfinished or does not hold."""
    folder, page = arguments.run, arguments.to
    if page.suffix != ".md":
        raise UserError(f"--to {page}: expected the name of a .md file.")
    if not (folder / "report" / "index.html").is_file():
        raise UserError(f"{folder}: no report/index.html. Expected the folder of a finished run: run snakemake first.")
    broken = {finding.file for finding in verify(folder) if finding.kind != UNKNOWN}
    if broken:
        raise UserError(
            f"{folder}: {len(broken)} results do not hold. `ehr-attack verify {folder}` names them; run snakemake with "
            "this run's config, then publish again."
        )
    figures = write_results(folder, page)
    print(f"{page}: written, with {len(figures)} figures in {page.with_suffix('')}.")
