"""The models by name. A new model is one file and one line of `MODELS`; a user's own is named `package.module:Class`.

A model is a torch module built from the number of features (input channels) alone that maps inputs (batch, time,
feature) and, optionally, the number of valid hours (batch,) to two logits (batch, 2): survival and death. Hours from
there on have no influence. It may also have

- `inputs`, a class attribute: the kind of inputs that it takes whatever the config says (`ehr_attack.inputs.INPUTS`),
- `lr` and `weight_decay`, class attributes: used where the config leaves these keys open,
- `fit_inputs(inputs, lengths)`, called once before training with all training inputs, to set its buffers,
- `members` and `member_logits(inputs, lengths)`, of an ensemble: its modules, and their logits (members, batch, 2); in
  training each has its own loss, learning rate and weight decay.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ehr_attack.errors import UserError
from ehr_attack.modules import check_module, load_named

if TYPE_CHECKING:
    import torch

MODELS = {
    "lstm": "ehr_attack.models.lstm:LSTMClassifier",
    "gru": "ehr_attack.models.gru:GRUClassifier",
    "grud": "ehr_attack.models.grud:GRUDClassifier",
    "transformer": "ehr_attack.models.transformer:TransformerClassifier",
    "ensemble": "ehr_attack.models.ensemble:EnsembleClassifier",
    "logistic": "ehr_attack.models.logistic:LogisticClassifier",
}

_LR, _WEIGHT_DECAY = 0.001, 0.0


def label_of(model: str) -> str:
    """The name of `model` in tables and file names: letters and digits; of `package.module:Class`, the class."""
    return "".join(filter(str.isalnum, model.rpartition(":")[2]))


def module_of(model: str) -> str:
    """The importable module that defines `model`, for code digests."""
    return MODELS.get(model, model).partition(":")[0]


def check_found(models: Iterable[str]) -> None:
    """Raise UserError when the module of one of `models` is nowhere to be found (it is not imported)."""
    for model in models:
        check_module(module_of(model), f"config key training.models: {model!r}")


def model_class(model: str) -> type["torch.nn.Module"]:
    """The class of `model`. Raises UserError when the user's own cannot be imported or is no torch module."""
    import torch

    where = f"training.models: {model!r}"
    found = load_named(MODELS.get(model, model), where, is_own=model not in MODELS)
    if not (isinstance(found, type) and issubclass(found, torch.nn.Module)):
        name = model.partition(":")[2]
        raise UserError(f"{where}: {name} is no torch module; expected a class derived from torch.nn.Module.")
    return found


def inputs_of(model: str, configured: str) -> str:
    """The kind of inputs that `model` takes: its own if it has one, else the configured kind."""
    return str(getattr(model_class(model), "inputs", configured))


def build_model(model: str, n_features: int) -> "torch.nn.Module":
    """A freshly initialised `model` for `n_features` input channels (torch's global random state is used).

    Raises UserError when a user's own module cannot be imported or built.
    """
    found = model_class(model)
    if model in MODELS:
        return found(n_features)
    try:
        return found(n_features)
    except Exception as error:
        raise UserError(
            f"training.models: {model!r} cannot be built from the number of features alone, as {label_of(model)}"
            f"({n_features}): {type(error).__name__}: {error}."
        ) from error


def settings_of(label: str, training: Mapping[str, Any]) -> dict[str, Any]:
    """The config's `training` block for the model called `label`: what all share, and its own `overrides`."""
    shared = {key: value for key, value in training.items() if key not in ("models", "overrides")}
    own: dict[str, Any] = training["overrides"].get(label, {})
    return shared | own


def chosen_settings(model: "torch.nn.Module", settings: Mapping[str, Any]) -> dict[str, Any]:
    """The `training` settings with the model's own `lr` and `weight_decay` where the config leaves them open.

    Those of an ensemble stay open: each of its members has its own.
    """
    from ehr_attack.models.contract import HasMembers  # needs torch, which this package does without

    if isinstance(model, HasMembers):
        return dict(settings)
    own = {"lr": getattr(model, "lr", _LR), "weight_decay": getattr(model, "weight_decay", _WEIGHT_DECAY)}
    return dict(settings) | {key: value for key, value in own.items() if settings.get(key) is None}
