"""Several models in one run, one of them a user's own module beside config.yaml."""

import json

import pytest

OWN = """
import torch
from torch import nn


class Last_Hour(nn.Module):
    weight_decay = 0.5

    def __init__(self, n_features):
        super().__init__()
        self.output = nn.Linear(n_features, 2)

    def forward(self, inputs, lengths=None):
        last = inputs[:, -1] if lengths is None else inputs[torch.arange(len(inputs)), lengths - 1]
        return self.output(last)
"""


@pytest.fixture
def with_more(project):
    """A finished run of the LSTM to which a GRU-D and a user's own model are added."""
    (project.folder / "ownmodels.py").write_text(OWN)
    project.edit_config("training.models", ["lstm", "grud", "ownmodels:Last_Hour"])
    project.edit_config("training.overrides", {"LastHour": {"inputs": "values_mask"}})
    project.edit_config("attack.modes", ["ista"])
    return project


def test_more_models_are_trained_attacked_and_reported(with_more):
    stale = with_more.stale_rules()
    assert (stale["train"], stale["attack"]) == (4, 4), "two models more on two folds; the LSTM's jobs are done"
    with_more.snakemake()
    results = with_more.folder / "results" / "small"
    inputs = {"lstm": "values", "grud": "values_mask_delta", "LastHour": "values_mask"}
    for name, kind in inputs.items():
        details = json.loads((results / f"models/{name}/seed_0/fold_1/model.json").read_text())
        assert (details["model"], details["inputs"]) == (name, kind)
    assert details["architecture"] == "ownmodels:Last_Hour" and details["training"]["weight_decay"] == 0.5
    page = (results / "report" / "index.html").read_text()
    assert all(f"<code>{name}</code>" in page for name in inputs)
    assert all((results / f"figures/hours_{name}_ista.svg").exists() for name in inputs)

    (with_more.folder / "ownmodels.py").write_text(OWN + "# edited\n")
    stale = with_more.stale_rules()
    assert (stale["train"], stale["attack"]) == (2, 2), "the user's own model only"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("nowhere:Model", "config key training.models: 'nowhere:Model': there is no module nowhere"),
        ("lstms", "config key training.models: found 'lstms'; expected lstm, gru"),
    ],
)
def test_a_model_that_is_not_there_is_named_before_anything_runs(project, model, message):
    project.edit_config("training.models", [model])
    done = project.snakemake("--dry-run", check=False)
    assert done.returncode != 0 and message in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_model_that_does_not_work_ends_in_one_message(project):
    (project.folder / "ownmodels.py").write_text(OWN.replace("nn.Linear(n_features, 2)", "nn.Linear(n_features, 3)"))
    project.edit_config("training.models", ["ownmodels:Last_Hour"])
    done = project.snakemake(check=False)
    assert done.returncode != 0
    assert "training.models: 'ownmodels:Last_Hour' gives (3, 3) for a batch of 3" in done.stderr
    assert not list((project.folder / "results/small/models/LastHour").rglob("model*"))
