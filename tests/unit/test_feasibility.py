import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ehr_attack.attacks.feasibility import Rules, mutable_cells
from ehr_attack.errors import UserError
from ehr_attack.preprocessing import Preprocessing

NAMES = ("sbp", "dbp", "ph")
RULES = Rules(
    low=np.array([60.0, 30.0, 7.0]),
    scale=np.array([120.0, 80.0, 0.6]),
    precision=np.array([1.0, 1.0, 0.01]),
    systolic=0,
    diastolic=1,
)
FREE = np.ones((1, 1, 3), dtype=bool)


def enforce(clinical, change, mutable=FREE):
    """Enforce the rules on one hour given in clinical units; the change that is left, in clinical units."""
    inputs = ((np.array(clinical) - RULES.low) / RULES.scale).astype(np.float32).reshape(1, 1, 3)
    wanted = (np.array(change) / RULES.scale).astype(np.float32).reshape(1, 1, 3)
    return (RULES.enforce(inputs, wanted, mutable) * RULES.scale).ravel()


def test_changes_are_rounded_to_whole_charted_units():
    assert enforce([120, 70, 7.4], [3.4, -2.6, 0.016]) == pytest.approx([3, -3, 0.02])


def test_a_change_of_less_than_half_a_unit_vanishes():
    assert enforce([120, 70, 7.4], [0.4, -0.4, 0.004]).tolist() == [0, 0, 0]


def test_changes_are_drawn_back_into_the_box_by_whole_units():
    # systolic box [60, 180], pH box [7.0, 7.6]; an hourly mean of 178.5 may rise by one whole unit only
    assert enforce([178.5, 70, 7.585], [30, 0, 0.5]) == pytest.approx([1, 0, 0.01])


def test_systolic_must_stay_above_diastolic():
    assert enforce([100, 90, 7.4], [-15, 0, 0.1]) == pytest.approx([0, 0, 0.1])
    assert enforce([100, 90, 7.4], [-9, 0, 0]) == pytest.approx([-9, 0, 0])
    assert enforce([100, 90, 7.4], [-5, 5, 0]) == pytest.approx([0, 0, 0])


def test_immutable_cells_keep_their_values():
    mutable = np.array([False, True, True]).reshape(1, 1, 3)
    assert enforce([120, 70, 7.4], [10, 10, 0.1], mutable) == pytest.approx([0, 10, 0.1])


SHAPE = (4, 3, 3)


@given(
    inputs=arrays(np.float32, SHAPE, elements=st.floats(0, 1, width=32)),
    wanted=arrays(np.float32, SHAPE, elements=st.floats(-1, 1, width=32)),
    mutable=arrays(np.bool_, SHAPE),
)
def test_what_is_left_satisfies_every_rule_and_stays_put(inputs, wanted, mutable):
    kept = RULES.enforce(inputs, wanted, mutable)
    moved = inputs + kept
    units = kept * RULES.scale / RULES.precision
    np.testing.assert_allclose(units, np.rint(units), atol=1e-6)
    changed = kept != 0
    assert not (changed & ~mutable).any()
    assert (moved[changed] >= -1e-6).all() and (moved[changed] <= 1 + 1e-6).all()
    clinical = moved * RULES.scale + RULES.low
    pair_changed = changed[..., :2].any(axis=-1)
    assert (clinical[..., 0] > clinical[..., 1])[pair_changed].all()
    again = RULES.enforce(inputs, kept.astype(np.float32), mutable)
    np.testing.assert_allclose(again, kept, atol=1e-6)


PREPROCESSING = Preprocessing(
    "forward", NAMES, RULES.low, RULES.low + RULES.scale, RULES.low, np.array([True, True, False])
)
OBSERVED = np.zeros((2, 3, 3), dtype=bool)
OBSERVED[0, 1, 0] = OBSERVED[1, 2, 2] = True
N_HOURS = np.array([3, 2])


def test_mutable_all_leaves_out_ended_hours_and_variables_never_seen():
    cells = mutable_cells("all", OBSERVED, N_HOURS, PREPROCESSING)
    assert cells[0, :, :2].all() and cells[1, :2, :2].all()
    assert cells.sum() == 6 + 4


def test_mutable_observed_is_what_was_recorded():
    assert np.argwhere(mutable_cells("observed", OBSERVED, N_HOURS, PREPROCESSING)).tolist() == [[0, 1, 0]]


def test_mutable_names_pick_variables():
    cells = mutable_cells(["dbp"], OBSERVED, N_HOURS, PREPROCESSING)
    assert sorted(set(np.argwhere(cells)[:, 2])) == [1]
    with pytest.raises(UserError, match=r"attack\.mutable: sodium is not a variable"):
        mutable_cells(["sodium"], OBSERVED, N_HOURS, PREPROCESSING)


def test_a_fixed_variable_is_never_mutable():
    for rule in ("all", "observed", ["dbp"]):
        free = mutable_cells(rule, OBSERVED, N_HOURS, PREPROCESSING)
        cells = mutable_cells(rule, OBSERVED, N_HOURS, PREPROCESSING, fixed=["dbp"])
        dbp = PREPROCESSING.variable_names.index("dbp")
        assert not cells[..., dbp].any()
        assert np.array_equal(np.delete(cells, dbp, axis=2), np.delete(free, dbp, axis=2))
