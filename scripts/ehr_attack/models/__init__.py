"""The models by name. A new model is one file and one line of `MODELS`.

A model is a torch module built from the number of features alone that maps inputs (batch, time, feature), and
optionally the number of valid time steps (batch,), to two logits (batch, 2): survival and death.
"""

import importlib

import torch

MODELS = {
    "lstm": "ehr_attack.models.lstm:LSTMClassifier",
}


def module_of(name: str) -> str:
    """The importable module that defines model `name`, for code digests."""
    return MODELS[name].partition(":")[0]


def build_model(name: str, n_features: int) -> torch.nn.Module:
    """A freshly initialised model `name` for `n_features` inputs (torch's global random state is used)."""
    module, _, attribute = MODELS[name].partition(":")
    model: torch.nn.Module = getattr(importlib.import_module(module), attribute)(n_features)
    return model
