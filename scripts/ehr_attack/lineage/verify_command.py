"""`ehr-attack verify`: hash the results of a run again, and tell what was tampered with or is stale."""

import argparse
from pathlib import Path

from ehr_attack.errors import UserError
from ehr_attack.lineage.records import GATHERED, RECORDS, gather_all, read_records
from ehr_attack.lineage.verifying import KINDS, NO_FAULTS, verify
from ehr_attack.storage import write_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `ehr-attack verify`."""
    parser.epilog = """examples:
  ehr-attack verify results/synthetic
  ehr-attack verify results/synthetic --json findings.json

Exit status 0: every result is what its job wrote, from what is there, with the code and the packages that are here. 1:
some are missing, were changed by hand, or are stale. Files that no job wrote, and code of your own that cannot be found
from here, are named, and are no fault. Packages must be those of the jobs: verify in an environment like theirs.

What verify does not tell: whether config.yaml, or a source outside of the run, asks for other results than these by
now (`ehr-attack explain` does). Results of a model or an attack that was since taken out of config.yaml are verified
like the rest; if you delete them, delete the records of their jobs in RUN/provenance as well, then use --gather.
Whoever changes a result, its record and its folder's provenance.json to match leaves no trace: keep a copy of
RUN/provenance where others cannot write, if that matters."""
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder of the run, such as results/synthetic")
    parser.add_argument(
        "--gather", action="store_true", help="first write provenance.json of each folder anew, from RUN/provenance"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found to FILE as well")


def run(arguments: argparse.Namespace) -> None:
    """Print what was found. Raises UserError when a result does not hold, so that the exit status tells."""
    folder = arguments.run
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder. Expected that of a run, such as results/synthetic.")
    if arguments.gather:
        gather_all(folder)
    findings = verify(folder)
    for kind, words in KINDS.items():
        of_kind = [finding for finding in findings if finding.kind == kind]
        if of_kind:
            print(f"{kind} ({words}):")
            print("\n".join(f"  {finding.file}: {finding.what}" for finding in of_kind))
    if arguments.json is not None:
        write_json([vars(finding) for finding in findings], arguments.json)
    files = sum(len(record["outputs"]) for record in read_records(folder).values())
    broken = {finding.file for finding in findings if finding.kind not in NO_FAULTS}
    if results := [file for file in broken if Path(file).name != GATHERED]:
        raise UserError(
            f"{folder}: {len(results)} of {files} results do not hold. Delete what was changed by hand, then run "
            "snakemake with this run's config: it makes anew what is missing or stale."
        )
    if broken:
        raise UserError(
            f"{folder}: all {files} results hold, but {len(broken)} of the files {GATHERED} are not what the records "
            f"in {folder / RECORDS} say. `ehr-attack verify {folder} --gather` writes them anew."
        )
    print(f"{folder}: all {files} results are what their jobs wrote, with the code that is here.")
