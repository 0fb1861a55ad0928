"""Finding the tables of a source in a folder."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ehr_attack.errors import UserError
from ehr_attack.paths import CONFIG_SCHEMA_FILE, PACKAGE_DIR, SQL_DIR, VARIABLES_FILE
from ehr_attack.sources import SOURCES, find_tables
from ehr_attack.variables import items_of, load_variables

NEEDED = ("admissions", "patients", "icustays", "chartevents", "labevents")


def folder_with(tmp_path: Path, *names: str) -> Path:
    for name in names:
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize("case", [str.upper, str.lower, str.title])
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".CSV.GZ"])
def test_tables_are_found_in_any_case_compressed_or_not(tmp_path, case, suffix):
    names = {table: case(table) + suffix for table in NEEDED}
    found = find_tables("mimic3", folder_with(tmp_path, *names.values()))
    assert found == {table: tmp_path / name for table, name in names.items()}


def test_dictionaries_are_taken_where_present_and_other_files_ignored(tmp_path):
    others = [
        "D_ITEMS.csv",
        "OUTPUTEVENTS.csv.gz",
        "README.txt",
        "CHARTEVENTS.csv.gz.part",
        "LABEVENTS.csv.md5",
    ]
    found = find_tables("mimic3", folder_with(tmp_path, *(f"{table}.csv" for table in NEEDED), *others))
    assert set(found) == {*NEEDED, "d_items"}


def test_a_folder_named_like_a_table_is_not_a_table(tmp_path):
    folder = folder_with(tmp_path, *(f"{table}.csv" for table in NEEDED[1:]))
    (folder / "admissions.csv").mkdir()
    with pytest.raises(UserError, match="no file for ADMISSIONS"):
        find_tables("mimic3", folder)


def test_the_published_file_is_preferred_to_its_unpacked_copy(tmp_path):
    names = [f"{table}.csv.gz" for table in NEEDED]
    found = find_tables("mimic3", folder_with(tmp_path, *names, "chartevents.csv"))
    assert found["chartevents"] == tmp_path / "chartevents.csv.gz"


def test_missing_tables_are_named_together_with_folder_and_remedy(tmp_path):
    with pytest.raises(UserError) as caught:
        find_tables("mimic3", folder_with(tmp_path, "ADMISSIONS.csv", "PATIENTS.csv.gz", "ICUSTAYS.csv"))
    message = str(caught.value)
    assert "no file for CHARTEVENTS and LABEVENTS" in message
    assert str(tmp_path) in message and ".csv.gz" in message and "source.path" in message


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match="no such folder") as caught:
        find_tables("mimic3", tmp_path / "nowhere")
    assert str(tmp_path / "nowhere") in str(caught.value)


def test_two_files_for_one_table_are_refused(tmp_path):
    names = [f"{table}.csv" for table in NEEDED]
    with pytest.raises(UserError, match=r"LABEVENTS\.csv and labevents\.csv hold the same table"):
        find_tables("mimic3", folder_with(tmp_path, *names, "LABEVENTS.csv"))


def test_importing_sources_loads_no_heavy_library():
    heavy = "{'duckdb', 'pandas', 'numpy', 'pyarrow', 'torch', 'snakemake'}"
    code = f"import sys, ehr_attack.sources; print(sorted({heavy} & set(sys.modules)))"
    command, environment = [sys.executable, "-c", code], {"PYTHONPATH": str(PACKAGE_DIR.parent)}
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"


def test_every_source_has_its_name_in_the_schema_its_sql_and_its_variables():
    schema = yaml.safe_load(CONFIG_SCHEMA_FILE.read_text(encoding="utf-8"))
    assert set(schema["properties"]["source"]["properties"]["kind"]["enum"]) == {"synthetic", *SOURCES}
    for kind, source in SOURCES.items():
        assert source.sql_dir == SQL_DIR / kind
        shared = SQL_DIR / "mimic" if kind.startswith("mimic") else source.sql_dir
        there = {path.stem for path in [*source.sql_dir.glob("*.sql"), *shared.glob("*.sql")]}
        assert {"candidates", "checks", "placed", "audit", "integrity"} <= there, kind
        assert load_variables(kind=kind), kind


def test_a_source_of_ones_own_has_the_variables_of_its_own_column(tmp_path):
    rows = list(csv.DictReader(VARIABLES_FILE.open(encoding="utf-8")))
    with (tmp_path / "variables.csv").open("w", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*rows[0], "wards"])
        writer.writeheader()
        writer.writerows(
            row | {"wards": {"sodium": "5|7", "temperature": "3:F"}.get(row["variable"], "")} for row in rows
        )
    own = load_variables(kind="wards", path=tmp_path / "variables.csv")
    found = {
        variable.name: [(item.item_id, item.fahrenheit) for item in items_of(variable, "wards")] for variable in own
    }
    assert found == {"temperature": [(3, True)], "sodium": [(5, False), (7, False)]}
    for kind in ("synthetic", *SOURCES):
        names = [variable.name for variable in load_variables(kind=kind, path=tmp_path / "variables.csv")]
        assert names == [variable.name for variable in load_variables(kind=kind)]
