"""`run_attack` on models that know nothing of this project."""

import doctest
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ehr_attack.attacks import CELLS, MODES, library, load_mode, run_attack
from ehr_attack.attacks.mode import Mode
from ehr_attack.errors import UserError
from ehr_attack.models import build_model

TIME, FEATURES = 5, 3
BY_CELLS = [name for name, entry in MODES.items() if entry.kind == CELLS]


class Weighted(nn.Module):
    """Class 1 when weight . x passes `at`; a convolution-free model of any kind."""

    def __init__(self, at=6.0, logits=2):
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(0.1, 1.5, TIME * FEATURES))
        self.at, self.logits = at, logits

    def forward(self, inputs):
        margin = inputs.flatten(1) @ self.weight - self.at
        return margin if self.logits == 1 else torch.stack([-margin / 2, margin / 2], dim=1)


INPUTS = torch.rand((12, TIME, FEATURES), generator=torch.Generator().manual_seed(2))


def predictions(model, inputs=INPUTS):
    logits = model(inputs)
    return (logits > 0).long() if logits.ndim == 1 else logits.argmax(dim=1)


@pytest.mark.parametrize("mode", BY_CELLS)
@pytest.mark.parametrize("logits", [1, 2])
def test_every_success_flips_the_model_when_it_is_applied(mode, logits):
    model = Weighted(logits=logits)
    labels = predictions(model)
    assert 0 < labels.sum() < len(labels)
    result = run_attack(model, INPUTS, labels, mode=mode, progress=False, steps=200, rate=0.05)
    assert (result.n_samples, result.n_correct) == (12, 12)
    assert result.success_rate == 1.0
    for row in result.smallest().itertuples():
        weight = row._3  # the column `lambda`, which is no name of Python's
        change = result.perturbation(row.sample, weight)
        assert np.count_nonzero(change) == row.n_changed and np.abs(change).sum() == pytest.approx(row.l1)
        changed = INPUTS[row.sample].double().numpy() + change
        if mode != "sun2018":
            assert changed.min() >= -1e-9 and changed.max() <= 1 + 1e-9
        assert predictions(model.double(), torch.tensor(changed)[None]).item() != labels[row.sample]
        model.float()


def test_what_may_not_change_does_not():
    model = Weighted()
    mutable = torch.zeros(TIME, FEATURES, dtype=torch.bool)
    mutable[3:, 1:] = True
    result = run_attack(model, INPUTS, predictions(model), mutable=mutable, mode="fmn_l1", progress=False)
    assert len(result.perturbations)
    assert (result.perturbations["time"] >= 3).all() and (result.perturbations["feature"] >= 1).all()


def test_only_what_is_predicted_correctly_is_attacked():
    model = Weighted()
    labels = predictions(model)
    labels[:4] = 1 - labels[:4]
    result = run_attack(model, INPUTS, labels, progress=False)
    assert (result.n_samples, result.n_correct) == (12, 8)
    assert set(result.outcomes["sample"]) == set(range(4, 12))


def test_with_nothing_to_attack_the_result_is_empty():
    model = Weighted()
    for inputs, labels in ((INPUTS, 1 - predictions(model)), (INPUTS[:0], [])):
        result = run_attack(model, inputs, torch.as_tensor(labels), progress=False)
        assert result.n_correct == 0 and result.outcomes.empty and result.perturbations.empty
        assert np.isnan(result.success_rate)


@pytest.mark.parametrize("mode", BY_CELLS)
def test_all_cells_masked_is_a_failure_without_a_change(mode):
    model = Weighted()
    result = run_attack(
        model,
        INPUTS,
        predictions(model),
        mode=mode,
        mutable=torch.tensor(False),
        lambdas=[0.01],
        steps=3,
        progress=False,
    )
    free = mode == "sun2018"  # the published update knows no mask
    assert result.outcomes["n_changed"].any() == free
    assert free or (result.success_rate == 0.0 and not result.outcomes["flipped"].any())


def test_lambda_zero_is_plain_gradient_descent():
    model = Weighted(at=3.9)
    inputs = torch.full((1, TIME, FEATURES), 0.3)
    result = run_attack(model, inputs, predictions(model, inputs), lambdas=[0.0], rate=0.01, progress=False)
    # Margin 0.3 x 12 - 3.9 = -0.3 and kappa 0.01; a step adds 0.01 |w|^2, |w|^2 = 12.4: 3 steps.
    change = result.perturbation(0, 0.0)
    np.testing.assert_allclose(change.ravel(), 3 * 0.01 * model.weight.detach().numpy(), rtol=1e-5)


def test_a_model_whose_logits_break_down_ends_without_a_flip():
    class Breaking(Weighted):
        def forward(self, inputs):
            logits = super().forward(inputs)
            return torch.where((inputs - INPUTS[: len(inputs)]).abs().sum() > 0, logits * torch.nan, logits)

    model = Breaking()
    inputs = INPUTS[:1]
    result = run_attack(model, inputs, predictions(Weighted(), inputs), progress=False, chunk_rows=1, lambdas=[0.01])
    assert not result.outcomes["flipped"].any() and (result.outcomes["l1"] == 0).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": torch.full((2, TIME, FEATURES), torch.nan)}, "inputs: some are NaN"),
        ({"labels": [0, 2]}, "labels: expected 0 or 1"),
        ({"labels": [0]}, "do not fit"),
        ({"inputs": INPUTS[0]}, "do not fit"),
        ({"mode": "measurement"}, "cannot be run here"),
        ({"mode": "nonsense"}, "expected one of sun2018, ista"),
        ({"path": "fused"}, "attack.path: fused was asked for"),
        ({"mutable": torch.ones(2, 7, dtype=torch.bool)}, "mutable: shape"),
        ({"lambdas": [-0.1]}, "expected a list of numbers from 0 up"),
        ({"lambdas": [float("nan")]}, "expected a list of numbers from 0 up"),
        ({"steps": 0}, "steps: 0; expected at least 1"),
        ({"lengths": [9, 2], "labels": [0, 1]}, "lengths: expected one of 1 to 5"),
    ],
)
def test_what_does_not_fit_is_said(change, message):
    given = {"inputs": INPUTS[:2], "labels": [0, 1]} | change
    with pytest.raises(UserError, match=message):
        run_attack(Weighted(at=3.6), **given, progress=False)


def test_weights_that_are_no_numbers_are_refused():
    model = Weighted()
    with torch.no_grad():
        model.weight[2] = torch.nan
    with pytest.raises(UserError, match="model: the parameter weight holds NaN"):
        run_attack(model, INPUTS, predictions(model), progress=False)


def test_three_classes_are_refused():
    class Three(nn.Module):
        def forward(self, inputs):
            return torch.zeros(len(inputs), 3)

    with pytest.raises(UserError, match="logits of shape"):
        run_attack(Three(), INPUTS, [0] * 12, progress=False)


class Halving(Mode):
    """A mode of one's own: everything moves half of the way to 1."""

    def update(self, state, seen):
        return {"point": state["point"] + (seen.high - state["point"]) / 2}


def test_a_mode_of_ones_own(tmp_path, monkeypatch):
    model = Weighted()
    labels = predictions(model)
    result = run_attack(model, INPUTS[labels == 0], labels[labels == 0], mode=Halving(), progress=False)
    assert result.success_rate == 1.0 and result.outcomes["lambda"].isna().all()
    (tmp_path / "mode_of_ones_own.py").write_text(
        "from ehr_attack.attacks.mode import Mode\n\n\nclass Own(Mode):\n    def update(self, state, seen):\n"
        "        return {'point': state['point'] + 0.1}\n\n\nclass NoMode:\n    pass\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert isinstance(load_mode("mode_of_ones_own:Own"), Mode)
    for name, message in (
        ("mode_of_ones_own:NoMode", "is no attack mode"),
        ("mode_of_ones_own:Other", "Other"),
        ("nowhere.at:All", "no module"),
    ):
        with pytest.raises(UserError, match=message):
            load_mode(name)


def test_models_of_this_project_take_their_fast_path_and_heed_lengths():
    torch.manual_seed(0)
    model = build_model("gru", FEATURES)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0)
    lengths = torch.tensor([2, 5, 3] * 4)
    model.eval()
    labels = model(INPUTS, lengths).argmax(dim=1)
    found = [
        run_attack(model, INPUTS, labels, lengths=lengths, path=path, lambdas=[0.05], progress=False, rate=0.1)
        for path in ("autograd", "auto")
    ]
    assert found[0].outcomes["flipped"].tolist() == found[1].outcomes["flipped"].tolist()
    cells = found[1].perturbations
    assert (cells["time"].to_numpy() < lengths.numpy()[cells["sample"]]).all()


def test_the_example_of_the_readme_runs(capsys):
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (example,) = [part.partition("```")[0] for part in readme.split("```python\n")[1:] if "run_attack" in part]
    torch.manual_seed(0)
    exec(compile(example, "README.md", "exec"), {})
    assert capsys.readouterr().out.startswith("100% of 32 flipped")


def test_the_doctest_of_run_attack():
    outcome = doctest.testmod(library)
    assert outcome.attempted > 4 and outcome.failed == 0


def test_the_order_of_lambdas_does_not_matter():
    model = Weighted()
    found = [
        run_attack(model, INPUTS, predictions(model), lambdas=np.array(grid), prune=True, progress=False)
        for grid in ([5.0, 0.1, 0.02], [0.02, 0.1, 5.0])
    ]
    assert found[0].success_rate == 1.0
    assert found[0].outcomes.equals(found[1].outcomes) and found[0].perturbations.equals(found[1].perturbations)


def test_with_pruning_the_table_says_what_was_searched():
    """At a lambda of 30 nothing ever moves: no search, nothing pruned; a large one fails and prunes those above it."""
    model = Weighted()
    grid = np.geomspace(0.5, 1.4, 40)
    result = run_attack(model, INPUTS, predictions(model), lambdas=[*grid, 30.0], prune=True, progress=False)
    rows = result.outcomes
    assert rows["pruned"].any() and not rows.loc[rows["pruned"], ["flipped", "success"]].any().any()
    first = rows[~rows["flipped"] & ~rows["pruned"]].groupby("sample")["lambda"].min()
    assert (rows.loc[rows["pruned"], "lambda"] > rows.loc[rows["pruned"], "sample"].map(first)).all()
    assert not rows.loc[rows["lambda"] == 30.0, "pruned"].any()
    assert (rows.loc[rows["audited"], "lambda"] > rows.loc[rows["audited"], "sample"].map(first)).all()
    assert rows["audited"].any() and not (rows["audited"] & rows["pruned"]).any()
    clean = model(INPUTS)[:, 1] - model(INPUTS)[:, 0]
    towards = torch.where(predictions(model) == 1, -clean, clean).detach().numpy()
    assert rows.loc[rows["pruned"], "margin"].to_numpy() == pytest.approx(
        towards[rows.loc[rows["pruned"], "sample"]], abs=1e-5
    )


def test_the_model_is_left_as_it_was():
    """Gradients, dropout and dtype; inputs that ask for a gradient and optional further arguments do no harm."""

    class WithState(Weighted):
        def forward(self, inputs, state=None):
            assert state is None, "only `lengths` may be passed on, and none were given"
            return super().forward(inputs)

    model = WithState().double().train()
    labels = (model(INPUTS.double()).argmax(dim=1)).tolist()
    result = run_attack(model, INPUTS.clone().requires_grad_(True), labels, progress=False)
    assert result.success_rate == 1.0
    assert model.weight.requires_grad and model.weight.dtype == torch.float64 and model.training


def test_an_l0_attack_is_not_held_up_by_a_heavy_value_that_may_not_change():
    model = Weighted(at=0.5)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([100.0, 0.0, 1.0, 0.5] + [0.0] * 11))
    inputs = torch.zeros(1, TIME, FEATURES)
    mutable = torch.ones(TIME, FEATURES, dtype=torch.bool)
    mutable[0, 0] = False
    result = run_attack(model, inputs, [0], mode="sigma_zero", mutable=mutable, progress=False)
    assert result.success_rate == 1.0
    assert result.perturbations[["time", "feature"]].to_numpy().tolist() == [[0, 2]]
