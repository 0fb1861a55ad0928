import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ehr_attack.attacks.feasibility import OrderRule, Rules, mutable_cells
from ehr_attack.errors import UserError
from ehr_attack.preprocessing import Preprocessing

NAMES = ("sbp", "dbp", "ph")
RULES = Rules(
    low=np.array([60.0, 30.0, 7.0]),
    scale=np.array([120.0, 80.0, 0.6]),
    precision=np.array([1.0, 1.0, 0.01]),
    low_exclusive=np.array([0.0, 0.0, 6.3]),
    high_inclusive=np.array([400.0, 300.0, 8.4]),
    relations=(OrderRule(0, 1, 0.0),),
)
FREE = np.ones((1, 1, 3), dtype=bool)


def enforce(clinical, change, mutable=FREE, rules=RULES, outward=False):
    """Enforce the rules on one hour given in clinical units; the change that is left, in clinical units."""
    inputs = ((np.array(clinical) - rules.low) / rules.scale).astype(np.float32).reshape(1, 1, -1)
    wanted = (np.array(change) / rules.scale).astype(np.float32).reshape(1, 1, -1)
    return (rules.enforce(inputs, wanted, mutable, outward) * rules.scale).ravel()


def test_changes_are_rounded_to_whole_charted_units():
    assert enforce([120, 70, 7.4], [3.4, -2.6, 0.016]) == pytest.approx([3, -3, 0.02])


def test_a_change_of_less_than_half_a_unit_vanishes():
    assert enforce([120, 70, 7.4], [0.4, -0.4, 0.004]).tolist() == [0, 0, 0]


def test_changes_are_drawn_back_into_the_box_by_whole_units():
    # systolic box [60, 180], pH box [7.0, 7.6]; an hourly mean of 178.5 may rise by one whole unit only
    assert enforce([178.5, 70, 7.585], [30, 0, 0.5]) == pytest.approx([1, 0, 0.01])


def test_outward_rounding_goes_away_from_zero_but_not_out_of_the_box():
    assert enforce([120, 70, 7.4], [3.1, -2.1, 0.011], outward=True) == pytest.approx([4, -3, 0.02])
    assert enforce([120, 70, 7.4], [3, -2, 0.01], outward=True) == pytest.approx([3, -2, 0.01])
    assert enforce([179.5, 70, 7.4], [0.2, 0, 0], outward=True).tolist() == [0, 0, 0]


def test_the_plausible_range_limits_a_box_that_is_wider():
    # pH box [7.0, 7.6]; plausible above 7.1 and up to 7.5
    rules = replace(RULES, low_exclusive=np.array([0, 0, 7.1]), high_inclusive=np.array([400, 300, 7.5]))
    assert enforce([120, 70, 7.4], [0, 0, 0.2], rules=rules) == pytest.approx([0, 0, 0.1])
    assert enforce([120, 70, 7.4], [0, 0, -0.4], rules=rules) == pytest.approx([0, 0, -0.29])


def test_systolic_must_stay_above_diastolic():
    assert enforce([100, 90, 7.4], [-9, 0, 0]) == pytest.approx([-9, 0, 0])
    # Only the systolic pressure was moved, so only that one gives way.
    assert enforce([100, 90, 7.4], [-15, 0, 0.1]) == pytest.approx([-9, 0, 0.1])
    # A mmHg of the systolic pressure is the smaller move: 1/120 against 1/80 of a scaled unit.
    assert enforce([100, 90, 7.4], [-8, 5, 0]) == pytest.approx([-4, 5, 0])
    # Where it cannot rise further, the diastolic one gives way as well.
    assert enforce([70, 75, 7.4], [3, 30, 0], rules=replace(RULES, high_inclusive=np.array([80, 300, 8.4]))) == (
        pytest.approx([10, 4, 0])
    )


def test_pressures_charted_in_the_wrong_order_may_stay_or_be_put_in_order():
    assert enforce([80, 90, 7.4], [0, 0, 0.1]) == pytest.approx([0, 0, 0.1])
    # -3 would have to become -11; to drop it is nearer.
    assert enforce([80, 90, 7.4], [0, -3, 0]).tolist() == [0, 0, 0]
    assert enforce([80, 90, 7.4], [0, -9, 0]) == pytest.approx([0, -11, 0])


CHAIN = Rules(
    low=np.array([60.0, 40.0, 30.0]),
    scale=np.array([120.0, 100.0, 80.0]),
    precision=np.ones(3),
    low_exclusive=np.zeros(3),
    high_inclusive=np.full(3, 300.0),
    relations=(OrderRule(0, 2, 0.0), OrderRule(0, 1, 0.0), OrderRule(1, 2, 0.0)),
)
"""Systolic, mean and diastolic pressure."""


def test_relations_that_share_a_variable_hold_together():
    systolic, mean, diastolic = np.array([100, 95, 90]) + enforce([100, 95, 90], [-8, 8, 3], rules=CHAIN)
    assert systolic > mean > diastolic


def test_immutable_cells_keep_their_values():
    mutable = np.array([False, True, True]).reshape(1, 1, 3)
    assert enforce([120, 70, 7.4], [10, 10, 0.1], mutable) == pytest.approx([0, 10, 0.1])


SHAPE = (2, 3, 3)
INPUTS = arrays(np.float32, SHAPE, elements=st.floats(0, 1, width=32))
WANTED = arrays(np.float32, SHAPE, elements=st.one_of(st.just(0.0), st.floats(-1, 1, width=32)))
MUTABLE = arrays(np.bool_, SHAPE)


@given(inputs=INPUTS, wanted=WANTED, mutable=MUTABLE, outward=st.booleans())
def test_what_is_left_satisfies_every_rule_and_stays_put(inputs, wanted, mutable, outward):
    kept = RULES.enforce(inputs, wanted, mutable, outward)
    moved = inputs + kept
    units = kept * RULES.scale / RULES.precision
    np.testing.assert_allclose(units, np.rint(units), atol=1e-6)
    changed = kept != 0
    assert not (changed & (~mutable | (wanted == 0))).any()
    assert (moved[changed] >= -1e-5).all() and (moved[changed] <= 1 + 1e-5).all()
    clinical = moved * RULES.scale + RULES.low
    pair_changed = changed[..., :2].any(axis=-1)
    assert (clinical[..., 0] > clinical[..., 1])[pair_changed].all()
    assert np.array_equal(RULES.enforce(inputs, kept, mutable, outward), kept)
    assert np.array_equal(RULES.enforce(inputs, kept.astype(np.float32), mutable, outward), kept)


@given(inputs=INPUTS, wanted=WANTED, mutable=MUTABLE, outward=st.booleans())
def test_all_relations_of_a_chain_hold_and_what_satisfies_them_stays_put(inputs, wanted, mutable, outward):
    kept = CHAIN.enforce(inputs, wanted, mutable, outward)
    clinical = (inputs + kept) * CHAIN.scale + CHAIN.low
    changed = kept != 0
    assert not (changed & (~mutable | (wanted == 0))).any()
    for relation in CHAIN.relations:
        touched = changed[..., relation.larger] | changed[..., relation.smaller]
        assert (clinical[..., relation.larger] > clinical[..., relation.smaller])[touched].all()
    assert np.array_equal(CHAIN.enforce(inputs, kept, mutable, outward), kept)


def slow_units(value, wanted, feature, outward):
    """Charted units by which one cell at `value` (clinical) should change, before the relations."""
    units = wanted * RULES.scale[feature] / RULES.precision[feature]
    units = math.copysign(math.ceil(abs(units) - 1e-3), units) if outward else round(units)
    while units != 0:
        moved = (value + units * RULES.precision[feature] - RULES.low[feature]) / RULES.scale[feature]
        if -1e-5 <= moved <= 1 + 1e-5:
            break
        units -= math.copysign(1, units)
    return units


def slow_distance(clinical, units, slack):
    """The least distance, scaled, from the wanted changes to whole units that are in order, or to no change."""
    ranges = []
    for feature in (0, 1):
        room = [
            unit
            for unit in range(-130, 131)
            if -1e-5 <= (clinical[feature] + unit - RULES.low[feature]) / RULES.scale[feature] <= 1 + 1e-5
        ]
        ranges.append(room if units[feature] else [0])
    best = abs(units[0]) / RULES.scale[0] + abs(units[1]) / RULES.scale[1]
    for up, down in itertools.product(*ranges):
        if clinical[0] + up > clinical[1] + down + slack:
            best = min(best, abs(up - units[0]) / RULES.scale[0] + abs(down - units[1]) / RULES.scale[1])
    return best


@settings(max_examples=60)
@given(inputs=INPUTS, wanted=WANTED, mutable=MUTABLE, outward=st.booleans())
def test_the_projection_is_as_near_as_the_slow_obvious_one(inputs, wanted, mutable, outward):
    kept = RULES.enforce(inputs, wanted, mutable, outward) * RULES.scale / RULES.precision
    clinical = inputs * RULES.scale + RULES.low
    # Halves of a unit, whose rounding the float32 of the inputs decides, are left out.
    halves = np.abs(np.abs(wanted * RULES.scale / RULES.precision) % 1 - (0 if outward else 0.5)) < 5e-3
    assume(not (halves & (wanted != 0)).any())
    for place in np.ndindex(SHAPE[:2]):
        wanted_here = np.where(mutable[place], wanted[place], 0.0)
        units = [slow_units(clinical[place][f], wanted_here[f], f, outward) for f in range(3)]
        assert kept[place][2] == pytest.approx(units[2], abs=1e-6)
        if clinical[place][0] + units[0] > clinical[place][1] + units[1] + 1e-2 or not any(units[:2]):
            assert kept[place][:2] == pytest.approx(units[:2], abs=1e-6)
        distance = sum(abs(kept[place][f] - units[f]) / RULES.scale[f] for f in (0, 1))
        assert distance >= slow_distance(clinical[place], units, -1e-2) - 1e-9
        assert distance <= slow_distance(clinical[place], units, 1e-2) + 1e-9


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
