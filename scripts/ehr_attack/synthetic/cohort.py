"""Who is admitted and when: patients, hospital admissions and ICU stays, their deaths and their faults."""

from dataclasses import dataclass
from enum import IntEnum
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from ehr_attack.synthetic.events import DAY, HOUR, MINUTE, to_minute
from ehr_attack.synthetic.severity import FloatArray, IntArray

BoolArray = npt.NDArray[np.bool_]

# Fatal admissions among all; about 11 % remain among the stays that a study of the first 48 hours keeps.
_FATAL = 0.135
_SAME_ADMISSION, _SAME_PATIENT = 0.045, 0.20
# Of the fatal admissions: death before hour 48, death in the ICU at any time.
_EARLY_DEATH, _ICU_DEATH = 0.15, 0.70
_SHORT_STAY, _NO_OUTTIME, _UNCHARTED = 0.075, 0.002, 0.004
_LATE_PAPERWORK, _PAPERWORK_HOURS = 0.3, 8.0
_STRAIGHT_HOME = 0.05
_CAREVUE, _MINOR, _OVER_89 = 0.5, 0.015, 0.05
_ORGAN_DONOR, _DEATH_FIRST, _DISCHARGE_FIRST = 0.03, 0.03, 0.004
_FIRST_YEAR, _LAST_YEAR = "2100-01-01", "2200-01-01"
_YEAR_DAYS, _HIDDEN_AGE_YEARS = 365.2425, 300


class Source(IntEnum):
    """The charting system of a patient; the value indexes the item-id tables of `charting.py`."""

    CAREVUE = 0
    METAVISION = 1


class Fault(IntEnum):
    """How the times of an admission are impossible, as those of some hundred are in MIMIC-III."""

    NONE = 0
    DEATH_FIRST = 1
    """Death lies before the admission."""
    DISCHARGE_FIRST = 2
    """Discharge lies before the admission."""


@dataclass(frozen=True)
class Membership:
    """Which stay belongs to which admission and patient, as indices in the block, in the order of time.

    `admission`: (stays,); `patient`: (admissions,); `died`: (admissions,), whether the admission ended in
    death.
    """

    admission: IntArray
    patient: IntArray
    died: BoolArray

    @property
    def stays(self) -> int:
        """Number of stays."""
        return self.admission.size

    @property
    def first_stay(self) -> IntArray:
        """Index of the first stay of each admission."""
        return np.searchsorted(self.admission, np.arange(self.died.size))

    @property
    def last_stay(self) -> IntArray:
        """Index of the last stay of each admission."""
        return np.append(self.first_stay[1:], self.stays) - 1

    @property
    def first_admission(self) -> IntArray:
        """Index of the first admission of each patient."""
        return np.searchsorted(self.patient, np.arange(self.patient[-1] + 1))

    @property
    def last_admission(self) -> IntArray:
        """Index of the last admission of each patient."""
        return np.append(self.first_admission[1:], self.died.size) - 1

    @property
    def stay_patient(self) -> IntArray:
        """Patient of each stay."""
        return self.patient[self.admission]


@dataclass(frozen=True)
class Cohort:
    """A block of stays with their admissions and patients; times are int64 seconds since 1970.

    Per stay: `intime`, `outtime`, `outtime_known`, `charted_until`, `charted` (False: nothing in
    CHARTEVENTS). Per admission: `admitted`, `discharged`, `deathtime` (without meaning for survivors),
    `donor`. Per patient: `source`, `born`, `newborn`.
    """

    members: Membership
    intime: IntArray
    outtime: IntArray
    outtime_known: BoolArray
    charted_until: IntArray
    charted: BoolArray
    admitted: IntArray
    discharged: IntArray
    deathtime: IntArray
    donor: BoolArray
    source: IntArray
    born: IntArray
    newborn: BoolArray

    @property
    def stays(self) -> int:
        """Number of stays."""
        return self.members.stays

    @property
    def stay_source(self) -> IntArray:
        """Charting system of each stay."""
        return self.source[self.members.stay_patient]


def draw_cohort(rng: np.random.Generator, liability: FloatArray) -> Cohort:
    """Draw a block of stays; liability: (stays,), standard normal (`severity.draw_liability`)."""
    members = _group(rng, liability)
    last, died = members.last_stay, members.died
    icu_hours, ward_hours = _lengths(rng, members)
    intime = _timeline(rng, members, icu_hours, ward_hours)
    left_icu = intime + _seconds(icu_hours)
    left_hospital = to_minute(left_icu[last] + _seconds(ward_hours))

    # On paper some beds are given up hours after the death.
    outtime = left_icu.copy()
    late = died & (ward_hours == 0) & (rng.random(died.size) < _LATE_PAPERWORK)
    outtime[last] += _seconds(np.where(late, rng.exponential(_PAPERWORK_HOURS, died.size), 0.0))

    admitted = to_minute(intime[members.first_stay] - _seconds(_lead_hours(rng, died.size)))
    fault, donor = _faults(rng, died)
    before = admitted - rng.integers(30, 600, died.size) * MINUTE
    born, newborn = _births(rng, admitted[members.first_admission])
    return Cohort(
        members=members,
        intime=intime,
        outtime=outtime,
        outtime_known=rng.random(members.stays) >= _NO_OUTTIME,
        charted_until=left_icu,
        charted=rng.random(members.stays) >= _UNCHARTED,
        admitted=admitted,
        discharged=np.where(fault == Fault.DISCHARGE_FIRST, before, left_hospital),
        deathtime=np.where(fault == Fault.DEATH_FIRST, before, left_hospital),
        donor=donor,
        source=np.where(rng.random(born.size) < _CAREVUE, np.int64(Source.CAREVUE), np.int64(Source.METAVISION)),
        born=born,
        newborn=newborn,
    )


def _group(rng: np.random.Generator, liability: FloatArray) -> Membership:
    """Group stays into admissions and patients.

    An admission is fatal when the liability of its last stay is above the threshold, and the next one then is
    another patient's.
    """
    new_admission = rng.random(liability.size) >= _SAME_ADMISSION
    new_admission[0] = True
    last_stay = np.append(np.flatnonzero(new_admission)[1:], liability.size) - 1
    died = liability[last_stay] > NormalDist().inv_cdf(1.0 - _FATAL)
    new_patient = rng.random(died.size) >= _SAME_PATIENT
    new_patient[0] = True
    new_patient[1:] |= died[:-1]
    return Membership(np.cumsum(new_admission) - 1, np.cumsum(new_patient) - 1, died)


def _lengths(rng: np.random.Generator, members: Membership) -> tuple[FloatArray, FloatArray]:
    """Hours in the ICU per stay, and on a ward after the last stay per admission (0: died or went home)."""
    stays, died = members.stays, members.died
    short = rng.random(stays) < _SHORT_STAY
    icu = np.where(short, rng.uniform(3, 47.9, stays), 48.2 + rng.lognormal(3.6, 0.9, stays))
    luck = rng.random(died.size)
    early = died & (luck < _EARLY_DEATH)
    icu[members.last_stay[early]] = rng.uniform(3, 47.9, int(early.sum()))
    to_ward = luck >= np.where(died, _ICU_DEATH, _STRAIGHT_HOME)
    return icu, np.where(to_ward, 2.0 + rng.lognormal(4.2, 0.8, died.size), 0.0)


def _timeline(rng: np.random.Generator, members: Membership, icu_hours: FloatArray, ward_hours: FloatArray) -> IntArray:
    """ICU admission times, (stays,): each patient's stays one after the other from a random date on."""
    stays = members.stays
    pause = 30.0 + rng.exponential(48.0, stays)
    away = 24.0 * (10.0 + rng.exponential(200.0, stays))[members.first_stay]
    away[1:] += ward_hours[:-1]
    pause[members.first_stay] = away
    elapsed = np.cumsum(np.append(0.0, icu_hours[:-1]) + pause)
    patient = members.stay_patient
    first_of_patient = members.first_stay[members.first_admission]
    start, stop = (int(np.datetime64(day, "s").astype(np.int64)) for day in (_FIRST_YEAR, _LAST_YEAR))
    origin = rng.integers(start, stop, first_of_patient.size)
    return origin[patient] + _seconds(elapsed - elapsed[first_of_patient][patient])


def _lead_hours(rng: np.random.Generator, admissions: int) -> FloatArray:
    """Hours in hospital before the ICU: a few minutes for direct admissions, else up to four days."""
    direct = rng.random(admissions) < 0.2
    return np.where(direct, 0.05, np.minimum(rng.lognormal(2.4, 1.0, admissions), 96.0))


def _faults(rng: np.random.Generator, died: BoolArray) -> tuple[IntArray, BoolArray]:
    """Which admissions have impossible times (values of Fault), and which are for organ donation.

    Half of the donors are admitted after their death.
    """
    luck = rng.random(died.size)
    donor = died & (luck < _ORGAN_DONOR)
    fault = np.full(died.size, Fault.NONE, dtype=np.int64)
    fault[died & (luck >= _ORGAN_DONOR / 2) & (luck < _ORGAN_DONOR / 2 + _DEATH_FIRST)] = Fault.DEATH_FIRST
    fault[~died & (luck < _DISCHARGE_FIRST)] = Fault.DISCHARGE_FIRST
    return fault, donor


def _births(rng: np.random.Generator, first_admitted: IntArray) -> tuple[IntArray, BoolArray]:
    """Dates of birth (seconds, at midnight), and who is a newborn.

    As in MIMIC-III, the date of birth of those over 89 lies 300 years before their first admission.
    """
    patients = first_admitted.size
    luck = rng.random(patients)
    newborn = luck < _MINOR / 2
    years = np.clip(rng.normal(63.0, 16.0, patients), 18.5, 88.9)
    years = np.where(luck < _MINOR, rng.uniform(14.0, 17.5, patients), years)
    years = np.where(luck >= 1.0 - _OVER_89, _HIDDEN_AGE_YEARS, years)
    years[newborn] = 0.0
    return (first_admitted - _seconds(years * _YEAR_DAYS * 24)) // DAY * DAY, newborn


def _seconds(hours: FloatArray) -> IntArray:
    return np.round(hours * HOUR).astype(np.int64)
