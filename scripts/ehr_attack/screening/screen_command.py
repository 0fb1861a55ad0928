"""The subcommand `ehr-attack screen`."""

import argparse
import logging
from collections.abc import Callable
from pathlib import Path

from ehr_attack.screening.arguments import RECORDS_HELP, add_source_arguments

_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `ehr-attack screen`."""
    parser.epilog = f"""examples:
  ehr-attack screen --run results/demo --stay 3000017 3000018
  ehr-attack screen --run results/demo --all-held-out --alternatives 5
  ehr-attack screen --run results/demo --records new.parquet --out /secure/folder

{RECORDS_HELP}

For each stay: the smallest change of recorded values found that flips what the model predicts (the fewest values, then
the smallest moves), and the single values that flip it by themselves, smallest move first: the entries that deserve a
second look. Changes are plausible, at charted precision, with systolic above diastolic pressure. What is screened is
the prediction, right or wrong. screen.json and screen.html hold patient-level data and are written for their owner only
(default: the run's folder private/screen). docs/screening.md explains both. This is no medical device."""
    add_source_arguments(parser)
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where to write (default: RUN/private/screen)")
    parser.add_argument(
        "--alternatives", type=_count(0), default=3, metavar="N",
        help="single values to tell for each stay, at most (default 3; 0: do not look for them, which is faster)",
    )  # fmt: skip
    parser.add_argument(
        "--steps", type=_count(1), metavar="N", help="steps of the search (default: the run's attack.steps)"
    )
    parser.add_argument(
        "--levels", type=_count(1), metavar="N",
        help="levels tried of each single value before the flip is narrowed down (default: the run's attack.levels)",
    )  # fmt: skip
    parser.add_argument(
        "--exhaustive", action="store_true",
        help="try every single value; by default those are left out that the gradient rules out (3 times as fast)",
    )  # fmt: skip
    parser.add_argument(
        "--cores", type=_count(1), metavar="N",
        help="processes that share the stays on a CPU, about 0.6 GB each (default: the cores of this machine)",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> None:
    """Screen and write both files."""
    from ehr_attack.estimate.machine import usable_cores
    from ehr_attack.screening.engine import ScreenSettings, screen
    from ehr_attack.screening.html import write_page
    from ehr_attack.screening.opening import opened, write_template
    from ehr_attack.screening.output import as_data, write_data
    from ehr_attack.screening.population import read_population
    from ehr_attack.screening.private_files import make_private

    if arguments.template is not None:
        write_template(arguments)
        return
    folder = arguments.out or arguments.run / "private" / "screen"
    description, source, device = opened(arguments)
    make_private(folder)
    population = read_population(arguments.run, description, source.models.model)
    attack = description.attack | ({"steps": arguments.steps} if arguments.steps else {})
    levels = arguments.levels or description.levels
    settings = ScreenSettings(attack, levels, arguments.alternatives, arguments.exhaustive)
    cores = arguments.cores or usable_cores()
    stays = screen(source, description.variables, settings, device, cores)
    data = as_data(arguments.run, source, description.variables, settings, population, stays)
    write_data(data, folder / "screen.json")
    write_page(data, folder / "screen.html")
    flipped = sum(stay.smallest is not None for stay in stays)
    _log.info(
        "%d of %d stays have a change that flips the prediction. Patient-level data, do not share: %s",
        flipped, len(stays), folder / "screen.html",
    )  # fmt: skip


def _count(least: int) -> Callable[[str], int]:
    """The type of an argument that is a whole number of at least `least`."""

    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"{text} is below {least}")
        return value

    return number
