"""The measurement-level attack: the same in any company, and verified on the edited record by the ordinary route."""

import dataclasses

import numpy as np
import pytest
import torch
from test_single import model_and_victims

from ehr_attack.attacks import load_mode
from ehr_attack.attacks.engine import search
from ehr_attack.attacks.mode import SearchSettings
from ehr_attack.progress import Progress
from record_builder import VARIABLES, Cohort, made_up, slow_means

SETTINGS = SearchSettings((float("nan"),), steps=60, rate=0.02, kappa=0.01, chunk_rows=8)
STAYS = 12


def one_stay(cohort: Cohort, stay: int) -> Cohort:
    """The cohort of one stay, whose values are padded to no others."""
    events = cohort.events
    size = max(1, int(events.real[stay].sum()))
    rows = {
        name: getattr(events, name)[stay : stay + 1, :size]
        for name in ("hours", "hour", "feature", "value", "rank", "in_cell")
    }
    return dataclasses.replace(
        cohort,
        events=dataclasses.replace(events, **rows),
        values=cohort.values[stay : stay + 1],
        carry_in=cohort.carry_in[stay : stay + 1],
        n_hours=cohort.n_hours[stay : stay + 1],
    )


def attacked(cohort, model, victims):
    """Of each stay its point and whether it flipped."""
    with Progress("test", 1, quiet=True) as progress:
        blocks = list(search(model, victims, load_mode("measurement"), SETTINGS, progress, space=cohort.space))
    found = {}
    for block in blocks:
        for row, stay in enumerate(block.stay.tolist()):
            found[stay] = (block.point[row].numpy(), bool(block.flipped[row]))
    return found


@pytest.fixture(scope="module", params=["forward", "linear"])
def case(request):
    cohort = made_up(7, request.param, stays=STAYS, hours=8)
    model, victims = model_and_victims(cohort)
    return cohort, model, victims, attacked(cohort, model, victims)


def test_a_stay_alone_and_among_others_gives_the_same_bits(case):
    cohort, model, victims, together = case
    for stay in range(STAYS):
        alone = attacked(one_stay(cohort, stay), model, victims.subset(torch.tensor([stay])))[0]
        size = len(alone[0])
        assert alone[1] == together[stay][1]
        assert np.array_equal(alone[0], together[stay][0][:size]) and not together[stay][0][size:].any()


def test_flips_hold_when_the_edited_record_is_made_into_features_anew(case):
    """Independent of the space: edit the values, average, impute, scale and predict."""
    cohort, model, victims, together = case
    assert any(flipped for _, flipped in together.values())
    for stay, (point, flipped) in together.items():
        scale = cohort.preprocessing.scale[cohort.events.feature]
        value = cohort.events.value + point * scale * (np.arange(STAYS) == stay)[:, None]
        inputs = cohort.preprocessing.apply(slow_means(cohort.events, value), cohort.carry_in, cohort.n_hours)
        with torch.no_grad():
            logits = model(torch.from_numpy(inputs), victims.lengths)[stay]
        label = int(victims.labels[stay])
        margin = float(logits[1 - label] - logits[label])
        assert (margin > SETTINGS.kappa - 1e-4) == flipped


def test_a_stay_with_nothing_recorded_is_not_flipped(case):
    point, flipped = case[3][0]  # the builder's first stay
    assert not point.any() and not flipped


def test_values_that_may_not_change_do_not(case):
    """Sodium never varied in training: it is no variable to change."""
    cohort, _, _, together = case
    sodium = [variable.name for variable in VARIABLES].index("sodium")
    for stay, (point, _) in together.items():
        assert not point[cohort.events.feature[stay] == sodium].any()
