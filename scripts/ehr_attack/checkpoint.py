"""Checkpoints: weights as safetensors, everything else that belongs to a trained model as JSON beside them."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from ehr_attack.digests import code_digest
from ehr_attack.errors import UserError
from ehr_attack.inputs import INPUTS, channel_count
from ehr_attack.models import build_model, inputs_of, module_of
from ehr_attack.paths import PACKAGE_DIR
from ehr_attack.preprocessing import Preprocessing
from ehr_attack.storage import atomic_path, read_json, write_json
from ehr_attack.variables import Variable

_REMEDY = "Delete the folder and run snakemake again; the fold will be trained anew."


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
    """Write `weights` (safetensors) and `sidecar` (JSON).

    details: plain values; `architecture` (the model as the config names it), `inputs` (their kind), `code` (digests of
    the code that trained it), `data` (digests of the files it was trained on) and `units` are checked when it is
    loaded. Added to them are the weights' names, types and shapes, the preprocessing and the weights' digest.
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    payload = save(state)
    with atomic_path(weights) as temporary:
        temporary.write_bytes(payload)
    stored = {
        "weights": _types_and_shapes(state),
        "preprocessing": preprocessing.to_dict(),
        "weights_sha256": hashlib.sha256(payload).hexdigest(),
    }
    write_json(details | stored, sidecar)


def load_checkpoint(
    weights: Path,
    sidecar: Path,
    *,
    model_name: str,
    variables: Sequence[Variable],
    data: Mapping[str, str] | None = None,
) -> Checkpoint:
    """Read a checkpoint back, on the CPU, in evaluation mode. Nothing in the files is executed or imported.

    model_name: the model that is expected, as the config names it; the file does not choose what is built. data:
    digests of the files that it must have been trained on, as `CohortData.file_digests`; None: any. Raises UserError
    with the reason when the files are damaged, do not belong together, or are of another model, of other inputs,
    variables, code or data.
    """
    details, preprocessing = _read_sidecar(sidecar)
    payload = _read_weights(weights)
    for reason in _reasons_against(details, preprocessing, model_name, variables, data):
        raise UserError(f"{sidecar}: {reason}. {_REMEDY}")
    if hashlib.sha256(payload).hexdigest() != details["weights_sha256"]:
        raise UserError(f"{weights}: the weights are not those that {sidecar} describes. {_REMEDY}")
    model = build_model(model_name, channel_count(details["inputs"], len(variables)))
    try:
        state = load(payload)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{weights}: not a safetensors file. {_REMEDY}") from error
    if not _types_and_shapes(state) == _types_and_shapes(model.state_dict()) == details["weights"]:
        raise UserError(f"{weights}: not the weights of a {model_name} model of this version. {_REMEDY}")
    if not all(bool(tensor.isfinite().all()) for tensor in state.values()):
        raise UserError(f"{weights}: some weights are not finite numbers. {_REMEDY}")
    model.load_state_dict(state)
    return Checkpoint(model.eval(), preprocessing, details)


def model_code(model_name: str) -> dict[str, str]:
    """Digests, by file, of the code that decides what a checkpoint of this model means; packages are left out."""
    reached = code_digest(PACKAGE_DIR / "inputs.py", [module_of(model_name)])
    return {name: digest for name, digest in reached.items() if not name.startswith("package ")}


def _read_sidecar(sidecar: Path) -> tuple[dict[str, Any], Preprocessing]:
    try:
        details = read_json(sidecar)
        for key in ("architecture", "inputs", "weights", "weights_sha256", "code", "data", "units"):
            details[key]
        return details, Preprocessing.from_dict(details["preprocessing"])
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise UserError(
            f"{sidecar}: not a checkpoint description ({type(error).__name__}: {error}). {_REMEDY}"
        ) from error


def _read_weights(weights: Path) -> bytes:
    try:
        return Path(weights).read_bytes()
    except OSError as error:
        raise UserError(f"{weights}: the checkpoint cannot be read ({error.strerror}). {_REMEDY}") from error


def _reasons_against(
    details: Mapping[str, Any],
    preprocessing: Preprocessing,
    model_name: str,
    variables: Sequence[Variable],
    data: Mapping[str, str] | None,
) -> Iterator[str]:
    """Why the described model is not the one that is asked for, in words; nothing when it is."""
    if details["architecture"] != model_name:
        yield f"a model {details['architecture']!r}, but {model_name!r} is expected"
    if details["inputs"] not in INPUTS or details["inputs"] != inputs_of(model_name, details["inputs"]):
        yield f"inputs {details['inputs']!r} are not what this version gives to a {model_name} model"
    names = tuple(variable.name for variable in variables)
    if preprocessing.variable_names != names:
        trained_on = ", ".join(map(str, preprocessing.variable_names))
        yield f"trained on the variables {trained_on}, but the run has {', '.join(names)}"
    if details["units"] != {variable.name: variable.unit for variable in variables}:
        yield "trained on values in other units than the run has"
    for what, stored, wanted in (("code", details["code"], model_code(model_name)), ("data", details["data"], data)):
        changed = [] if wanted is None else [name for name in wanted if _entry(stored, name) != wanted[name]]
        if changed:
            yield f"trained with another version of the {what} ({', '.join(changed)})"


def _entry(stored: Any, name: str) -> Any:
    return stored.get(name) if isinstance(stored, Mapping) else None


def _types_and_shapes(state: Mapping[str, Tensor]) -> dict[str, list[Any]]:
    """The type and shape of each weight, by name, as JSON holds them."""
    return {name: [str(tensor.dtype).removeprefix("torch."), *tensor.shape] for name, tensor in sorted(state.items())}
