"""The subcommand `ehr-attack estimate`."""

import argparse
import io
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ehr_attack.errors import UserError

if TYPE_CHECKING:
    from ehr_attack.estimate.presentation import Estimate

_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `ehr-attack estimate`."""
    parser.epilog = """examples:
  ehr-attack estimate
  ehr-attack estimate --configfile workflow/presets/mimic3.yaml workflow/presets/sun2018.yaml --cores 16
  ehr-attack estimate --directory /scratch/me/study --json estimate.json

Nothing is written but the file of --json. The first stages are tried on a sample of the source and the steps of
training and attack on random inputs, which takes about half a minute."""
    parser.add_argument(
        "--configfile",
        nargs="+",
        action="extend",
        default=[],
        type=Path,
        metavar="FILE",
        help="overlays on config.yaml, in this order, as for snakemake",
    )
    parser.add_argument(
        "--directory",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="where the run would work, as for snakemake; a config.yaml there wins over the project's own (default: "
        "the current folder)",
    )
    parser.add_argument(
        "--cores", type=_positive, metavar="N", help="cores that the run may use, as for snakemake (default: all)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers to this file")


def run(arguments: argparse.Namespace) -> None:
    """Estimate, print, and write the JSON file if one is wanted."""
    from ehr_attack.estimate.settings import configured

    # A mistake in the config is told at once: what follows takes seconds to import.
    config = configured(arguments.directory, arguments.configfile)

    from ehr_attack.estimate.presentation import as_data, as_text
    from ehr_attack.storage import write_json

    estimate = _estimate(config, arguments.directory, arguments.cores)
    if arguments.json is not None:
        write_json(as_data(estimate), arguments.json)
    print(as_text(estimate))


def _estimate(config: Mapping[str, Any], directory: Path, cores: int | None) -> "Estimate":
    from ehr_attack.estimate.calibration import calibrate
    from ehr_attack.estimate.costs import make_plan
    from ehr_attack.estimate.machine import this_machine
    from ehr_attack.estimate.pilot import run_pilot
    from ehr_attack.estimate.presentation import Estimate
    from ehr_attack.estimate.workload import Workload
    from ehr_attack.sources import find_tables, held_out_sets

    kind = config["source"]["kind"]
    if config["source"]["database"] == "postgresql":
        raise UserError(
            "config key source.database: found postgresql; an estimate needs the tables as files. Set it to duckdb and "
            "source.path to a folder of the same tables; all steps after staging cost the same."
        )
    tables = {} if kind == "synthetic" else find_tables(kind, config["source"]["path"])
    folds = sets = config["folds"]["count"]
    if config["folds"]["method"] == "by_set":
        sets = len(held_out_sets(tables, None))
        folds = len(held_out_sets(tables, config["folds"]["held_out_sets"]))
    machine = this_machine(directory / "results", cores)
    _log.info("estimating: the first stages on a sample of the source")
    with _quiet():
        pilot = run_pilot(config, tables)
    _log.info("estimating: the steps of training and attack on random inputs")
    with _quiet():
        calibration = calibrate(config, pilot.variables)
    work = Workload.of(
        config, stays=pilot.stays, deaths=pilot.deaths, variables=pilot.variables, folds=folds, sets=sets
    )
    plan = make_plan(config, pilot, calibration, work, cores=machine.cores)
    return Estimate(config, pilot, calibration, work, plan, machine)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the stages say about the sample off the terminal: it would pass for news of a run."""
    log = logging.getLogger("ehr_attack")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        log.setLevel(level)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return number
