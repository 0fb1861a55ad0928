"""The tables of both shapes: their columns and types, and how a table becomes a reproducible `.csv.gz`."""

import gzip
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from ehr_attack.storage import atomic_path

_INT, _FLOAT, _TEXT, _TIME, _DATE = pa.int64(), pa.float64(), pa.string(), pa.timestamp("s"), pa.date32()


def _columns(**types: Any) -> pa.Schema:
    return pa.schema(types)


MIMIC3_TABLES: Mapping[str, pa.Schema] = {
    "ADMISSIONS": _columns(
        ROW_ID=_INT,
        SUBJECT_ID=_INT,
        HADM_ID=_INT,
        ADMITTIME=_TIME,
        DISCHTIME=_TIME,
        DEATHTIME=_TIME,
        ADMISSION_TYPE=_TEXT,
        ADMISSION_LOCATION=_TEXT,
        DISCHARGE_LOCATION=_TEXT,
        INSURANCE=_TEXT,
        LANGUAGE=_TEXT,
        RELIGION=_TEXT,
        MARITAL_STATUS=_TEXT,
        ETHNICITY=_TEXT,
        EDREGTIME=_TIME,
        EDOUTTIME=_TIME,
        DIAGNOSIS=_TEXT,
        HOSPITAL_EXPIRE_FLAG=_INT,
        HAS_CHARTEVENTS_DATA=_INT,
    ),
    "PATIENTS": _columns(
        ROW_ID=_INT,
        SUBJECT_ID=_INT,
        GENDER=_TEXT,
        DOB=_TIME,
        DOD=_TIME,
        DOD_HOSP=_TIME,
        DOD_SSN=_TIME,
        EXPIRE_FLAG=_INT,
    ),
    "ICUSTAYS": _columns(
        ROW_ID=_INT,
        SUBJECT_ID=_INT,
        HADM_ID=_INT,
        ICUSTAY_ID=_INT,
        DBSOURCE=_TEXT,
        FIRST_CAREUNIT=_TEXT,
        LAST_CAREUNIT=_TEXT,
        FIRST_WARDID=_INT,
        LAST_WARDID=_INT,
        INTIME=_TIME,
        OUTTIME=_TIME,
        LOS=_FLOAT,
    ),
    "CHARTEVENTS": _columns(
        ROW_ID=_INT,
        SUBJECT_ID=_INT,
        HADM_ID=_INT,
        ICUSTAY_ID=_INT,
        ITEMID=_INT,
        CHARTTIME=_TIME,
        STORETIME=_TIME,
        CGID=_INT,
        VALUE=_TEXT,
        VALUENUM=_FLOAT,
        VALUEUOM=_TEXT,
        WARNING=_INT,
        ERROR=_INT,
        RESULTSTATUS=_TEXT,
        STOPPED=_TEXT,
    ),
    "LABEVENTS": _columns(
        ROW_ID=_INT,
        SUBJECT_ID=_INT,
        HADM_ID=_INT,
        ITEMID=_INT,
        CHARTTIME=_TIME,
        VALUE=_TEXT,
        VALUENUM=_FLOAT,
        VALUEUOM=_TEXT,
        FLAG=_TEXT,
    ),
    "D_ITEMS": _columns(
        ROW_ID=_INT,
        ITEMID=_INT,
        LABEL=_TEXT,
        ABBREVIATION=_TEXT,
        DBSOURCE=_TEXT,
        LINKSTO=_TEXT,
        CATEGORY=_TEXT,
        UNITNAME=_TEXT,
        PARAM_TYPE=_TEXT,
        CONCEPTID=_INT,
    ),
    "D_LABITEMS": _columns(
        ROW_ID=_INT,
        ITEMID=_INT,
        LABEL=_TEXT,
        FLUID=_TEXT,
        CATEGORY=_TEXT,
        LOINC_CODE=_TEXT,
    ),
}
"""Table name -> columns of MIMIC-III v1.4: quoted upper-case headers, quoted text, bare numbers and times."""

MIMIC4_TABLES: Mapping[str, pa.Schema] = {
    "admissions": _columns(
        subject_id=_INT,
        hadm_id=_INT,
        admittime=_TIME,
        dischtime=_TIME,
        deathtime=_TIME,
        admission_type=_TEXT,
        admit_provider_id=_TEXT,
        admission_location=_TEXT,
        discharge_location=_TEXT,
        insurance=_TEXT,
        language=_TEXT,
        marital_status=_TEXT,
        race=_TEXT,
        edregtime=_TIME,
        edouttime=_TIME,
        hospital_expire_flag=_INT,
    ),
    "patients": _columns(
        subject_id=_INT,
        gender=_TEXT,
        anchor_age=_INT,
        anchor_year=_INT,
        anchor_year_group=_TEXT,
        dod=_DATE,
    ),
    "icustays": _columns(
        subject_id=_INT,
        hadm_id=_INT,
        stay_id=_INT,
        first_careunit=_TEXT,
        last_careunit=_TEXT,
        intime=_TIME,
        outtime=_TIME,
        los=_FLOAT,
    ),
    "chartevents": _columns(
        subject_id=_INT,
        hadm_id=_INT,
        stay_id=_INT,
        caregiver_id=_INT,
        charttime=_TIME,
        storetime=_TIME,
        itemid=_INT,
        value=_TEXT,
        valuenum=_FLOAT,
        valueuom=_TEXT,
        warning=_INT,
    ),
    "labevents": _columns(
        labevent_id=_INT,
        subject_id=_INT,
        hadm_id=_INT,
        specimen_id=_INT,
        itemid=_INT,
        order_provider_id=_TEXT,
        charttime=_TIME,
        storetime=_TIME,
        value=_TEXT,
        valuenum=_FLOAT,
        valueuom=_TEXT,
        ref_range_lower=_FLOAT,
        ref_range_upper=_FLOAT,
        flag=_TEXT,
        priority=_TEXT,
        comments=_TEXT,
    ),
    "d_items": _columns(
        itemid=_INT,
        label=_TEXT,
        abbreviation=_TEXT,
        linksto=_TEXT,
        category=_TEXT,
        unitname=_TEXT,
        param_type=_TEXT,
        lownormalvalue=_FLOAT,
        highnormalvalue=_FLOAT,
    ),
    "d_labitems": _columns(itemid=_INT, label=_TEXT, fluid=_TEXT, category=_TEXT),
}
"""Table name -> columns of MIMIC-IV v3.1: lower-case headers, no ROW_ID."""

TABLES: Mapping[str, Mapping[str, pa.Schema]] = {"mimic3": MIMIC3_TABLES, "mimic4": MIMIC4_TABLES}
"""Shape -> its tables."""

_ROW_NUMBERS = ("ROW_ID", "labevent_id")

# Level 1 takes half the time of level 6 and makes files a fifth larger; these are written and read once.
_GZIP_LEVEL = 1


class TableWriter:
    """Appends rows to one table and numbers them from 1 where it has a column for that (`_ROW_NUMBERS`)."""

    def __init__(self, schema: pa.Schema, sink: Any) -> None:
        self._schema = schema
        self._writer = pyarrow.csv.CSVWriter(sink, schema)
        self._rows = 0

    def append(self, columns: Mapping[str, Any]) -> None:
        """Write rows; columns: name -> values of one length, for every column of the table but that of row numbers.

        Values are a numpy array, a masked one, an Arrow array or a list. Times are int64 seconds since
        1970; what is masked, null or None becomes an empty field. Raises KeyError when a column is missing.
        """
        arrays = {
            field.name: _as_arrow(columns[field.name], field.type)
            for field in self._schema
            if field.name not in _ROW_NUMBERS
        }
        count = len(next(iter(arrays.values())))
        numbers = pa.array(np.arange(self._rows + 1, self._rows + count + 1))
        ordered = [arrays.get(name, numbers) for name in self._schema.names]
        self._writer.write_table(pa.Table.from_arrays(ordered, schema=self._schema))
        self._rows += count

    def close(self) -> None:
        """Finish the CSV; the sink stays open."""
        self._writer.close()


@contextmanager
def table_writer(file: Path, schema: pa.Schema) -> Iterator[TableWriter]:
    """Open `file`, a .csv.gz, for writing; it appears under its name only when all went well.

    The gzip header holds neither a time nor a file name, so that equal rows make equal bytes.
    """
    with (
        atomic_path(file) as path,
        path.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", compresslevel=_GZIP_LEVEL, fileobj=raw, mtime=0) as packed,
    ):
        writer = TableWriter(schema, packed)
        yield writer
        writer.close()


def _as_arrow(values: Any, kind: Any) -> Any:
    if isinstance(values, np.ma.MaskedArray):
        return pa.array(values.data, mask=np.ma.getmaskarray(values)).cast(kind)
    if isinstance(values, list):
        return pa.array(values, kind)
    return pa.array(values).cast(kind)
