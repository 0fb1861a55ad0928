"""Attacks on recorded values, judged from the raw record: edited, averaged, imputed, scaled and predicted anew."""

import numpy as np
import pytest
import torch

from ehr_attack.attacks import load_mode
from ehr_attack.attacks.engine import Victims, search
from ehr_attack.attacks.gradients.autograd import margins
from ehr_attack.attacks.mode import SearchSettings
from ehr_attack.attacks.single import scan
from ehr_attack.attacks.verification import Judge
from ehr_attack.models.lstm import LSTMClassifier
from ehr_attack.progress import Progress
from record_builder import NAMES, made_up, slow_means

KAPPA = 0.01
STAYS = 14


def attacked(imputation, mode_name):
    """A cohort with a random model, its victims, and what an attack on their records found and the judge made of it."""
    cohort = made_up(7, imputation, stays=STAYS, hours=8)
    inputs = torch.from_numpy(cohort.preprocessing.apply(cohort.values, cohort.carry_in, cohort.n_hours))
    torch.manual_seed(3)
    model = LSTMClassifier(len(NAMES), hidden_size=8, dense_size=6)
    lengths = torch.from_numpy(cohort.n_hours)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0)
        logits = model(inputs, lengths)
        model.output.bias[1] -= (logits[:, 1] - logits[:, 0]).median()
        labels = model(inputs, lengths).argmax(dim=1)
    victims = Victims(inputs, lengths, labels, torch.ones(inputs.shape, dtype=torch.bool))
    space, record = cohort.space, cohort.record
    with Progress("attack", STAYS) as progress:
        if mode_name == "single":
            results = scan(
                lambda *rows: margins(model, *rows), space, record, victims,
                levels=5, chunk_rows=16, kappa=KAPPA, progress=progress,
            )  # fmt: skip
            rows = [result.finished() for result in results]
        else:
            settings = SearchSettings(lambdas=(float("nan"),), steps=150, rate=0.02, kappa=KAPPA, chunk_rows=16)
            rows = list(search(model, victims, load_mode(mode_name), settings, progress, space=space))

    def feasible(stays, point, outward):
        return torch.from_numpy(record.rounded(stays.numpy(), point.numpy(), outward))

    judge = Judge(model, victims, space, feasible, constrained=True, kappa=KAPPA, chunk_rows=16)
    return cohort, model, victims, [judge.judge(block) for block in rows]


@pytest.mark.parametrize("imputation", ["forward", "linear"])
@pytest.mark.parametrize("mode_name", ["measurement", "single"])
def test_what_counts_as_a_flip_is_one_of_the_edited_record(imputation, mode_name):
    cohort, model, victims, blocks = attacked(imputation, mode_name)
    double = model.double()
    flipped = 0
    for judged in blocks:
        for row, stay in enumerate(judged.found.stay.tolist()):
            whole = np.array([stay])
            edited = cohort.events.value.copy()
            edited[stay] = cohort.record.value_after(whole, judged.point[[row]].numpy())[0]
            assert (edited[stay] != cohort.events.value[stay])[cohort.events.real[stay]].sum() == (
                int((judged.point[row] != 0).sum())
            )
            values = slow_means(cohort.events, edited)
            inputs = cohort.preprocessing.apply(values, cohort.carry_in, cohort.n_hours)[whole]
            with torch.no_grad():
                logits = double(torch.from_numpy(inputs).double(), victims.lengths[whole])[0]
            margin = float(logits[1] - logits[0]) * (1 - 2 * int(victims.labels[stay]))
            assert margin == pytest.approx(float(judged.margin[row]), abs=1e-5)
            assert bool(judged.success[row]) == (margin > KAPPA)
            flipped += bool(judged.success[row])
            changed = int((judged.point[row] != 0).sum())
            assert changed <= (1 if mode_name == "single" else cohort.events.size)
    assert STAYS / 4 < flipped < STAYS  # the first stay has nothing recorded


@pytest.mark.parametrize("imputation", ["forward", "linear"])
def test_the_search_flips_what_a_single_value_flips(imputation):
    _, _, _, searched = attacked(imputation, "measurement")
    _, _, _, scanned = attacked(imputation, "single")
    by_search = {int(stay) for block in searched for stay in block.found.stay[block.success]}
    by_scan = {int(stay) for block in scanned for stay in block.found.stay[block.success]}
    assert by_scan <= by_search
