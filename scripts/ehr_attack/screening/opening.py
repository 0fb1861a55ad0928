"""From the command line of `screen` and `predict` to the run, the stays and the device."""

import argparse
import logging

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
    if arguments.shard is not None:
        source = source.shard(*arguments.shard)
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
