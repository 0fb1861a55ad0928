"""The scan of single recorded values against a loop that edits the record and rebuilds everything from it."""

import numpy as np
import pytest
import torch

from ehr_attack.attacks.charted import ChartedRecord
from ehr_attack.attacks.events import events_of
from ehr_attack.attacks.gradients.autograd import margins
from ehr_attack.attacks.rows import Victims
from ehr_attack.attacks.single import level_values, scan
from ehr_attack.inputs import VALUES_MASK, model_inputs
from ehr_attack.models.lstm import LSTMClassifier
from ehr_attack.progress import Progress
from record_builder import NAMES, VARIABLES, Cohort, made_up, preprocessing_of, slow_means

KAPPA = 0.01


def model_and_victims(cohort: Cohort, channels="values"):
    """A random LSTM whose margins lie around 0, so that some predictions flip and some do not; and its victims."""
    inputs = torch.from_numpy(
        model_inputs(cohort.preprocessing, channels, cohort.values, cohort.carry_in, cohort.n_hours)
    )
    torch.manual_seed(1)
    model = LSTMClassifier(inputs.shape[-1], hidden_size=8, dense_size=4).eval()
    lengths = torch.from_numpy(cohort.n_hours)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0)
        logits = model(inputs, lengths)
        model.output.bias[1] -= (logits[:, 1] - logits[:, 0]).median()
        labels = model(inputs, lengths).argmax(dim=1)
    n_values = len(NAMES)
    mutable = torch.ones(inputs[..., :n_values].shape, dtype=torch.bool)
    return model, Victims(inputs[..., :n_values], lengths, labels, mutable, inputs[..., n_values:])


def scanned(cohort, model, victims, record=None, levels=4, chunk_rows=16):
    record = record or cohort.record
    with Progress("scan", len(victims.inputs), "stays") as progress:
        found = scan(
            lambda *inputs: margins(model, *inputs), cohort.space, record, victims,
            levels=levels, chunk_rows=chunk_rows, kappa=KAPPA, progress=progress,
        )  # fmt: skip
        return list(found)


def slow_scan(cohort, model, victims, stay, levels, channels):
    """(value number, level) -> margin, by editing the raw record; what a relation forbids is left out."""
    events, found = cohort.events, {}
    for place in np.flatnonzero(events.real[stay]):
        feature, hour = events.feature[stay, place], events.hour[stay, place]
        if NAMES[feature] == "sodium":  # It never varied in training.
            continue
        for level in levels[feature]:
            value = events.value[stay].copy()
            if abs(level - value[place]) < 1e-9:
                continue
            value[place] = level
            pair = [
                value[events.real[stay] & (events.hour[stay] == hour) & (events.feature[stay] == f)] for f in (0, 1)
            ]
            if feature in (0, 1) and len(pair[0]) and len(pair[1]) and pair[0].mean() <= pair[1].mean():
                continue
            changed = events.value.copy()
            changed[stay] = value
            values = slow_means(events, changed)
            values[np.isnan(cohort.values)] = np.nan
            rebuilt = model_inputs(cohort.preprocessing, channels, values, cohort.carry_in, cohort.n_hours)
            with torch.no_grad():
                logits = model(torch.from_numpy(rebuilt[[stay]]), victims.lengths[[stay]])[0]
            margin = float(logits[1] - logits[0]) * (1 - 2 * int(victims.labels[stay]))
            found[int(place), float(level)] = margin
    return found


@pytest.mark.parametrize("seed", [1, 4, 10])
@pytest.mark.parametrize("imputation, channels", [("forward", "values"), ("linear", VALUES_MASK)])
def test_the_scan_finds_what_the_slow_loop_finds(seed, imputation, channels):
    cohort = made_up(seed, imputation, stays=6, hours=6)
    model, victims = model_and_victims(cohort, channels)
    values = level_values(cohort.record, 4)
    results = scanned(cohort, model, victims)
    flipped = 0
    for result in results:
        slow = slow_scan(cohort, model, victims, result.stay, values, channels)
        assert result.tried == len(slow)
        assert result.best_margin == pytest.approx(max(slow.values(), default=-np.inf), abs=1e-5)
        assert all(abs(margin - KAPPA) > 1e-5 for margin in slow.values()), "a margin too near to kappa to compare"
        events, scale = cohort.events, cohort.preprocessing.scale
        nearest = {}
        for (place, level), margin in slow.items():
            size = abs(level - events.value[result.stay, place]) / scale[events.feature[result.stay, place]]
            if margin > KAPPA and size < nearest.get(place, (np.inf,))[0]:
                nearest[place] = (size, level, margin)
        assert result.place.tolist() == sorted(nearest)
        expected = np.array([nearest[place] for place in sorted(nearest)]).reshape(-1, 3)
        np.testing.assert_allclose(np.abs(result.change), expected[:, 0], atol=1e-9)
        np.testing.assert_allclose(result.value_after, expected[:, 1])
        np.testing.assert_allclose(result.margin, expected[:, 2], atol=1e-5)
        row = result.finished()
        flipped += bool(row.flipped)
        if nearest:
            place = min(nearest, key=lambda at: nearest[at][0])
            assert row.point[0].nonzero().flatten().tolist() == [place]
            after = cohort.record.value_after(np.array([result.stay]), row.point.numpy())[0, place]
            assert after == pytest.approx(nearest[place][1])
            kept = cohort.record.rounded(np.array([result.stay]), row.point.numpy())
            np.testing.assert_allclose(kept, row.point.numpy(), atol=1e-6)
        else:
            assert not row.point.any() and not row.flipped.any()
    assert 0 < flipped < len(results)


def test_results_do_not_depend_on_the_other_stays_or_on_padding():
    cohort = made_up(3, "forward", stays=6, hours=6)
    model, victims = model_and_victims(cohort)
    together = scanned(cohort, model, victims)
    again = scanned(cohort, model, victims)
    for first, second in zip(together, again, strict=True):
        assert np.array_equal(first.margin, second.margin) and first.best_margin == second.best_margin
    # A stay scanned as the only victim, its record first and alone.
    lone = 3
    keep = cohort.events.real[lone]
    zeros = np.zeros(keep.sum(), dtype=np.int64)
    events = events_of(
        zeros, cohort.events.hours[lone, keep], cohort.events.feature[lone, keep], cohort.events.value[lone, keep],
        n_stays=1, n_hours=6, n_features=len(NAMES),
    )  # fmt: skip
    single = Cohort(
        cohort.preprocessing, events, cohort.values[[lone]], cohort.carry_in[[lone]], cohort.n_hours[[lone]]
    )
    (alone,) = scanned(single, model, victims.subset(torch.tensor([lone])))
    assert alone.tried == together[lone].tried > 16
    assert np.array_equal(alone.margin, together[lone].margin) and alone.best_margin == together[lone].best_margin


def test_levels_are_charted_values_over_the_winsorised_range():
    systolic, diastolic, ph, lactate, sodium = level_values(made_up(0, "forward").record, 5)
    assert systolic.tolist() == [60, 90, 120, 150, 180]
    assert diastolic.tolist() == [30, 50, 70, 90, 110]
    assert ph.tolist() == [7.0, 7.15, 7.3, 7.45, 7.6]
    assert lactate.tolist() == [0.3, 2.5, 4.6, 6.8, 9.0]  # 0.3, 2.475, 4.65 (to the even step), 6.825, 9
    assert len(sodium) <= 2


def test_a_stay_with_nothing_that_may_change_is_not_flipped():
    cohort = made_up(3, "forward", stays=6, hours=6)
    model, victims = model_and_victims(cohort)
    record = ChartedRecord.of(cohort.preprocessing, VARIABLES, cohort.events, ["sodium"])
    for result in scanned(cohort, model, victims, record):
        assert (result.tried, result.best, result.best_margin) == (0, None, -np.inf)
        row = result.finished()
        assert bool(row.vanished) and not bool(row.flipped) and not row.point.any()


def test_one_value_in_a_crowded_hour_moves_the_mean_by_its_share():
    """Two values of 120 in the only hour; the model flips when the scaled mean passes 0.7; one at 180 makes it 0.75."""
    zeros = np.zeros(2, dtype=np.int64)
    events = events_of(zeros, np.array([0.1, 0.2]), zeros, np.array([120.0, 120.0]), n_stays=1, n_hours=1, n_features=5)
    values = slow_means(events, events.value)
    cohort = Cohort(
        preprocessing_of("forward"), events, values, np.full((1, 5), np.nan, dtype=np.float32), np.array([1])
    )
    inputs = torch.from_numpy(cohort.preprocessing.apply(values, cohort.carry_in, cohort.n_hours))
    victims = Victims(inputs, torch.tensor([1]), torch.tensor([0]), torch.ones(inputs.shape, dtype=torch.bool))
    with Progress("scan", 1, "stays") as progress:
        (result,) = scan(
            lambda seen, lengths, labels: seen[:, 0, 0] - 0.7, cohort.space, cohort.record, victims,
            levels=5, chunk_rows=4, kappa=KAPPA, progress=progress,
        )  # fmt: skip
    assert result.place.tolist() == [0, 1] and result.value_after.tolist() == [180, 180]
    assert result.tried == 8 and result.best_margin == pytest.approx(0.05)
    assert result.change.tolist() == [0.5, 0.5] and result.best == 0
