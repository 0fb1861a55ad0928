"""What `ehr-attack screen` and `ehr-attack predict` share on the command line."""

import argparse
import logging
from pathlib import Path

import numpy as np
import torch

from ehr_attack.devices import choose_device, make_deterministic, reuse_freed_memory
from ehr_attack.errors import UserError
from ehr_attack.screening.description import RunDescription, read_description
from ehr_attack.screening.fold_models import load_fold_models
from ehr_attack.screening.records import template
from ehr_attack.screening.stays import Source, open_source
from ehr_attack.storage import write_csv

_log = logging.getLogger(__name__)

RECORDS_HELP = """records of --records: one row a recorded value, as .csv, .csv.gz or .parquet, with the columns
  stay_id   whole number, your own
  hours     since ICU admission; negative before it
  variable  name of a variable of the run, such as creatinine
  value     in the variable's unit; outside its plausible range it is refused
and perhaps: unit (checked), hours_observable (hours of the window before a stay's end; the whole window by default).
--template FILE writes an example with the run's variables and units."""


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that say which run, which of its models, and which stays."""
    parser.add_argument("--run", type=Path, required=True, metavar="FOLDER", help="a finished run, as results/demo")
    sources = parser.add_mutually_exclusive_group(required=True)
    sources.add_argument(
        "--stay", type=int, nargs="+", metavar="ID",
        help="stays of the run; each is judged by the model of the fold that held it out",
    )  # fmt: skip
    sources.add_argument("--all-held-out", action="store_true", help="every stay of the run that a fold held out")
    sources.add_argument(
        "--records", type=Path, metavar="FILE",
        help="new records, judged by the mean logit of the models of all folds; see below",
    )  # fmt: skip
    sources.add_argument("--template", type=Path, metavar="FILE", help="write an example for --records, and stop")
    parser.add_argument("--model", metavar="NAME", help="a model of the run, such as lstm (default: its first)")
    parser.add_argument("--seed", type=int, metavar="S", help="its seed (default: the run's first)")
    parser.add_argument(
        "--device", choices=["auto", "cpu", "cuda"], default="auto",
        help="default auto: a GPU if there is one; on a CPU the same call gives the same bytes",
    )  # fmt: skip


def opened(arguments: argparse.Namespace) -> tuple[RunDescription, Source, torch.device]:
    """The run, the stays and the device that the arguments ask for. Raises UserError as `open_source` does."""
    description = read_description(arguments.run)
    make_deterministic(description.seed(arguments.seed))
    reuse_freed_memory()
    wanted = arguments.device
    if wanted == "auto" and not torch.cuda.is_available():
        wanted = "cpu"  # Apple's GPU has no float64, in which every flip is recomputed.
    device = choose_device(wanted, "--device")
    source = open_source(
        arguments.run,
        description,
        stays=arguments.stay,
        all_held_out=arguments.all_held_out,
        records=arguments.records,
        model=arguments.model,
        seed=arguments.seed,
    )
    return description, source, device


def write_template(arguments: argparse.Namespace) -> None:
    """Write an example of `--records` with the medians of the training stays. Raises UserError for another suffix."""
    if arguments.template.suffix != ".csv":
        raise UserError(f"--template {arguments.template}: expected the name of a .csv file.")
    description = read_description(arguments.run)
    models = load_fold_models(arguments.run, description, model=arguments.model, seed=arguments.seed)
    medians = [checkpoint.preprocessing.median for checkpoint in models.checkpoints.values()]
    write_csv(template(description, np.mean(medians, axis=0).tolist()), arguments.template)
    _log.info("wrote %s: one made-up stay with every variable of the run", arguments.template)
