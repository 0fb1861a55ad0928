"""Checkpoints: weights as safetensors, everything else that belongs to a trained model as JSON beside them."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from ehr_attack.errors import UserError
from ehr_attack.inputs import INPUTS, channel_count
from ehr_attack.models import build_model
from ehr_attack.preprocessing import Preprocessing
from ehr_attack.storage import atomic_path, read_json, write_json
from ehr_attack.variables import Variable


@dataclass(frozen=True)
class Checkpoint:
    """A trained model with the preprocessing that it was trained on; `details` is the whole of model.json."""

    model: torch.nn.Module
    preprocessing: Preprocessing
    details: dict[str, Any]

    @property
    def inputs(self) -> str:
        """The kind of inputs that the model was trained on, one of `ehr_attack.inputs.INPUTS`."""
        return str(self.details["inputs"])


def save_checkpoint(
    *,
    model: torch.nn.Module,
    preprocessing: Preprocessing,
    details: dict[str, Any],
    weights: Path,
    sidecar: Path,
) -> None:
    """Write `weights` (safetensors) and `sidecar` (JSON: `details`, the preprocessing, the weights' digest)."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    payload = save(state)
    with atomic_path(weights) as temporary:
        temporary.write_bytes(payload)
    stored = {"preprocessing": preprocessing.to_dict(), "weights_sha256": hashlib.sha256(payload).hexdigest()}
    write_json(details | stored, sidecar)


def load_checkpoint(weights: Path, sidecar: Path, variables: Sequence[Variable]) -> Checkpoint:
    """Read a checkpoint back, on the CPU, in evaluation mode.

    Raises UserError when the files are damaged, do not belong together, or were made for other variables.
    """
    variable_names = tuple(variable.name for variable in variables)
    details = read_json(sidecar)
    try:
        payload = Path(weights).read_bytes()
    except OSError as error:
        raise UserError(f"{weights}: the checkpoint cannot be read ({error.strerror}).") from error
    remedy = "Delete the folder and run snakemake again; the fold will be trained anew."
    try:
        architecture, inputs, digest = details["architecture"], details["inputs"], details["weights_sha256"]
        preprocessing = Preprocessing.from_dict(details["preprocessing"])
    except (KeyError, TypeError) as error:
        raise UserError(f"{sidecar}: not a checkpoint description (missing {error}). {remedy}") from error
    if hashlib.sha256(payload).hexdigest() != digest:
        raise UserError(f"{weights}: the weights are not those that {sidecar} describes. {remedy}")
    if preprocessing.variable_names != variable_names:
        raise UserError(
            f"{sidecar}: trained on the variables {', '.join(preprocessing.variable_names)}, but the run has "
            f"{', '.join(variable_names)}. {remedy}"
        )
    if inputs not in INPUTS:
        raise UserError(f"{sidecar}: inputs {inputs!r} are unknown; expected one of {', '.join(INPUTS)}. {remedy}")
    model = build_model(architecture, channel_count(inputs, len(variable_names)))
    try:
        model.load_state_dict(load(payload))
    except (SafetensorError, RuntimeError, json.JSONDecodeError) as error:
        raise UserError(f"{weights}: not the weights of a {architecture} model. {remedy}") from error
    return Checkpoint(model.eval(), preprocessing, details)
