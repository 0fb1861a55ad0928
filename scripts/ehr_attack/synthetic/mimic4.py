"""The same records told in the shape of MIMIC-IV, from the columns of the MIMIC-III tables.

Patients, stays, times and values stay as they are. What MIMIC-IV has no place for is left out: stays that begin
before the 18th birthday (it holds adults only), admissions of organ donors (it gives no diagnosis to exclude them
by), rows that were struck out and temperatures that CareVue calculated. What CareVue charted comes under the item
ids of MetaVision, and ages as those of an anchor year.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from ehr_attack.synthetic.catalogue import (
    ALBUMIN,
    CAREVUE_TO_METAVISION,
    LATER_ALBUMIN,
    MIMIC4_CHART_ITEMS,
    MIMIC4_LAB_ITEMS,
)
from ehr_attack.synthetic.cohort import BoolArray, Cohort, Source
from ehr_attack.synthetic.events import HOUR, Events, Mark
from ehr_attack.synthetic.laboratory import usual_ranges
from ehr_attack.synthetic.rendering import Columns, lookup
from ehr_attack.synthetic.severity import IntArray

ADULT_YEARS, HIDDEN_FROM_YEARS, HIDDEN_AGE = 18, 90, 91
_YEAR_GROUPS = ("2008 - 2010", "2011 - 2013", "2014 - 2016", "2017 - 2019", "2020 - 2022")
_URGENT_SAMPLES = 0.4
# No stay has a thousand samples.
_SPECIMEN_BASE, _SPECIMENS_A_STAY = 40_000_000, 1_000

_ADMISSION_TYPES = {"EMERGENCY": "EW EMER."}
_DESTINATIONS = {"DEAD/EXPIRED": "DIED"}
_UNITS = {
    "MICU": "Medical Intensive Care Unit (MICU)",
    "CSRU": "Cardiac Vascular Intensive Care Unit (CVICU)",
    "SICU": "Surgical Intensive Care Unit (SICU)",
    "CCU": "Coronary Care Unit (CCU)",
    "TSICU": "Trauma SICU (TSICU)",
}


@dataclass(frozen=True)
class Block:
    """What the rows of a block of MIMIC-III tables were rendered from; `first`: the number of its first stay."""

    cohort: Cohort
    charting: Events
    labs: Events
    first: int


def retold(rng: np.random.Generator, tables: Mapping[str, Columns], block: Block) -> dict[str, Columns]:
    """The rows of a block as columns of MIMIC-IV, by table name; tables: the same block as MIMIC-III."""
    kept = _kept_stays(block.cohort)
    return {
        "admissions": _admissions(tables["ADMISSIONS"], block.cohort, kept),
        "patients": _patients(rng, tables["PATIENTS"], block.cohort, kept),
        "icustays": _icustays(tables["ICUSTAYS"], kept),
        "chartevents": _chartevents(tables, block.charting, kept),
        "labevents": _labevents(rng, tables["LABEVENTS"], block, kept),
    }


def dictionaries() -> dict[str, Columns]:
    """The tables that say what the item ids mean."""
    charted, tested = MIMIC4_CHART_ITEMS, MIMIC4_LAB_ITEMS
    return {
        "d_items": {
            "itemid": [item.item_id for item in charted],
            "label": [item.label for item in charted],
            "abbreviation": [item.abbreviation for item in charted],
            "linksto": ["chartevents"] * len(charted),
            "category": [item.category for item in charted],
            "unitname": [item.unit for item in charted],
            "param_type": [item.kind for item in charted],
            "lownormalvalue": [None] * len(charted),
            "highnormalvalue": [None] * len(charted),
        },
        "d_labitems": {
            "itemid": [item.item_id for item in tested],
            "label": [item.label for item in tested],
            "fluid": [item.fluid for item in tested],
            "category": [item.category for item in tested],
        },
    }


def _kept_stays(cohort: Cohort) -> BoolArray:
    """Which stays MIMIC-IV would hold, (stays,)."""
    members = cohort.members
    adult = _birthdays(cohort.born[members.stay_patient], cohort.intime) >= ADULT_YEARS
    kept: BoolArray = adult & ~cohort.donor[members.admission]
    return kept


def _admissions(columns: Columns, cohort: Cohort, kept: BoolArray) -> Columns:
    rows = np.zeros(cohort.admitted.size, dtype=bool)
    rows[cohort.members.admission[kept]] = True
    same = (
        "SUBJECT_ID HADM_ID ADMITTIME DISCHTIME DEATHTIME ADMISSION_LOCATION INSURANCE LANGUAGE MARITAL_STATUS "
        "EDREGTIME EDOUTTIME HOSPITAL_EXPIRE_FLAG"
    )
    return _lower(columns, same, rows) | {
        "admission_type": _renamed(_take(columns["ADMISSION_TYPE"], rows), _ADMISSION_TYPES),
        "admit_provider_id": pa.nulls(int(rows.sum()), pa.string()),
        "discharge_location": _renamed(_take(columns["DISCHARGE_LOCATION"], rows), _DESTINATIONS),
        "race": _take(columns["ETHNICITY"], rows),
    }


def _patients(rng: np.random.Generator, columns: Columns, cohort: Cohort, kept: BoolArray) -> Columns:
    """One row a patient with a stay; the anchor year is that of the first of them, so that nobody grows younger."""
    patients, first = np.unique(cohort.members.stay_patient[kept], return_index=True)
    intime = cohort.intime[kept][first]
    age = _birthdays(cohort.born[patients], intime)
    groups = rng.integers(0, len(_YEAR_GROUPS), cohort.born.size)[patients]
    died = columns["DOD"]
    dates = pa.array(died.data, mask=np.ma.getmaskarray(died)).cast(pa.timestamp("s")).cast(pa.date32())
    return {
        "subject_id": columns["SUBJECT_ID"][patients],
        "gender": columns["GENDER"].take(pa.array(patients)),
        "anchor_age": np.where(age >= HIDDEN_FROM_YEARS, HIDDEN_AGE, age),
        "anchor_year": _in_units(intime, "Y") + 1970,
        "anchor_year_group": [_YEAR_GROUPS[group] for group in groups.tolist()],
        "dod": dates.take(pa.array(patients)),
    }


def _icustays(columns: Columns, kept: BoolArray) -> Columns:
    unit = _renamed(_take(columns["FIRST_CAREUNIT"], kept), _UNITS)
    return _lower(columns, "SUBJECT_ID HADM_ID INTIME OUTTIME LOS", kept) | {
        "stay_id": columns["ICUSTAY_ID"][kept],
        "first_careunit": unit,
        "last_careunit": unit,
    }


def _chartevents(tables: Mapping[str, Columns], events: Events, kept: BoolArray) -> Columns:
    """Every event names its stay, also those charted shortly before the transfer to the ICU."""
    columns, left_out = tables["CHARTEVENTS"], [old for old, new in CAREVUE_TO_METAVISION.items() if new is None]
    rows = kept[events.stay] & (events.mark != Mark.ERROR) & ~np.isin(events.item, left_out)
    items = _exchanged(events.item[rows], CAREVUE_TO_METAVISION)
    return _lower(columns, "SUBJECT_ID HADM_ID CHARTTIME STORETIME VALUE VALUENUM", rows) | {
        "stay_id": tables["ICUSTAYS"]["ICUSTAY_ID"][events.stay[rows]],
        "caregiver_id": columns["CGID"][rows],
        "itemid": items,
        "valueuom": lookup({item.item_id: item.unit for item in MIMIC4_CHART_ITEMS}, items),
        "warning": columns["WARNING"].filled(0)[rows],
    }


def _labevents(rng: np.random.Generator, columns: Columns, block: Block, kept: BoolArray) -> Columns:
    """Albumin of patients whom MetaVision charted comes under its second item id."""
    events = block.labs
    rows = kept[events.stay]
    new_sample = (np.diff(events.stay, prepend=-1) != 0) | (np.diff(events.seconds, prepend=0) != 0)
    sample = np.cumsum(new_sample)
    urgent = (rng.random(events.stay.size + 1) < _URGENT_SAMPLES)[sample]
    is_later = block.cohort.stay_source[events.stay] == Source.METAVISION
    low, high = usual_ranges(events.item)
    return _lower(columns, "SUBJECT_ID HADM_ID CHARTTIME VALUE VALUENUM VALUEUOM FLAG", rows) | {
        "specimen_id": (_SPECIMEN_BASE + _SPECIMENS_A_STAY * block.first + sample)[rows],
        "itemid": np.where(is_later & (events.item == ALBUMIN), LATER_ALBUMIN, events.item)[rows],
        "order_provider_id": pa.nulls(int(rows.sum()), pa.string()),
        "storetime": (events.seconds + HOUR)[rows],
        "ref_range_lower": low[rows].round(2),
        "ref_range_upper": high[rows].round(2),
        "priority": pa.array(np.where(urgent, "STAT", "ROUTINE")[rows].tolist(), pa.string()),
        "comments": pa.nulls(int(rows.sum()), pa.string()),
    }


def _birthdays(born: IntArray, at: IntArray) -> IntArray:
    """Whole years of life at a time; both in seconds since 1970."""
    months = _in_units(at, "M") - _in_units(born, "M")
    had: IntArray = (months - (_since_month(at) < _since_month(born))) // 12
    return had


def _since_month(seconds: IntArray) -> IntArray:
    """Seconds since the beginning of the month."""
    times = seconds.astype("datetime64[s]")
    since: IntArray = (times - times.astype("datetime64[M]")).astype(np.int64)
    return since


def _in_units(seconds: IntArray, unit: str) -> IntArray:
    """Whole calendar years (Y) or months (M) since 1970."""
    return seconds.astype("datetime64[s]").astype(f"datetime64[{unit}]").astype(np.int64)


def _exchanged(items: IntArray, counterparts: Mapping[int, int | None]) -> IntArray:
    """Item ids with those that have a counterpart replaced by it."""
    old = np.array(sorted(item for item, new in counterparts.items() if new is not None))
    new = np.array([counterparts[item] for item in old.tolist()])
    which = np.minimum(np.searchsorted(old, items), old.size - 1)
    return np.where(old[which] == items, new[which], items)


def _lower(columns: Columns, names: str, rows: BoolArray) -> Columns:
    """The rows that a mask selects of columns that differ in the case of their names only."""
    return {name.lower(): _take(columns[name], rows) for name in names.split()}


def _take(values: Any, rows: BoolArray) -> Any:
    return values[rows] if isinstance(values, np.ndarray) else values.filter(pa.array(rows))


def _renamed(words: Any, names: Mapping[str, str]) -> Any:
    return pa.array([names.get(word, word) for word in words.to_pylist()], pa.string())
