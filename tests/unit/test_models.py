"""The contract of every model of the registry, and of models that users bring along."""

import sys

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from ehr_attack.attacks import load_mode
from ehr_attack.attacks.engine import search
from ehr_attack.attacks.gradients import freeze
from ehr_attack.attacks.mode import SearchSettings
from ehr_attack.attacks.rows import Victims
from ehr_attack.digests import code_digest
from ehr_attack.errors import UserError
from ehr_attack.fitting import build_optimiser, training_step
from ehr_attack.inputs import channel_count
from ehr_attack.models import (
    MODELS,
    build_model,
    check_found,
    chosen_settings,
    inputs_of,
    label_of,
    model_class,
    module_of,
    settings_of,
)
from ehr_attack.models.contract import FitsInputs, check_model
from ehr_attack.paths import CONFIG_SCHEMA_FILE, PROJECT_DIR
from ehr_attack.progress import Progress

HOURS, VARIABLES, ROWS = 6, 3, 5


def channels_of(name):
    return channel_count(inputs_of(name, "values"), VARIABLES)


def made_up_inputs(name, rows=ROWS, seed=1):
    """Inputs in [0, 1] whose masks, where there are some, are 0 or 1."""
    inputs = torch.rand((rows, HOURS, channels_of(name)), generator=torch.Generator().manual_seed(seed))
    inputs[..., VARIABLES : 2 * VARIABLES] = inputs[..., VARIABLES : 2 * VARIABLES].round()
    return inputs


def built(name, dtype=torch.float32):
    """A model in evaluation mode that is far enough from its initial weights to react to all of its inputs."""
    torch.manual_seed(3)
    model = build_model(name, channels_of(name))
    if isinstance(model, FitsInputs):
        model.fit_inputs(made_up_inputs(name, rows=50), torch.full((50,), HOURS))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape))
    return model.to(dtype).eval()


def test_the_schema_names_the_models_of_the_registry():
    schema = yaml.safe_load(CONFIG_SCHEMA_FILE.read_text(encoding="utf-8"))
    choices = schema["properties"]["training"]["properties"]["models"]["items"]["anyOf"]
    assert set(choices[0]["enum"]) == set(MODELS)


@pytest.mark.parametrize("name", MODELS)
class TestEveryModel:
    def test_it_gives_two_logits_in_single_and_double_precision(self, name):
        for dtype in (torch.float32, torch.float64):
            logits = built(name, dtype)(made_up_inputs(name).to(dtype))
            assert logits.shape == (ROWS, 2) and logits.dtype == dtype and logits.isfinite().all()

    @pytest.mark.parametrize("lengths", [None, [HOURS, 4, 1, 2, HOURS]])
    def test_its_gradient_is_that_of_finite_differences(self, name, lengths):
        model, inputs = built(name, torch.float64), made_up_inputs(name).double()
        lengths = None if lengths is None else torch.tensor(lengths)
        leaf = inputs.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad((model(leaf, lengths) @ torch.tensor([-1.0, 1.0]).double()).sum(), leaf)
        assert gradient[..., :VARIABLES].abs().sum() > 0
        step = 1e-6
        for row, hour, channel in np.ndindex(ROWS, HOURS, VARIABLES):
            ends = []
            for sign in (-1, 1):
                moved = inputs.clone()
                moved[row, hour, channel] += sign * step
                logits = model(moved, lengths)[row]
                ends.append((logits[1] - logits[0]).item())
            slope = (ends[1] - ends[0]) / (2 * step)
            assert slope == pytest.approx(gradient[row, hour, channel].item(), rel=1e-4, abs=1e-7)

    def test_time_is_the_sequence_axis(self, name):
        """Swapping two hours changes the output; and inputs may have any number of hours."""
        model, inputs = built(name), made_up_inputs(name)
        swapped = inputs[:, [1, 0, *range(2, HOURS)]]
        assert ((model(inputs) - model(swapped)).abs() > 1e-6).any(dim=1).all()
        assert model(inputs[:, :3]).shape == (ROWS, 2)

    def test_hours_after_the_length_do_not_matter(self, name):
        model, inputs = built(name), made_up_inputs(name, rows=2)
        lengths = torch.tensor([3, HOURS])
        for noise in (99.0, -1.0):
            changed = inputs.clone()
            changed[0, 3:] = noise
            assert torch.equal(model(inputs, lengths), model(changed, lengths))
        torch.testing.assert_close(model(inputs, lengths)[:1], model(inputs[:1, :3]))
        leaf = inputs.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(model(leaf, lengths).square().sum(), leaf)
        assert (gradient[0, 3:] == 0).all() and (gradient[0, :3] != 0).any()

    def test_it_computes_the_same_twice_and_whatever_its_neighbours(self, name):
        model, inputs = built(name), made_up_inputs(name)
        assert torch.equal(model(inputs), model(inputs))
        other = inputs.clone()
        other[1:] = 0.5
        assert torch.equal(model(inputs)[0], model(other)[0])

    def test_frozen_for_the_attack_it_computes_what_it_computed_before(self, name):
        model, inputs = built(name), made_up_inputs(name)
        before = model(inputs)
        freeze(model)
        assert torch.equal(model(inputs), before)

    def test_the_same_seed_gives_the_same_weights(self, name):
        states = []
        for _ in range(2):
            torch.manual_seed(8)
            states.append(build_model(name, channels_of(name)).state_dict())
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])

    def test_its_name_serves_as_folder_and_its_contract_is_kept(self, name):
        assert label_of(name) == name and name.isalnum()
        check_model(build_model(name, channels_of(name)), name, channels_of(name), HOURS)

    @pytest.mark.parametrize("mode", ["ista", "sun2018"])
    def test_the_attack_changes_values_only_and_finds_what_flips(self, name, mode):
        model = built(name, torch.float64).float()
        inputs = made_up_inputs(name, rows=8)
        lengths = torch.tensor([HOURS] * 6 + [3, 4])
        with torch.no_grad():  # both classes are within reach of every stay
            logits = model(inputs, lengths)
            for part in [module for module in model.modules() if hasattr(module, "output")]:
                part.output.bias[1] -= (logits[:, 1] - logits[:, 0]).median()
            logits = model(inputs, lengths)
        victims = Victims(
            inputs=inputs[..., :VARIABLES],
            lengths=lengths,
            labels=logits.argmax(dim=1),
            mutable=torch.arange(HOURS)[None, :, None].expand(8, HOURS, VARIABLES) < lengths[:, None, None],
            constants=inputs[..., VARIABLES:],
        )
        settings = SearchSettings(lambdas=(1e-4, 1e-3), steps=100, rate=0.1, kappa=0.0, chunk_rows=4)
        flips = 0
        with Progress("test", 16, "rows") as progress:
            for rows in search(model, victims, load_mode(mode), settings, progress):
                changes = rows.point.view(-1, HOURS, VARIABLES)
                if not len(rows.stay):
                    continue
                seen = torch.cat([victims.inputs[rows.stay] + changes, victims.constants[rows.stay]], dim=-1)
                with torch.no_grad():
                    now = model(seen, lengths[rows.stay]).argmax(dim=1)
                assert torch.equal(now != victims.labels[rows.stay], rows.flipped)
                flips += int(rows.flipped.sum())
        assert flips > 0


def test_own_settings_fill_what_the_config_leaves_open():
    grud, lstm = (model_class(name)(6) for name in ("grud", "lstm"))
    open_settings = {"lr": None, "weight_decay": None, "epochs": 3}
    assert chosen_settings(lstm, open_settings) == {"lr": 0.001, "weight_decay": 0.0, "epochs": 3}
    assert chosen_settings(grud, open_settings)["weight_decay"] == grud.weight_decay > 0
    assert chosen_settings(grud, {"lr": 0.5, "weight_decay": 0.0}) == {"lr": 0.5, "weight_decay": 0.0}


def test_overrides_change_the_named_model_only():
    training = {"models": ["lstm", "my.own:Net"], "lr": None, "inputs": "values", "overrides": {"Net": {"lr": 0.1}}}
    assert settings_of("Net", training) == {"lr": 0.1, "inputs": "values"}
    assert settings_of("lstm", training) == {"lr": None, "inputs": "values"}


# --- models that users bring along

GOOD = """
import torch
from torch import nn
from {sibling} import scale

class My_Model(nn.Module):
    def __init__(self, n_features):
        super().__init__()
        self.output = nn.Linear(n_features, 2)

    def forward(self, inputs, lengths=None):
        last = inputs[:, -1] if lengths is None else inputs[torch.arange(len(inputs)), lengths - 1]
        return scale * self.output(last)
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder of a user's own modules, the current one; `own(name, text)` writes one and forgets what was imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_users_own_module_is_built_from_the_current_folder(own):
    own("ownmodels/__init__.py", "")
    own("ownmodels/parts.py", "scale = 2.0\n")
    own("ownmodels/last.py", GOOD.format(sibling=".parts"))
    model = "ownmodels.last:My_Model"
    check_found([model])
    assert label_of(model) == "MyModel" and inputs_of(model, "values_mask") == "values_mask"
    check_model(build_model(model, 4), model, 4, HOURS)


@pytest.mark.parametrize(
    ("files", "module"),
    [
        ({"alone.py": GOOD.format(sibling="beside"), "beside.py": "scale = 1.0\n"}, "alone"),
        ({"pack/__init__.py": "", "pack/a.py": GOOD.format(sibling=".b"), "pack/b.py": "scale = 1.0\n"}, "pack.a"),
        ({"pack/__init__.py": "", "pack/a.py": GOOD.format(sibling="pack.b"), "pack/b.py": "scale = 1.0\n"}, "pack.a"),
    ],
)
def test_an_edit_of_it_or_of_what_it_imports_from_beside_it_is_noticed(own, files, module):
    from ehr_attack import digests, import_closure

    def digest():
        caches = (import_closure.import_closure, import_closure._one_step, import_closure._imports)
        digests._seen.clear()
        for cached in (*caches, import_closure._files_of):
            cached.cache_clear()
        return code_digest(PROJECT_DIR / "scripts" / "train.py", [module_of(f"{module}:My_Model")])

    for name, text in files.items():
        own(name, text)
    first = digest()
    assert set(files) <= set(first) and module.split(".")[0] not in sys.modules
    for name, text in files.items():
        own(name, text + "\n# edited\n")
        changed = digest()
        assert {key for key in first if first[key] != changed[key]} == {name}
        own(name, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nowhere_to_be_found\n", r"importing broken failed: ModuleNotFoundError: No module named 'nowhere_to"),
        ("import math\n\nmath.nothing\n", r"importing broken failed: AttributeError: module 'math' has no attribute"),
        ("class Model:\n    pass\n", r"Model is no torch module"),
        ("x = 1\n", r"has no attribute 'Model'. Expected the name of a class"),
        (
            "from torch import nn\nclass Model(nn.Module):\n    def __init__(self):\n        pass\n",
            r"cannot be built from",
        ),
    ],
)
def test_one_that_cannot_be_built_is_refused(own, text, message):
    own("broken.py", text)
    with pytest.raises(UserError, match=r"training\.models: 'broken:Model'.*" + message):
        build_model("broken:Model", 4)


def test_one_that_is_not_there_is_named_before_anything_runs(own):
    with pytest.raises(UserError, match=r"key training\.models: 'no\.where:Model': there is no module no\.where"):
        check_found(["lstm", "no.where:Model"])


class Faulty(nn.Module):
    def __init__(self, fault):
        super().__init__()
        self.fault, self.linear, self.calls = fault, nn.Linear(4, 2), 0

    def forward(self, inputs, lengths=None):
        self.calls += 1
        last = inputs[torch.arange(len(inputs)), lengths - 1]
        return {
            "shape": lambda: self.linear(last)[:, :1],
            "constant": lambda: self.linear(last.detach()),
            "padding": lambda: self.linear(inputs.mean(dim=1)),
            "noise": lambda: self.linear(last) + self.calls,
            "infinite": lambda: self.linear(last) / 0.0,
            "error": lambda: self.linear(inputs[..., :3]),
        }[self.fault]()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("shape", r"gives \(3, 1\) for a batch of 3; expected logits of shape \(3, 2\)"),
        ("constant", r"do not depend on the inputs by a gradient"),
        ("padding", r"looks at hours after the end"),
        ("noise", r"other logits for the same inputs"),
        ("infinite", r"not finite"),
        ("error", r"fails on inputs \(3, 6, 4\) and lengths \(3,\): RuntimeError"),
    ],
)
def test_one_that_breaks_the_contract_is_refused(fault, message):
    with pytest.raises(UserError, match=r"training\.models: 'own:Faulty' .*" + message):
        check_model(Faulty(fault), "own:Faulty", 4, HOURS)


class TestEnsemble:
    def test_its_logits_are_the_mean_of_its_members(self):
        model, inputs = built("ensemble", torch.float64), made_up_inputs("ensemble").double()
        members = [model.logistic(inputs[..., : 2 * VARIABLES]), model.grud(inputs)]
        torch.testing.assert_close(model(inputs), (members[0] + members[1]) / 2)

    def test_each_member_learns_as_it_would_alone(self):
        """Its gradient is half of that of its own loss: what the other member says does not enter."""
        model, inputs, labels = (
            built("ensemble", torch.float64),
            made_up_inputs("ensemble").double(),
            torch.arange(ROWS) % 2,
        )
        weights = torch.tensor([0.7, 1.6], dtype=torch.float64)
        alone = []
        for member, channels in ((model.logistic, 2 * VARIABLES), (model.grud, 3 * VARIABLES)):
            loss = torch.nn.functional.cross_entropy(member(inputs[..., :channels]), labels, weight=weights)
            alone += torch.autograd.grad(loss, list(member.parameters()))
        kept = [parameter.detach().clone() for parameter in model.parameters()]
        optimiser = torch.optim.SGD(model.parameters(), lr=1.0)
        training_step(model, inputs, torch.full((ROWS,), HOURS), labels, optimiser, weights.float(), "float32")
        for before, after, gradient in zip(kept, model.parameters(), alone, strict=True):
            torch.testing.assert_close(before - after, gradient / 2, rtol=1e-4, atol=1e-6)

    def test_members_learn_at_their_own_rates_unless_the_config_tells_one(self):
        model = built("ensemble")
        alone = [chosen_settings(member, {"lr": None, "weight_decay": None}) for member in model.members]
        groups = build_optimiser(model, chosen_settings(model, {"lr": None, "weight_decay": None})).param_groups
        assert [(group["lr"], group["weight_decay"]) for group in groups] == [tuple(own.values()) for own in alone]
        assert alone[0] != alone[1]
        groups = build_optimiser(model, chosen_settings(model, {"lr": 0.01, "weight_decay": 0.0})).param_groups
        assert {(group["lr"], group["weight_decay"]) for group in groups} == {(0.01, 0.0)}
        assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))

    def test_a_module_that_only_calls_something_its_members_is_no_ensemble(self):
        class Own(nn.Module):
            def __init__(self):
                super().__init__()
                self.members = nn.ModuleList([nn.Linear(3, 2)])

        chosen = chosen_settings(Own(), {"lr": None, "weight_decay": None})
        assert chosen == {"lr": 0.001, "weight_decay": 0.0}
        (group,) = build_optimiser(Own(), chosen).param_groups
        assert (group["lr"], group["weight_decay"]) == (0.001, 0.0)
