"""From arrays to columns of MIMIC-III: identifiers, administrative text, charted values as text and number."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ehr_attack.synthetic.catalogue import CHART_ITEMS, LAB_ITEMS
from ehr_attack.synthetic.charting import SKIN_WORDS
from ehr_attack.synthetic.cohort import BoolArray, Cohort, Source
from ehr_attack.synthetic.events import DAY, HOUR, MINUTE, Events, Mark
from ehr_attack.synthetic.laboratory import DETECTION_LIMITS, URINE_WORDS, usual_ranges
from ehr_attack.synthetic.severity import IntArray

Columns = dict[str, Any]

# Seven digits, so that no identifier can be taken for one of MIMIC's (at most six).
_SUBJECT_BASE, _ADMISSION_BASE, _STAY_BASE = 1_000_000, 2_000_000, 3_000_000
_SHIFT_HOURS, _NURSES = 12, 3_000
_WARNING_RATE, _UNLINKED_RATE = 0.02, 0.07
_EMERGENCY_ROOM, _LATER_DEATH, _DEATH_REGISTERED = 0.6, 0.25, 0.8
_SYSTEM_NAMES = ("carevue", "metavision")

_TYPES = {"EMERGENCY": 0.84, "ELECTIVE": 0.13, "URGENT": 0.03}
_ORIGINS = {"EMERGENCY ROOM ADMIT": 0.5, "PHYS REFERRAL/NORMAL DELI": 0.3, "TRANSFER FROM HOSP/EXTRAM": 0.2}
_DESTINATIONS = {"HOME": 0.35, "HOME HEALTH CARE": 0.25, "SNF": 0.22, "REHAB/DISTINCT PART HOSP": 0.18}
_INSURANCES = {"Medicare": 0.55, "Private": 0.33, "Medicaid": 0.09, "Government": 0.03}
_LANGUAGES = {"ENGL": 0.75, "SPAN": 0.1, "RUSS": 0.08, "PORT": 0.07}
_RELIGIONS = {"CATHOLIC": 0.4, "NOT SPECIFIED": 0.3, "PROTESTANT QUAKER": 0.15, "JEWISH": 0.1, "OTHER": 0.05}
_MARITAL = {"MARRIED": 0.5, "SINGLE": 0.28, "WIDOWED": 0.14, "DIVORCED": 0.08}
_ETHNICITIES = {"WHITE": 0.7, "BLACK/AFRICAN AMERICAN": 0.1, "UNKNOWN/NOT SPECIFIED": 0.14, "ASIAN": 0.06}
_DIAGNOSES = {
    "SEPSIS": 0.2,
    "PNEUMONIA": 0.2,
    "CONGESTIVE HEART FAILURE": 0.15,
    "GASTROINTESTINAL BLEED": 0.15,
    "ACUTE RESPIRATORY FAILURE": 0.1,
    "CORONARY ARTERY DISEASE": 0.1,
    "ALTERED MENTAL STATUS": 0.1,
}
_UNITS = {"MICU": 0.4, "CSRU": 0.17, "SICU": 0.17, "CCU": 0.14, "TSICU": 0.12}


@dataclass(frozen=True)
class Identifiers:
    """Identifiers of a block: subject_id per patient, hadm_id per admission, icustay_id per stay (int64)."""

    subject: IntArray
    admission: IntArray
    stay: IntArray

    @classmethod
    def draw(cls, rng: np.random.Generator, cohort: Cohort, first: int) -> "Identifiers":
        """Number a block whose first stay is number `first` of all (0-based), in no order of time."""
        return cls(
            subject=_SUBJECT_BASE + first + rng.permutation(cohort.source.size),
            admission=_ADMISSION_BASE + first + rng.permutation(cohort.admitted.size),
            stay=_STAY_BASE + first + rng.permutation(cohort.stays),
        )


def admissions(rng: np.random.Generator, cohort: Cohort, ids: Identifiers) -> Columns:
    """Columns of ADMISSIONS, one row an admission."""
    died, patient = cohort.members.died, cohort.members.patient
    count = died.size
    has_chart = np.maximum.reduceat(cohort.charted, cohort.members.first_stay)
    by_emergency_room = rng.random(count) < _EMERGENCY_ROOM
    arrived = cohort.admitted - rng.integers(60, 600, count) * MINUTE
    return {
        "SUBJECT_ID": ids.subject[patient],
        "HADM_ID": ids.admission,
        "ADMITTIME": cohort.admitted,
        "DISCHTIME": cohort.discharged,
        "DEATHTIME": _where(died, cohort.deathtime),
        "ADMISSION_TYPE": _override(_words(rng, _TYPES, count), cohort.newborn[patient], "NEWBORN"),
        "ADMISSION_LOCATION": _words(rng, _ORIGINS, count),
        "DISCHARGE_LOCATION": _override(_words(rng, _DESTINATIONS, count), died, "DEAD/EXPIRED"),
        "INSURANCE": _words(rng, _INSURANCES, count),
        "LANGUAGE": _words(rng, _LANGUAGES, count, unknown=0.35),
        "RELIGION": _words(rng, _RELIGIONS, count),
        "MARITAL_STATUS": _words(rng, _MARITAL, count, unknown=0.1),
        "ETHNICITY": _words(rng, _ETHNICITIES, count),
        "EDREGTIME": _where(by_emergency_room, arrived),
        "EDOUTTIME": _where(by_emergency_room, cohort.admitted + 30 * MINUTE),
        "DIAGNOSIS": _override(_words(rng, _DIAGNOSES, count), cohort.donor, "ORGAN DONOR"),
        "HOSPITAL_EXPIRE_FLAG": died.astype(np.int64),
        "HAS_CHARTEVENTS_DATA": has_chart.astype(np.int64),
    }


def patients(rng: np.random.Generator, cohort: Cohort, ids: Identifiers) -> Columns:
    """Columns of PATIENTS, one row a patient; dates of death are at midnight."""
    count = cohort.source.size
    last = cohort.members.last_admission
    died_here = cohort.members.died[last]
    died_later = ~died_here & (rng.random(count) < _LATER_DEATH)
    died = died_here | died_later
    lived_on = rng.integers(1, 1_000, count) * DAY
    day = np.where(died_here, cohort.deathtime[last], cohort.discharged[last] + lived_on) // DAY * DAY
    return {
        "SUBJECT_ID": ids.subject,
        "GENDER": _words(rng, {"M": 0.56, "F": 0.44}, count),
        "DOB": cohort.born,
        "DOD": _where(died, day),
        "DOD_HOSP": _where(died_here, day),
        "DOD_SSN": _where(died_later | (died_here & (rng.random(count) < _DEATH_REGISTERED)), day),
        "EXPIRE_FLAG": died.astype(np.int64),
    }


def icustays(rng: np.random.Generator, cohort: Cohort, ids: Identifiers) -> Columns:
    """Columns of ICUSTAYS, one row a stay; LOS is in days."""
    count = cohort.stays
    patient = cohort.members.stay_patient
    unit = _override(_words(rng, _UNITS, count), cohort.newborn[patient], "NICU")
    ward = rng.integers(7, 58, count)
    return {
        "SUBJECT_ID": ids.subject[patient],
        "HADM_ID": ids.admission[cohort.members.admission],
        "ICUSTAY_ID": ids.stay,
        "DBSOURCE": _pick(_SYSTEM_NAMES, cohort.stay_source),
        "FIRST_CAREUNIT": unit,
        "LAST_CAREUNIT": unit,
        "FIRST_WARDID": ward,
        "LAST_WARDID": ward,
        "INTIME": cohort.intime,
        "OUTTIME": _where(cohort.outtime_known, cohort.outtime),
        "LOS": _where(cohort.outtime_known, np.round((cohort.outtime - cohort.intime) / DAY, 4)),
    }


def chartevents(rng: np.random.Generator, cohort: Cohort, ids: Identifiers, events: Events) -> Columns:
    """Columns of CHARTEVENTS. What was charted before the transfer to the ICU names no ICU stay."""
    count = events.stay.size
    modern = cohort.stay_source[events.stay] == Source.METAVISION
    shift = np.clip((events.seconds - cohort.intime[events.stay]) // (_SHIFT_HOURS * HOUR), 0, 7)
    nurses = 14_000 + rng.integers(0, _NURSES, (cohort.stays, 8))
    wordy = events.mark == Mark.TEXT
    words = _pick(SKIN_WORDS, _word_codes(events))
    return {
        "SUBJECT_ID": ids.subject[cohort.members.stay_patient[events.stay]],
        "HADM_ID": ids.admission[cohort.members.admission[events.stay]],
        "ICUSTAY_ID": _where(events.seconds >= cohort.intime[events.stay], ids.stay[events.stay]),
        "ITEMID": events.item,
        "CHARTTIME": events.seconds,
        "STORETIME": events.seconds + rng.integers(1, 60, count) * MINUTE,
        "CGID": nurses[events.stay, shift],
        "VALUE": pc.if_else(pa.array(wordy), words, _numbers(events)),
        "VALUENUM": _where(~wordy, events.value),
        "VALUEUOM": lookup({item.item_id: item.unit for item in CHART_ITEMS}, events.item),
        "WARNING": _where(modern, (rng.random(count) < _WARNING_RATE).astype(np.int64)),
        "ERROR": _where(modern, (events.mark == Mark.ERROR).astype(np.int64)),
        "RESULTSTATUS": pa.nulls(count, pa.string()),
        "STOPPED": _pick(["NotStopd"], np.zeros(count, dtype=np.int64), modern),
    }


def labevents(rng: np.random.Generator, cohort: Cohort, ids: Identifiers, events: Events) -> Columns:
    """Columns of LABEVENTS. Samples before the hospital admission, and some others, name no admission."""
    admission = cohort.members.admission[events.stay]
    new_sample = (np.diff(events.stay, prepend=-1) != 0) | (np.diff(events.seconds, prepend=0) != 0)
    luck = rng.random(events.stay.size + 1)[np.cumsum(new_sample)]
    linked = (luck >= _UNLINKED_RATE) & (events.seconds >= cohort.admitted[admission])

    censored, wordy = events.mark == Mark.CENSORED, events.mark == Mark.TEXT
    numeric = ~(censored | wordy)
    limits = lookup({item: f"<{limit:g}" for item, limit in DETECTION_LIMITS.items()}, events.item)
    words = pc.if_else(pa.array(wordy), _pick(URINE_WORDS, _word_codes(events)), _numbers(events))
    usual = ~(numeric & _abnormal(events))
    return {
        "SUBJECT_ID": ids.subject[cohort.members.stay_patient[events.stay]],
        "HADM_ID": _where(linked, ids.admission[admission]),
        "ITEMID": events.item,
        "CHARTTIME": events.seconds,
        "VALUE": pc.if_else(pa.array(censored), limits, words),
        "VALUENUM": _where(numeric, events.value),
        "VALUEUOM": lookup({item.item_id: item.unit for item in LAB_ITEMS}, events.item),
        "FLAG": _pick(["abnormal"], np.zeros(events.stay.size, dtype=np.int64), usual),
    }


def dictionaries() -> dict[str, Columns]:
    """The tables that say what the item ids mean."""
    return {"D_ITEMS": _d_items(), "D_LABITEMS": _d_labitems()}


def _d_items() -> Columns:
    """Columns of D_ITEMS, one row an item id of CHARTEVENTS."""
    return {
        "ITEMID": [item.item_id for item in CHART_ITEMS],
        "LABEL": [item.label for item in CHART_ITEMS],
        "ABBREVIATION": [item.abbreviation for item in CHART_ITEMS],
        "DBSOURCE": [item.source for item in CHART_ITEMS],
        "LINKSTO": ["chartevents"] * len(CHART_ITEMS),
        "CATEGORY": [item.category for item in CHART_ITEMS],
        "UNITNAME": [item.unit if item.kind else None for item in CHART_ITEMS],
        "PARAM_TYPE": [item.kind for item in CHART_ITEMS],
        "CONCEPTID": [None] * len(CHART_ITEMS),
    }


def _d_labitems() -> Columns:
    """Columns of D_LABITEMS, one row an item id of LABEVENTS."""
    return {
        "ITEMID": [item.item_id for item in LAB_ITEMS],
        "LABEL": [item.label for item in LAB_ITEMS],
        "FLUID": [item.fluid for item in LAB_ITEMS],
        "CATEGORY": [item.category for item in LAB_ITEMS],
        "LOINC_CODE": [item.loinc for item in LAB_ITEMS],
    }


def _abnormal(events: Events) -> BoolArray:
    """Whether each result lies outside the usual range of its item id."""
    low, high = usual_ranges(events.item)
    outside: BoolArray = (events.value < low) | (events.value > high)
    return outside


def _numbers(events: Events) -> Any:
    """Values as text, in the shortest form: 37.2, 80."""
    return pc.cast(pa.array(events.value), pa.string())


def _word_codes(events: Events) -> IntArray:
    """The index of each event's word; 0 for events that are numbers."""
    return np.where(events.mark == Mark.TEXT, events.value, 0).astype(np.int64)


def _words(rng: np.random.Generator, shares: Mapping[str, float], count: int, unknown: float = 0.0) -> Any:
    """Random words in the given shares; a part `unknown` is null."""
    codes = rng.choice(len(shares), size=count, p=list(shares.values()))
    return _pick(list(shares), codes, rng.random(count) < unknown)


def lookup(texts: Mapping[int, str | None], items: IntArray) -> Any:
    """The text of each item id; null for an id without one."""
    known = np.array(sorted(texts))
    codes = np.minimum(np.searchsorted(known, items), known.size - 1)
    return _pick([texts[item] for item in known.tolist()], codes, known[codes] != items)


def _pick(words: Sequence[str | None], codes: IntArray, absent: BoolArray | None = None) -> Any:
    """The words that `codes` point to, null where `absent`."""
    where: Any = pa.array(codes, mask=absent)
    return pa.array(words, pa.string()).take(where)


def _override(words: Any, where: BoolArray, word: str) -> Any:
    return pc.if_else(pa.array(where), pa.scalar(word), words)


def _where(present: BoolArray, values: npt.NDArray[Any]) -> np.ma.MaskedArray[Any, Any]:
    """`values`, null where not `present`."""
    return np.ma.MaskedArray(values, mask=~present)
