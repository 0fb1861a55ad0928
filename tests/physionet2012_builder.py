"""Hand-made sets of the PhysioNet 2012 challenge for tests, as folders or archives.

write_set(folder, "a", {1: ["00:07,HR,73"]}, deaths=[1])
result = extracted(folder, tmp_path)
result.cells("heart_rate") == [(7 / 60, 73.0)]
"""

import shutil
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ehr_attack.features import build_features
from ehr_attack.sources import find_tables, load_shape, load_staging
from ehr_attack.variables import load_variables
from mimic3_builder import Extracted, extract_staged

KIND = "physionet2012"
HEADER = "Time,Parameter,Value"
OUTCOMES_HEADER = "RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death"


def record_text(record_id: int, lines: Sequence[str], age: float = 60, gender: int = 1, icu_type: int = 3) -> str:
    """A record with its six descriptors and further `lines`."""
    descriptors = {
        "RecordID": record_id, "Age": age, "Gender": gender, "Height": -1, "ICUType": icu_type, "Weight": -1,
    }  # fmt: skip
    return "\n".join([HEADER, *(f"00:00,{name},{value:g}" for name, value in descriptors.items()), *lines]) + "\n"


def write_set(
    folder: Path,
    name: str,
    records: Mapping[int, Sequence[str] | str],
    deaths: Sequence[int] = (),
    *,
    archive: bool = False,
    hospital_days: int = 9,
) -> Path:
    """Write `set-<name>` and its outcomes into `folder`; a record is its lines, or its whole text."""
    records_folder = folder / f"set-{name}"
    records_folder.mkdir(parents=True)
    for record_id, content in records.items():
        text = content if isinstance(content, str) else record_text(record_id, content)
        (records_folder / f"{record_id}.txt").write_bytes(text.encode())
    rows = [f"{record_id},6,1,{hospital_days},-1,{int(record_id in deaths)}" for record_id in records]
    (folder / f"Outcomes-{name}.txt").write_text("\n".join([OUTCOMES_HEADER, *rows]) + "\n")
    if archive:
        with tarfile.open(folder / f"set-{name}.tar.gz", "w:gz") as tar:
            tar.add(records_folder, records_folder.name)
        shutil.rmtree(records_folder)
    return folder


def staged(folder: Path, out: Path, profile: str = "clinical", threads: int = 1) -> dict[str, list[Path]]:
    """Stage all tables of `folder`: Parquet files by the view that they are part of."""
    views: dict[str, list[Path]] = {}
    for table, source in find_tables(KIND, folder).items():
        file = out / f"{table}.parquet"
        load_staging(KIND).stage(table, source, file, load_variables(profile, KIND), threads=threads)
        views.setdefault(load_shape(KIND).views(table), []).append(file)
    return views


def extracted(folder: Path, out: Path, profile: str = "clinical", threads: int = 1, **cohort: Any) -> Extracted:
    """Stage and extract `folder` with the default cohort, but for the keys given."""
    tables = staged(folder, out / "staged", profile, threads)
    return extract_staged(tables, out, kind=KIND, profile=profile, threads=threads, **cohort)


def features_of(result: Extracted, profile: str = "clinical") -> pd.DataFrame:
    """The hourly features of an extract, indexed by stay and hour."""
    out = result.folder / "features.parquet"
    build_features(
        stays=result.folder / "stays.parquet",
        measurements=result.folder / "measurements.parquet",
        variable_names=[variable.name for variable in load_variables(profile, KIND)],
        carry_in_hours=0.0,
        window_hours=48,
        out=out,
    )
    return pd.read_parquet(out).set_index(["stay_id", "hour"])
