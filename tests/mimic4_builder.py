"""Hand-made MIMIC-IV tables for tests, written as the CSV files of a release.

    records = Records()
    stay = records.stay(anchor_age=60)
    records.charted(stay, HEART_RATE, 80, hour=1)
    extracted(records, tmp_path).cells("heart_rate") == [(1.0, 80.0)]

Every stay is of another patient and enters the ICU at INTIME unless it says otherwise; hours count from that time.
"""

import csv
import gzip
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ehr_attack.sources import find_tables, load_staging
from ehr_attack.variables import load_variables
from mimic3_builder import Extracted, extract_staged, moment

KIND = "mimic4"
INTIME = "2150-03-01 10:00:00"
HEART_RATE, SODIUM = 220045, 50983
DICTIONARIES = ("d_items", "d_labitems")

# Written out by hand from the documented columns of MIMIC-IV v3.1.
HEADERS = {
    "hosp/admissions": "subject_id hadm_id admittime dischtime deathtime admission_type admit_provider_id "
    "admission_location discharge_location insurance language marital_status race edregtime edouttime "
    "hospital_expire_flag",
    "hosp/patients": "subject_id gender anchor_age anchor_year anchor_year_group dod",
    "hosp/labevents": "labevent_id subject_id hadm_id specimen_id itemid order_provider_id charttime storetime value "
    "valuenum valueuom ref_range_lower ref_range_upper flag priority comments",
    "icu/icustays": "subject_id hadm_id stay_id first_careunit last_careunit intime outtime los",
    "icu/chartevents": "subject_id hadm_id stay_id caregiver_id charttime storetime itemid value valuenum valueuom "
    "warning",
}

Row = dict[str, Any]


@dataclass
class Records:
    """The tables in the making. The event tables hold a bystander's row, since no table may be empty."""

    rows: dict[str, list[Row]] = field(default_factory=lambda: {table: [] for table in HEADERS})

    def __post_init__(self) -> None:
        """Add the bystander: a chart and a laboratory row of nobody in the cohort."""
        nobody = {"subject_id": 0, "charttime": moment(INTIME), "value": 1, "valuenum": 1}
        self.rows["icu/chartevents"].append(nobody | {"itemid": HEART_RATE, "stay_id": 0})
        self.rows["hosp/labevents"].append(nobody | {"itemid": SODIUM})

    def stay(
        self,
        *,
        anchor_age: int = 60,
        anchor_year: int = 2150,
        intime: str = INTIME,
        hours: float = 72,
        died_at_hour: float | None = None,
    ) -> Row:
        """Add a patient with one admission, from two hours before the ICU stay to a day after it; the icustays row."""
        number = len(self.rows["icu/icustays"]) + 1
        start, end = moment(intime), moment(intime, hours)
        death = None if died_at_hour is None else moment(start, died_at_hour)
        ids = {"subject_id": number, "hadm_id": 100 + number}
        admission = ids | {"admittime": moment(start, -2), "dischtime": death or moment(end, 24), "deathtime": death}
        stay = ids | {"stay_id": 200 + number, "first_careunit": "MICU", "intime": start, "outtime": end}
        patient = {"subject_id": number, "gender": "F", "anchor_age": anchor_age, "anchor_year": anchor_year}
        self.rows["hosp/admissions"].append(admission | {"hospital_expire_flag": int(death is not None)})
        self.rows["hosp/patients"].append(patient)
        self.rows["icu/icustays"].append(stay)
        return stay

    def charted(self, stay: Row, item: int, value: Any, hour: float, **columns: Any) -> None:
        """Add a chart event of the stay; `columns` overrides any column."""
        row = self._event(stay, item, value, hour) | {"stay_id": stay["stay_id"], "warning": 0}
        self.rows["icu/chartevents"].append(row | columns)

    def lab(self, stay: Row, item: int, value: Any, hour: float, **columns: Any) -> None:
        """Add a laboratory result of the stay's patient; `columns` overrides any column."""
        self.rows["hosp/labevents"].append(self._event(stay, item, value, hour) | columns)

    def write(
        self,
        folder: Path,
        *,
        place: Callable[[str], str] = str,
        case: Callable[[str], str] = str.lower,
        columns: Callable[[list[str]], list[str]] = list,
    ) -> Path:
        """Write each table to the file that `place` makes of its name; columns that are none of its own say 'extra'."""
        for table, names in HEADERS.items():
            own = names.split()
            text = io.StringIO()
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow([case(name) for name in columns(own)])
            for row in self.rows[table]:
                writer.writerow([row.get(name) if name in own else "extra" for name in columns(own)])
            file = folder / f"{place(table)}.csv.gz"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(gzip.compress(text.getvalue().encode()))
        return folder

    def _event(self, stay: Row, item: int, value: Any, hour: float) -> Row:
        return {
            "subject_id": stay["subject_id"],
            "hadm_id": stay["hadm_id"],
            "itemid": item,
            "charttime": moment(stay["intime"], hour),
            "value": value,
            "valuenum": value,
        }


def a_usual_stay(records: Records, **stay: Any) -> Row:
    """An adult's stay that meets every default rule and has one heart rate in its first hour."""
    row = records.stay(**stay)
    records.charted(row, HEART_RATE, 80, hour=0.5)
    return row


def extracted_from(
    source: Path, out: Path, kind: str = KIND, *, profile: str = "clinical", **settings: Any
) -> Extracted:
    """Stage and extract the tables of a folder, as the pipeline would; settings: see `extract_staged`."""
    variables = load_variables(profile, kind)
    staged = {}
    for table, file in find_tables(kind, source).items():
        if table not in DICTIONARIES:
            staged[table] = out / f"{table}.parquet"
            load_staging(kind).stage(table, file, staged[table], variables, threads=1)
    return extract_staged(staged, out, kind=kind, profile=profile, **settings)


def extracted(records: Records, folder: Path) -> Extracted:
    """Write, stage and extract the records."""
    return extracted_from(records.write(folder / "source"), folder / "out")
