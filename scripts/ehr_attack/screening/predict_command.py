"""The subcommand `ehr-attack predict`."""

import argparse
import sys
from pathlib import Path

from ehr_attack.errors import UserError
from ehr_attack.screening.arguments import RECORDS_HELP, add_source_arguments

_SUFFIXES = (".csv", ".parquet")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `ehr-attack predict`."""
    parser.epilog = f"""examples:
  ehr-attack predict --run results/demo --all-held-out --out predictions.parquet
  ehr-attack predict --run results/demo --template new.csv
  ehr-attack predict --run results/demo --records new.csv

{RECORDS_HELP}

Predictions are of single patients: keep them as the records themselves (files are written for their owner only). A
model trained with balanced outcomes, the default, gives a score between 0 and 1, not a calibrated risk."""
    add_source_arguments(parser)
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="write there, .csv or .parquet (default: CSV to standard output)"
    )


def run(arguments: argparse.Namespace) -> None:
    """Predict and write."""
    from ehr_attack.screening.opening import opened, write_template
    from ehr_attack.screening.prediction import predictions
    from ehr_attack.screening.private_files import write_private

    if arguments.template is not None:
        write_template(arguments)
        return
    if arguments.out is not None and arguments.out.suffix not in _SUFFIXES:
        raise UserError(f"--out {arguments.out}: expected a name that ends in {' or '.join(_SUFFIXES)}.")
    _, source, device = opened(arguments)
    frame = predictions(source, device)
    if arguments.out is None:
        frame.to_csv(sys.stdout, index=False, float_format="%.6g", lineterminator="\n")
    elif arguments.out.suffix == ".csv":
        text = frame.to_csv(index=False, float_format="%.6g", lineterminator="\n")
        write_private(arguments.out, lambda path: path.write_bytes(text.encode()))
    else:
        write_private(arguments.out, lambda path: frame.to_parquet(path, index=False, compression="zstd"))
