"""Maxima of smaller resamples against a loop over draws, variables and attacks, in more draws than one block takes."""

import numpy as np
import pytest

from ehr_attack.susceptibility.measures import _GATHERED, HourSample, smaller_measures

PATIENTS, VARIABLES = 30, 5


def made_sample(random):
    """Patients of one or two units with up to three attacks each, and what each attack changed, by unit."""
    patient = np.repeat(np.arange(PATIENTS), random.integers(1, 3, PATIENTS))
    attacks = random.integers(0, 4, len(patient))
    unit_of_attack = np.repeat(np.arange(len(patient)), attacks)
    size = random.choice([0.0, 0.0, 0.25, 0.5, 1.0], (len(unit_of_attack), VARIABLES))
    magnitude, unit = [], []
    for column in size.T:
        order = np.argsort(-column)[: (column > 0).sum()]
        magnitude.append(column[order])
        unit.append(unit_of_attack[order])
    return patient, patient[unit_of_attack], size, HourSample(magnitude, unit, attacks[:, None].astype(float))


def test_maxima_and_shares_of_drawn_patients_equal_a_loop():
    random = np.random.default_rng(4)
    patient, patient_of_attack, size, sample = made_sample(random)
    attacks = np.bincount(patient_of_attack, minlength=PATIENTS)
    drawn = random.integers(0, PATIENTS, (120, 2000))
    # One draw holds no attack, and the next a single one.
    drawn[7:9] = np.flatnonzero(attacks == 0)[0]
    drawn[8, 0] = np.flatnonzero(attacks == 1)[0]
    step = _GATHERED // (drawn.shape[1] * VARIABLES)
    assert 1 < step < len(drawn) and len(drawn) % step, "several blocks, the last one a part of one"
    found = smaller_measures(sample, np.flatnonzero(np.diff(patient, prepend=-1)), drawn)
    for draw, places in enumerate(drawn):
        times = np.bincount(places, minlength=PATIENTS)[patient_of_attack]
        for variable in range(VARIABLES):
            if draw == 7:
                assert np.isnan([found[name][draw, variable] for name in ("gmp", "s")]).all()
                continue
            largest = size[times > 0, variable].max()
            share = times[size[:, variable] > 0].sum() / times.sum()
            assert found["gmp"][draw, variable] == largest
            assert found["s"][draw, variable] == pytest.approx(largest * share, rel=1e-6)
