"""The command line `ehr-attack`: one entry of `COMMANDS` a subcommand.

A subcommand's module holds two functions: `add_arguments(parser)` and `run(arguments)`, which raises UserError for a
mistake that a user can mend. Only the module of the subcommand that was asked for is imported.
"""

import argparse
import errno
import importlib
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass

from ehr_attack import __version__
from ehr_attack.errors import UserError

DONE, FAILED, INTERRUPTED, PIPE_CLOSED = 0, 1, 130, 141


@dataclass(frozen=True)
class Command:
    """Where a subcommand is defined, and what `ehr-attack --help` says about it."""

    module: str
    summary: str


COMMANDS = {
    "estimate": Command(
        "ehr_attack.estimate.command", "rows, disk, memory, time and GPU need of a run, before it is started"
    ),
    "predict": Command("ehr_attack.screening.predict_command", "probability of death of stays, by a run's models"),
    "screen": Command(
        "ehr_attack.screening.screen_command", "for single stays, the smallest changes that flip the prediction"
    ),
    "download-physionet2012": Command(
        "ehr_attack.downloads", "download the ICU stays of the PhysioNet/CinC Challenge 2012 (open access)"
    ),
    "verify": Command(
        "ehr_attack.lineage.verify_command", "hash the results of a run again: what was changed by hand, what is stale"
    ),
    "explain": Command("ehr_attack.explaining.command", "which results are stale, and why, in words"),
    "config": Command(
        "ehr_attack.config_reference", "every key of config.yaml: its meaning, allowed values and default"
    ),
    "publish": Command(
        "ehr_attack.publishing.command", "the results of a run as a page of text with small figures, aggregates only"
    ),
    "load-postgres": Command(
        "ehr_attack.sources.load_command", "fill a PostgreSQL database from a folder of CSV tables"
    ),
}

_EXAMPLES = """examples:
  ehr-attack estimate                                              # the run that config.yaml describes
  ehr-attack estimate --configfile workflow/presets/mimic3.yaml    # the same with a preset on top
  ehr-attack predict --run results/demo --all-held-out             # what the models say of the run's own stays
  ehr-attack screen --run results/demo --records new.parquet       # which entries of new records would flip them
  ehr-attack verify results/synthetic                              # are these results what the jobs wrote?
  ehr-attack explain                                               # what would snakemake run again, and why?
  ehr-attack config                                                # what may stand in config.yaml
  ehr-attack publish results/demo --to demo.md                     # tables and small figures, to keep with the code
  ehr-attack download-physionet2012                                # set A, 4,000 stays, to data/physionet2012
  ehr-attack load-postgres --from tables --schema mimiciii         # CSV tables of MIMIC-III to a PostgreSQL server

`ehr-attack COMMAND --help` says more. A run itself is started with `make run` or `snakemake --cores all`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the subcommand named in `arguments` (default: of this process) and return the exit status.

    0: done; 1: failed, with one line on standard error; 2: wrong usage (argparse exits by itself); 130: interrupted.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    chosen = next((word for word in given if not word.startswith("-")), None)
    parsed = _parser(chosen).parse_args(given)
    verbose = parsed.verbose or bool(os.environ.get("EHR_ATTACK_VERBOSE"))
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("ehr_attack").setLevel(logging.INFO)
    try:
        importlib.import_module(COMMANDS[parsed.command].module).run(parsed)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe (`| head`) has gone; what is still in the buffer must not be written at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except Exception as error:
        if verbose:
            traceback.print_exception(error)
        print(f"ehr-attack: {_message(error)}", file=sys.stderr)
        return FAILED
    return DONE


def _message(error: Exception) -> str:
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{error.filename or 'results'}: no space left on the device. Free some space and run this again."
    # The message of a foreign exception may quote a patient's values, so only its type is shown here.
    return (
        f"unexpected {type(error).__name__}; this is a defect of ehr-attack. `ehr-attack --verbose ...` shows the "
        "traceback (it may quote values of records: read it before you share it)."
    )


def _parser(chosen: str | None) -> argparse.ArgumentParser:
    """The parser of all subcommands; only `chosen` gets its arguments, for they need its module."""
    parser = argparse.ArgumentParser(
        prog="ehr-attack",
        description="Where in a patient's record would a small error flip the model?",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"ehr-attack {__version__}")
    parser.add_argument("--verbose", action="store_true", help="show tracebacks of errors")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        subparser = commands.add_parser(
            name,
            help=command.summary,
            description=f"{command.summary[0].upper()}{command.summary[1:]}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        # Without a default of its own, `--verbose` counts before the subcommand and behind it.
        subparser.add_argument("--verbose", action="store_true", default=argparse.SUPPRESS, help="show tracebacks")
        if name == chosen:
            importlib.import_module(command.module).add_arguments(subparser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
