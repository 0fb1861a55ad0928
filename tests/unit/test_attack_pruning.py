"""Pruning over lambda: the same rows as without it, but for those above a stay's first failure; and its audit."""

import dataclasses

import numpy as np
import pytest
import torch
from test_attack_engine import FEATURES, HOURS, small_lstm, victims_of

from ehr_attack.attacks import load_mode
from ehr_attack.attacks.engine import search
from ehr_attack.attacks.mode import SearchSettings
from ehr_attack.attacks.queue import is_audited
from ehr_attack.attacks.records import AttackContext, AttackTables, RowRecords
from ehr_attack.attacks.space import CellSpace
from ehr_attack.attacks.verification import Judge
from ehr_attack.progress import Progress

GRID = tuple(np.geomspace(0.0005, 0.15, 16))
SETTINGS = SearchSettings(lambdas=GRID, steps=40, rate=0.05, kappa=0.0, chunk_rows=8)
N = 40


@pytest.fixture(scope="module")
def model():
    return small_lstm()


@pytest.fixture(scope="module")
def victims(model):
    made = victims_of(model, count=N)
    return dataclasses.replace(made, keys=torch.arange(N) * 7 + 100_000)


def outcomes(model, victims, settings, shuffle=None, mode="sun2018"):
    """The table of outcomes; blocks of rows may reach the records in another order."""
    count = len(victims.inputs)
    context = AttackContext(
        model="lstm", mode=mode, seed=0, fold=0, stay_ids=victims.keys.numpy(),
        labels=victims.labels.numpy().astype(np.int8), observed=np.ones((count, HOURS, FEATURES), dtype=bool),
        lambdas=np.asarray(settings.lambdas), variable_names=tuple("abcd"), units=("mg",) * 4, scale=np.full(4, 2.0),
        prune=settings.prune,
    )  # fmt: skip
    space = CellSpace(victims.inputs, victims.mutable)

    def as_found(stays, point, outward):
        return point.double()

    judge = Judge(model, victims, space, as_found, constrained=mode != "sun2018", kappa=0.0, chunk_rows=8)
    records = RowRecords(context)
    with Progress("test", 1, quiet=True) as progress:
        blocks = list(search(model, victims, load_mode(mode), settings, progress))
    if shuffle is not None:
        single = [
            type(block)(**{f.name: getattr(block, f.name)[i : i + 1] for f in dataclasses.fields(block)})
            for block in blocks
            for i in range(len(block.stay))
        ]
        blocks = [single[i] for i in np.random.default_rng(shuffle).permutation(len(single))]
    parts = []
    for block in blocks:
        judged = judge.judge(block)
        records.add(judged, judged.point.view(-1, HOURS, FEATURES).numpy())
        parts += records.parts()
    return AttackTables.joined(parts)


def resting(model, victims):
    """Bool (rows,): rate x the largest slope of the clean record is not above lambda, so that nothing ever moves."""
    leaf = victims.inputs.clone().requires_grad_(True)
    logits = model(leaf, victims.lengths)
    margin = (logits[:, 1] - logits[:, 0]) * (1 - 2 * victims.labels)
    (slope,) = torch.autograd.grad(margin.sum(), leaf)
    largest = SETTINGS.rate * slope.flatten(1).abs().amax(dim=1).numpy()
    return (largest[:, None] <= np.asarray(GRID, dtype=np.float32)).ravel()


def test_what_is_pruned_lies_above_a_failure_and_the_rest_is_as_without_pruning(model, victims):
    full = outcomes(model, victims, SETTINGS)
    pruned = outcomes(model, victims, dataclasses.replace(SETTINGS, prune=True))
    before, after = full.outcomes.to_pandas(), pruned.outcomes.to_pandas()
    assert not before["pruned"].any() and after["pruned"].any()
    first_failure = before[~before["flipped"]].groupby("stay_id")["lambda"].min()
    above = after["lambda"] > after["stay_id"].map(first_failure).fillna(np.inf)
    audited = is_audited(torch.tensor(after["stay_id"].to_numpy()), torch.arange(len(GRID)).repeat(N)).numpy()
    rests = resting(model, victims)  # known to fail without a search: nothing to skip, and no audit
    assert (after["pruned"] == (above & ~audited & ~rests)).all()
    assert (after["audited"] == (above & audited & ~rests)).all() and after["audited"].any() and rests.any()
    kept = ~after["pruned"]
    shared = [name for name in before if name not in ("pruned", "audited")]
    assert before[kept][shared].equals(after[kept][shared])
    assert not after.loc[~kept, ["flipped", "flipped_float64", "feasible"]].any().any()
    assert (after.loc[~kept, ["steps", "l1", "n_changed"]] == 0).all().all()
    assert (after.loc[~kept, "margin"] == after.loc[~kept, "margin_clean"]).all()
    rows = after[kept].set_index(["stay_id", "lambda"]).index
    cells = full.perturbations.to_pandas().set_index(["stay_id", "lambda"], drop=False)
    assert cells[cells.index.isin(rows)].reset_index(drop=True).equals(pruned.perturbations.to_pandas())


@pytest.mark.parametrize("chunk_rows", [1, 5, 64])
def test_what_is_pruned_does_not_depend_on_what_is_in_work_at_a_time(model, victims, chunk_rows):
    """The chunk changes the last bits of gradients on this path, but not which rows count."""
    settings = dataclasses.replace(SETTINGS, prune=True)
    one, other = (
        outcomes(model, victims, dataclasses.replace(settings, chunk_rows=rows)).outcomes.to_pandas()
        for rows in (8, chunk_rows)
    )
    assert one[["stay_id", "lambda", "pruned", "audited", "flipped", "steps"]].equals(
        other[["stay_id", "lambda", "pruned", "audited", "flipped", "steps"]]
    )


def test_pruning_is_the_same_in_two_shards(model, victims):
    settings = dataclasses.replace(SETTINGS, prune=True)
    whole = outcomes(model, victims, settings).outcomes.to_pandas()
    shards = [
        outcomes(model, victims.subset(torch.arange(start, N, 2)), settings).outcomes.to_pandas() for start in (0, 1)
    ]
    for shard in shards:
        rows = whole[whole["stay_id"].isin(shard["stay_id"])].reset_index(drop=True)
        assert rows.equals(shard)


def test_the_tables_do_not_depend_on_the_order_in_which_rows_end(model, victims):
    settings = dataclasses.replace(SETTINGS, prune=True)
    straight, shuffled = outcomes(model, victims, settings), outcomes(model, victims, settings, shuffle=3)
    assert straight.outcomes.equals(shuffled.outcomes)
    assert straight.perturbations.equals(shuffled.perturbations)


def test_one_row_in_twenty_is_audited():
    keys = torch.arange(20_000).repeat_interleave(5)
    share = is_audited(keys, torch.arange(5).repeat(20_000)).double().mean().item()
    assert share == pytest.approx(0.05, abs=0.003)


def test_parts_come_in_order_and_early(model, victims, monkeypatch):
    """Records of few stays a part: the first part is given before the last row has ended."""
    monkeypatch.setattr("ehr_attack.attacks.records.STAYS_A_PART", 10)
    parts = outcomes(model, victims, SETTINGS)
    whole = parts.outcomes.to_pandas()
    assert whole["stay_id"].is_monotonic_increasing and len(whole) == N * len(GRID)
