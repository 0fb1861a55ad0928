"""The measurement-level space against `Preprocessing.apply` on the changed record, and against autograd."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from ehr_attack.attacks.charted import ChartedRecord
from ehr_attack.attacks.events import events_of, load_events
from ehr_attack.attacks.measurement_space import MeasurementSpace
from ehr_attack.errors import UserError
from ehr_attack.feature_tensor import load_tensor
from ehr_attack.features import build_features
from ehr_attack.schemas.cohort import MEASUREMENTS
from ehr_attack.storage import write_parquet
from record_builder import NAMES, VARIABLES, Cohort, made_up, preprocessing_of, slow_means

COHORTS = [(seed, imputation) for seed in range(4) for imputation in ("forward", "linear")]
cohorts = pytest.mark.parametrize("seed, imputation", COHORTS)


def rows_of(cohort: Cohort, seed: int, share: float = 0.5, size: float = 0.4):
    """Every stay three times, in a mixed order, with random changes of some of its values."""
    random = np.random.default_rng(seed + 100)
    stays = random.permutation(np.repeat(np.arange(len(cohort.values)), 3))
    point = random.normal(size=(len(stays), cohort.events.size)) * size
    point[random.random(point.shape) > share] = 0
    return stays, point


def applied(cohort: Cohort, stays, point):
    """What the training path makes of the changed record."""
    scale = cohort.preprocessing.scale[cohort.events.feature]
    values = np.stack(
        [
            slow_means(cohort.events, cohort.events.value + change[None] * scale)[stay]
            for stay, change in zip(stays, point, strict=True)
        ]
    )
    return cohort.preprocessing.apply(values, cohort.carry_in[stays], cohort.n_hours[stays])


@cohorts
@pytest.mark.parametrize("unseen", [False, True])
def test_at_zero_the_features_are_those_of_the_training_path(seed, imputation, unseen):
    cohort = made_up(seed, imputation, unseen=unseen)
    expected = cohort.preprocessing.apply(cohort.values, cohort.carry_in, cohort.n_hours)
    stays = torch.arange(len(cohort.values))
    point = torch.zeros(len(stays), cohort.space.size, dtype=torch.float64)
    assert np.array_equal(cohort.space.features(stays, point).numpy().astype(np.float32), expected)
    assert np.array_equal(cohort.space.features(stays, point.float()).numpy(), expected)
    assert (expected[1:] > 0).mean() > 0.2


@cohorts
@pytest.mark.parametrize("unseen", [False, True])
def test_changed_values_give_the_features_of_the_changed_record(seed, imputation, unseen):
    cohort = made_up(seed, imputation, unseen=unseen)
    stays, point = rows_of(cohort, seed)
    found = cohort.space.features(torch.from_numpy(stays), torch.from_numpy(point)).numpy()
    # The features table holds means as float32: that is the rounding of a clinical value, here of some hundreds.
    np.testing.assert_allclose(found, applied(cohort, stays, point), atol=1e-6)
    single = cohort.space.features(torch.from_numpy(stays), torch.from_numpy(point).float()).numpy()
    np.testing.assert_allclose(single, found, atol=1e-6)


@cohorts
def test_pull_is_the_transpose_of_the_derivative(seed, imputation):
    cohort = made_up(seed, imputation)
    stays, point = (torch.from_numpy(part) for part in rows_of(cohort, seed, share=0.3, size=0.02))
    point.requires_grad_(True)
    features = cohort.space.features(stays, point)
    inside = (features > 0) & (features < 1)
    gradient = torch.randn(features.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * inside
    (expected,) = torch.autograd.grad(features, point, gradient)
    found = cohort.space.pull(stays, point.detach(), gradient)
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)
    single = cohort.space.pull(stays, point.detach().float(), gradient.float())
    torch.testing.assert_close(single.double(), expected, rtol=1e-5, atol=1e-5)


@cohorts
def test_at_a_winsorised_cell_only_the_way_back_has_a_gradient(seed, imputation):
    """The derivative is taken by differences of the imputation alone, whose values are not winsorised."""
    cohort = made_up(seed, imputation)
    space, preprocessing = cohort.space, cohort.preprocessing
    stays = torch.arange(len(cohort.values))
    point = torch.zeros(len(stays), space.size, dtype=torch.float64)
    gradient = torch.randn(
        (len(stays), *space.shape), dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )

    def unclipped(value):
        filled = preprocessing.impute(cohort.events.means(value), cohort.carry_in.astype(np.float64))
        scaled = (filled - preprocessing.low) / preprocessing.scale
        scaled[..., preprocessing.high == preprocessing.low] = 0
        scaled[np.arange(space.shape[0])[None, :] >= cohort.n_hours[:, None]] = 0
        return scaled

    clean = unclipped(cohort.events.value)
    wanted = gradient.numpy()
    passes = ((clean >= 0) & (clean <= 1)) | ((clean > 1) & (wanted > 0)) | ((clean < 0) & (wanted < 0))
    assert (clean > 1).any() and (clean < 0).any()
    found = space.pull(stays, point, gradient).numpy()
    for place in range(space.size):
        moved = cohort.events.value.copy()
        moved[:, place] += preprocessing.scale[cohort.events.feature[:, place]]
        derivative = np.where(cohort.events.real[:, place, None, None], unclipped(moved) - clean, 0)
        np.testing.assert_allclose(found[:, place], (derivative * wanted * passes).sum(axis=(1, 2)), atol=1e-9)


@cohorts
def test_rows_do_not_depend_on_what_was_asked_before(seed, imputation):
    cohort = made_up(seed, imputation)
    stays, point = (torch.from_numpy(part) for part in rows_of(cohort, seed))
    gradient = torch.randn((len(stays), *cohort.space.shape), dtype=torch.float64)
    each = [(stays[row : row + 1], point[row : row + 1], gradient[row : row + 1]) for row in range(len(stays))]
    features = [cohort.space.features(stay, change) for stay, change, _ in each]
    pulled = [cohort.space.pull(*row) for row in each]
    space = cohort.space
    for shift in (0, 1, 1, 5):
        order = torch.arange(len(stays)).roll(shift)
        assert torch.equal(space.features(stays[order], point[order]), torch.cat([features[row] for row in order]))
        again = space.pull(stays[order], point[order], gradient[order])
        assert torch.equal(again, torch.cat([pulled[row] for row in order]))


@cohorts
def test_the_change_of_a_recorded_cell_is_that_of_its_hourly_mean(seed, imputation):
    cohort = made_up(seed, imputation)
    stays, point = rows_of(cohort, seed)
    delta = cohort.space.cell_delta(torch.from_numpy(stays), torch.from_numpy(point)).numpy()
    scale = cohort.preprocessing.scale
    for row, stay in enumerate(stays):
        changed = cohort.events.value + point[row] * scale[cohort.events.feature]
        means = (cohort.events.means(changed)[stay] - cohort.events.means()[stay]) / scale
        np.testing.assert_allclose(delta[row], np.nan_to_num(means), atol=1e-9)


def test_a_hand_computed_record():
    """Systolic: 100 and 140 in hour 0, nothing in hour 1, then 300, beyond the percentiles; the stay ends after 4."""
    zeros, hours, systolic = np.zeros(3, dtype=np.int64), np.array([0.1, 0.9, 2.0]), np.array([100.0, 140.0, 300.0])
    events = events_of(zeros, hours, zeros, systolic, n_stays=1, n_hours=5, n_features=len(NAMES))
    values = slow_means(events, events.value)
    cohort = Cohort(preprocessing_of("forward"), events, values, np.full((1, len(NAMES)), np.nan), np.array([4]))
    stays, point = torch.zeros(1, dtype=torch.int64), torch.tensor([[0.5, 0.0, -1.5]])
    # Scale 120 mmHg from 60: the mean rises by 30 to 150; 300 falls by 180 to 120.
    assert cohort.space.features(stays, point)[0, :, 0].tolist() == pytest.approx([0.75, 0.75, 0.5, 0.5, 0])
    assert cohort.space.cell_delta(stays, point)[0, :, 0].tolist() == pytest.approx([0.25, 0, -1.5, 0, 0])
    gradient = torch.ones(1, 5, len(NAMES))
    assert cohort.space.pull(stays, point, gradient)[0].tolist() == pytest.approx([1, 1, 2])
    assert cohort.space.pull(stays, torch.zeros(1, 3), gradient)[0].tolist() == pytest.approx([1, 1, 2])
    assert cohort.space.pull(stays, torch.zeros(1, 3), -gradient)[0].tolist() == pytest.approx([-1, -1, 0])
    low, high = cohort.space.bounds(stays)
    assert low[0].tolist() == pytest.approx([(1 - 100) / 120, (1 - 140) / 120, (1 - 300) / 120])
    assert high[0].tolist() == pytest.approx([300 / 120, 260 / 120, 100 / 120])


def test_a_stay_with_nothing_recorded_cannot_change():
    cohort = made_up(0, "forward")
    stays = torch.zeros(1, dtype=torch.int64)
    low, high = cohort.space.bounds(stays)
    assert not low.any() and not high.any()
    assert not cohort.space.pull(stays, torch.zeros(1, cohort.space.size), torch.ones(1, *cohort.space.shape)).any()
    assert cohort.record.rounded(np.array([0]), np.ones((1, cohort.space.size))).tolist() == [[0.0] * cohort.space.size]


@pytest.mark.parametrize("n_stays", [0, 2])
def test_stays_without_any_value_at_all_have_a_space_of_padding(n_stays):
    nothing, n_hours = np.empty(0, dtype=np.int64), np.full(n_stays, 3)
    events = events_of(nothing, nothing * 1.0, nothing, nothing * 1.0, n_stays=n_stays, n_hours=3, n_features=5)
    values = np.full((n_stays, 3, 5), np.nan, dtype=np.float32)
    cohort = Cohort(preprocessing_of("linear"), events, values, values[:, 0], n_hours)
    stays, point = torch.arange(n_stays).flip(0), torch.zeros(n_stays, 1)
    expected = cohort.preprocessing.apply(values, values[:, 0], n_hours)
    assert np.array_equal(cohort.space.features(stays, point).numpy(), expected)
    assert cohort.space.pull(stays, point, torch.ones(n_stays, 3, 5)).shape == (n_stays, 1)
    assert not cohort.record.rounded(stays.numpy(), point.numpy()).any()


def test_what_may_not_change_has_bounds_of_0():
    cohort = made_up(1, "forward")
    record = ChartedRecord.of(cohort.preprocessing, VARIABLES, cohort.events, ["ph", "sodium"])
    low, high = record.bounds()
    ph = cohort.events.real & (cohort.events.feature == NAMES.index("ph"))
    assert (high > low)[ph].all()
    # Sodium never varied in training: to change it would change nothing.
    assert not low[~ph].any() and not high[~ph].any()
    with pytest.raises(UserError, match=r"attack\.mutable: chloride is not a variable"):
        ChartedRecord.of(cohort.preprocessing, VARIABLES, cohort.events, ["chloride"])


def test_measurements_of_another_run_are_refused():
    cohort = made_up(2, "forward")
    values = cohort.values.copy()
    values[np.nonzero(~np.isnan(values))[0][0]] += 1
    with pytest.raises(UserError, match="do not belong together"):
        MeasurementSpace.of(cohort.preprocessing, cohort.record, values, cohort.carry_in, cohort.n_hours)


def test_events_have_the_hourly_means_of_the_features_table(tmp_path):
    random = np.random.default_rng(0)
    rows, stay_ids = 4000, np.array([31, 7, 12])
    columns = {
        "stay_id": random.choice([7, 12, 31, 44], rows),
        "hours": random.choice([random.uniform(-2, 9, rows), np.floor(random.uniform(-2, 9, rows))]),
        "variable": random.choice([*NAMES, "heart_rate"], rows),
        "value": random.uniform(0.1, 300, rows),
    }
    write_parquet(pa.table(columns), tmp_path / "measurements.parquet", MEASUREMENTS)
    stays = {"stay_id": [7, 12, 31, 44], "hours_observable": [6, 3, 8, 6]}
    write_parquet(pa.table(stays), tmp_path / "stays.parquet")
    build_features(
        stays=tmp_path / "stays.parquet", measurements=tmp_path / "measurements.parquet", variable_names=NAMES,
        carry_in_hours=0, window_hours=6, out=tmp_path / "features.parquet",
    )  # fmt: skip
    tensor = load_tensor(tmp_path / "features.parquet", NAMES, 6)
    events = load_events(tmp_path / "measurements.parquet", stay_ids, np.array([6, 6, 3]), NAMES, 6)
    expected = tensor.values[[2, 0, 1]]
    assert np.array_equal(events.means().astype(np.float32), expected, equal_nan=True)
    assert events.in_cell.max() > 8 and not np.isnan(expected).all()
    for stay in range(3):
        places = [part[stay][events.real[stay]].tolist() for part in (events.cell, events.hours, events.value)]
        assert (triples := list(zip(*places, strict=True))) == sorted(triples)
    assert sorted(events.value[1][events.real[1]]) == sorted(
        value
        for stay, hours, name, value in zip(*columns.values(), strict=True)
        if stay == 7 and 0 <= hours < 6 and name in NAMES
    )
    with pytest.raises(UserError, match=r"gone\.parquet: no such file"):
        load_events(tmp_path / "gone.parquet", stay_ids, np.array([6, 6, 3]), NAMES, 6)
    with pytest.raises(UserError, match=r"stays\.parquet: not a readable"):
        load_events(tmp_path / "stays.parquet", stay_ids, np.array([6, 6, 3]), NAMES, 6)


def test_events_of_no_stay_are_empty(tmp_path):
    write_parquet(MEASUREMENTS.empty_table(), tmp_path / "measurements.parquet")
    events = load_events(tmp_path / "measurements.parquet", np.array([5]), np.array([4]), NAMES, 4)
    assert (events.value.shape, events.real.any(), np.isnan(events.means()).all()) == ((1, 1), False, True)
    nobody = np.empty(0, dtype=np.int64)
    assert load_events(tmp_path / "measurements.parquet", nobody, nobody, NAMES, 4).value.shape == (0, 1)
