"""`ehr-attack verify`: hash the results of a run again, and tell what was tampered with or is stale."""

import argparse
from pathlib import Path

from ehr_attack.errors import UserError
from ehr_attack.lineage.records import read_records
from ehr_attack.lineage.verifying import KINDS, UNKNOWN, verify
from ehr_attack.storage import write_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `ehr-attack verify`."""
    parser.epilog = """examples:
  ehr-attack verify results/synthetic
  ehr-attack verify results/synthetic --json findings.json

Exit status 0: every result is what its job wrote, from what is there, with the code and the packages that are here. 1:
some are missing, were changed by hand, or are stale. Files that no job wrote are named, and are no fault."""
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder of the run, such as results/synthetic")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found to FILE as well")


def run(arguments: argparse.Namespace) -> None:
    """Print what was found. Raises UserError when a result does not hold, so that the exit status tells."""
    folder = arguments.run
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder. Expected that of a run, such as results/synthetic.")
    findings = verify(folder)
    for kind, words in KINDS.items():
        of_kind = [finding for finding in findings if finding.kind == kind]
        if of_kind:
            print(f"{kind} ({words}):")
            print("\n".join(f"  {finding.file}: {finding.what}" for finding in of_kind))
    if arguments.json is not None:
        write_json([vars(finding) for finding in findings], arguments.json)
    files = sum(len(record["outputs"]) for record in read_records(folder).values())
    broken = {finding.file for finding in findings if finding.kind != UNKNOWN}
    if broken:
        raise UserError(
            f"{folder}: {len(broken)} of {files} results do not hold. Delete what was changed by hand, then run "
            "snakemake with this run's config: it makes anew what is missing or stale."
        )
    print(f"{folder}: all {files} results are what their jobs wrote, with the code that is here.")
