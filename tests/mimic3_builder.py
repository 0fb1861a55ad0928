"""Hand-made MIMIC-III tables for tests, built in sentences and written as the CSV files of a source.

    records = Records()
    records.patient(born="2050-01-01").stay(hours=72).charted(HEART_RATE, 80, hour=1).lab(SODIUM, 140, hour=2)
    result = extracted(records, tmp_path)
    result.cells("sodium") == [(2.0, 140.0)]

Every stay enters the ICU at INTIME unless it says otherwise; hours count from the stay's own ICU intime.
"""

import csv
import gzip
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

import pandas as pd

from ehr_attack.extraction import extract
from ehr_attack.sources import find_tables
from ehr_attack.sources.mimic3_staging import stage
from ehr_attack.variables import load_variables

INTIME = "2110-03-01 10:00:00"
HEART_RATE, HEART_RATE_CAREVUE = 220045, 211
TEMPERATURE_C, TEMPERATURE_F = 223762, 223761
SBP, SPO2 = 220179, 220277
SODIUM, CREATININE, GLUCOSE, PH = 50983, 50912, 50931, 50820

DEFAULT_COHORT = {
    "min_age_years": 18,
    "min_icu_hours": 48,
    "min_hospital_hours": 24,
    "require_full_window": True,
    "first_stay_only": False,
}

HEADERS = {
    "admissions": "row_id subject_id hadm_id admittime dischtime deathtime admission_type diagnosis "
    "hospital_expire_flag has_chartevents_data",
    "patients": "row_id subject_id gender dob dod expire_flag",
    "icustays": "row_id subject_id hadm_id icustay_id dbsource first_careunit last_careunit intime outtime los",
    "chartevents": "row_id subject_id hadm_id icustay_id itemid charttime storetime value valuenum valueuom "
    "warning error",
    "labevents": "row_id subject_id hadm_id itemid charttime value valuenum valueuom flag",
}

Row = dict[str, Any]


def moment(start: str | datetime, hours: float = 0.0, seconds: float = 0.0) -> datetime:
    """The time so long after `start`."""
    start = start if isinstance(start, datetime) else datetime.fromisoformat(start)
    return start + timedelta(hours=hours, seconds=seconds)


@dataclass
class Stay:
    """An ICU stay; each method adds one row and returns the stay."""

    records: "Records"
    admission: Row
    icustay: Row

    @property
    def stay_id(self) -> int:
        """The ICUSTAY_ID."""
        return int(self.icustay["icustay_id"])

    def charted(
        self, item: int, value: Any, hour: float, seconds: float = 0.0, *, named: bool = True, **columns: Any
    ) -> Self:
        """Add a chart event; `named=False` leaves its ICUSTAY_ID empty, `columns` overrides any other."""
        row = self._event(item, value, hour, seconds) | {
            "icustay_id": self.stay_id if named else None,
            "error": 0,
        }
        self.records.rows["chartevents"].append(row | columns)
        return self

    def lab(self, item: int, value: Any, hour: float, seconds: float = 0.0, **columns: Any) -> Self:
        """Add a laboratory result; `hadm_id=None` leaves its admission empty."""
        self.records.rows["labevents"].append(self._event(item, value, hour, seconds) | columns)
        return self

    def next_stay(self, after_days: float, hours: float = 72) -> "Stay":
        """Another ICU stay of the same patient, in an admission of its own."""
        intime = moment(self.icustay["intime"], hours=24 * after_days)
        return Patient(self.records, self.icustay["subject_id"]).stay(intime=intime, hours=hours)

    def _event(self, item: int, value: Any, hour: float, seconds: float) -> Row:
        return {
            "subject_id": self.icustay["subject_id"],
            "hadm_id": self.icustay["hadm_id"],
            "itemid": item,
            "charttime": moment(self.icustay["intime"], hour, seconds),
            "value": value,
            "valuenum": value,
        }


@dataclass
class Patient:
    """A patient, who has stays."""

    records: "Records"
    subject_id: int

    def stay(
        self,
        hours: float = 72,
        *,
        intime: str | datetime = INTIME,
        died_at_hour: float | None = None,
        **columns: Any,
    ) -> Stay:
        """Add an admission from two hours before the ICU stay to a day after it, and the ICU stay of `hours`.

        columns: any column of ADMISSIONS or ICUSTAYS that should read otherwise.
        """
        start, end = moment(intime), moment(intime, hours)
        number = len(self.records.rows["icustays"]) + 1
        death = None if died_at_hour is None else moment(start, died_at_hour)
        admission = {
            "subject_id": self.subject_id,
            "hadm_id": 100_000 + number,
            "admittime": moment(start, -2),
            "dischtime": death or moment(end, 24),
            "deathtime": death,
            "diagnosis": "SEPSIS",
            "hospital_expire_flag": int(death is not None),
        }
        icustay = {
            "subject_id": self.subject_id,
            "hadm_id": admission["hadm_id"],
            "icustay_id": 200_000 + number,
            "dbsource": "metavision",
            "first_careunit": "MICU",
            "last_careunit": "MICU",
            "intime": start,
            "outtime": end,
        }
        for row in (admission, icustay):
            row |= {name: value for name, value in columns.items() if name in row}
        self.records.rows["admissions"].append(admission)
        self.records.rows["icustays"].append(icustay)
        return Stay(self.records, admission, icustay)


@dataclass
class Records:
    """The five tables in the making. The event tables hold a bystander's row, since no table may be empty."""

    rows: dict[str, list[Row]] = field(default_factory=lambda: {table: [] for table in HEADERS})

    def __post_init__(self) -> None:
        """Add the bystander: a chart and a laboratory row of nobody in the cohort."""
        nobody = {"subject_id": 0, "charttime": moment(INTIME), "value": 1, "valuenum": 1}
        self.rows["chartevents"].append(nobody | {"itemid": HEART_RATE})
        self.rows["labevents"].append(nobody | {"itemid": SODIUM})

    def patient(self, *, born: str | None = "2050-01-01 00:00:00", sex: str = "F") -> Patient:
        """Add a patient."""
        subject_id = len(self.rows["patients"]) + 1
        self.rows["patients"].append({"subject_id": subject_id, "gender": sex, "dob": born})
        return Patient(self, subject_id)

    def write(
        self,
        folder: Path,
        *,
        name: Callable[[str], str] = str.upper,
        suffix: str = ".csv",
        header: Callable[[list[str]], list[str]] = list,
    ) -> Path:
        """Write the tables as CSV files; columns that `header` adds hold the word 'extra'."""
        folder.mkdir(parents=True, exist_ok=True)
        for table in HEADERS:
            content = self.csv(table, header).encode()
            data = gzip.compress(content) if suffix.endswith(".gz") else content
            (folder / f"{name(table)}{suffix}").write_bytes(data)
        return folder

    def csv(self, table: str, header: Callable[[list[str]], list[str]] = list) -> str:
        """A table as CSV text with quoted upper-case names, as MIMIC-III has them."""
        own = HEADERS[table].split()
        names = header(own)
        text = io.StringIO()
        text.write(",".join(f'"{column.upper()}"' for column in names) + "\n")
        writer = csv.writer(text, lineterminator="\n")
        for number, row in enumerate(self.rows[table], start=1):
            full = {"row_id": number} | row
            writer.writerow([full.get(column) if column in own else "extra" for column in names])
        return text.getvalue()


def a_usual_stay(records: Records, **stay: Any) -> Stay:
    """An adult's stay that meets every default rule and has one heart rate in its first hour."""
    return records.patient().stay(**stay).charted(HEART_RATE, 80, hour=0.5)


@dataclass(frozen=True)
class Extracted:
    """What extraction wrote, as frames, beside the files."""

    folder: Path
    stays: pd.DataFrame
    measurements: pd.DataFrame
    flow: dict[str, Any]

    def cells(self, variable: str, stay: Stay | None = None) -> list[tuple[float, float]]:
        """The (hours, value) pairs of a variable, of one stay or of all."""
        rows = self.measurements.query("variable == @variable")
        if stay is not None:
            rows = rows[rows["stay_id"] == stay.stay_id]
        return list(zip(rows["hours"], rows["value"], strict=True))

    def excluded(self) -> dict[str, int]:
        """Stays excluded by each rule that excluded any."""
        steps = self.flow["steps"]
        return {step["key"]: step["excluded_stays"] for step in steps if step["excluded_stays"]}


def staged(folder: Path, out: Path, *, threads: int = 1) -> dict[str, Path]:
    """Stage the tables of `folder` into `out`: table name -> Parquet file."""
    variables = load_variables()
    tables = {table: out / f"{table}.parquet" for table in find_tables("mimic3", folder) if table in HEADERS}
    for table, file in tables.items():
        source = find_tables("mimic3", folder)[table]
        stage(table, source, file, variables, threads=threads)
    return tables


def extract_staged(
    tables: Mapping[str, Path | list[Path]],
    out: Path,
    *,
    kind: str = "mimic3",
    profile: str = "clinical",
    window_hours: int = 48,
    carry_in_hours: float = 0.0,
    threads: int = 1,
    **cohort: Any,
) -> Extracted:
    """Extract from staged tables with the default cohort, but for the keys given."""
    stays, measurements, flow = out / "stays.parquet", out / "measurements.parquet", out / "cohort_flow.json"
    extract(
        kind=kind,
        tables=tables,
        variables=load_variables(profile, kind),
        cohort=DEFAULT_COHORT | cohort,
        window_hours=window_hours,
        carry_in_hours=carry_in_hours,
        source={"kind": kind, "version": "test", "profile": profile},
        out_stays=stays,
        out_measurements=measurements,
        out_flow=flow,
        threads=threads,
    )
    frames = pd.read_parquet(stays), pd.read_parquet(measurements)
    return Extracted(out, *frames, json.loads(flow.read_text()))


def extracted(records: Records, folder: Path, **settings: Any) -> Extracted:
    """Write, stage and extract the records, as the pipeline would."""
    source = records.write(folder / "source")
    tables = staged(source, folder / "staged")
    return extract_staged(tables, folder / "extract", **settings)


def truncated(data: bytes, share: float) -> bytes:
    """The first part of a file, as a broken download leaves it."""
    return data[: max(1, int(len(data) * share))]


def shuffled(names: Sequence[str]) -> list[str]:
    """The columns in another order, with two that MIMIC-III does not have."""
    return ["note", *sorted(names, key=lambda name: name[::-1]), "site"]
