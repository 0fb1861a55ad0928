"""The audit and the integrity counts of a server's tables: those of the same tables as CSV, dictionaries or not."""

from pathlib import Path

import pandas as pd
import pytest

from ehr_attack.audit import audit
from ehr_attack.integrity import check_integrity
from ehr_attack.sources import find_tables, mimic3, mimic3_staging, postgresql_staging
from ehr_attack.sources.postgresql_loading import load_tables
from ehr_attack.staging import rows_file
from ehr_attack.variables import load_variables

VARIABLES = load_variables()
ALL_TABLES = [*mimic3.TABLES, *mimic3.DICTIONARIES]


def from_csv(folder: Path, out: Path) -> dict[str, Path]:
    files = find_tables("mimic3", folder)
    for table in ALL_TABLES:
        mimic3_staging.stage(table, files[table], out / f"{table}.parquet", VARIABLES, threads=1)
    return {table: out / f"{table}.parquet" for table in ALL_TABLES}


def from_server(schema: str, out: Path) -> dict[str, Path]:
    for table in ALL_TABLES:
        file = out / f"{table}.parquet"
        postgresql_staging.stage(
            "mimic3", table, [schema], file, VARIABLES, threads=1, count_rows=table in mimic3.TABLES
        )
    return {table: out / f"{table}.parquet" for table in ALL_TABLES}


def audited(staged: dict[str, Path], out: Path) -> list[Path]:
    """Both tables that rule audit writes."""
    events = {table: staged[table] for table in mimic3.TABLES}
    check_integrity(
        kind="mimic3",
        version=None,
        full_release=False,
        tables=events,
        rows_files={table: rows_file(file) for table, file in events.items()},
        out=out / "integrity.parquet",
        threads=1,
    )
    audit(
        kind="mimic3",
        tables=events,
        dictionaries={table: staged[table] for table in mimic3.DICTIONARIES},
        variables=VARIABLES,
        acknowledged=(),
        out=out / "items.parquet",
        threads=1,
    )
    return [out / "integrity.parquet", out / "items.parquet"]


def test_both_are_the_same_bytes_as_from_csv(database, shared_dir, tmp_path):
    demo = shared_dir / "data" / "mimiciii-demo-1.4"
    load_tables("mimic3", demo, schema="audited", replace=True)
    one, other = from_csv(demo, tmp_path / "csv"), from_server("audited", tmp_path / "server")
    for table in ALL_TABLES:
        assert one[table].read_bytes() == other[table].read_bytes(), table
    for left, right in zip(audited(one, tmp_path / "one"), audited(other, tmp_path / "other"), strict=True):
        assert left.read_bytes() == right.read_bytes()
    sodium = pd.read_parquet(tmp_path / "other" / "items.parquet").set_index("code").loc["50983"]
    assert (sodium["label"], sodium["fluid"], sodium["unit"]) == ("Sodium", "Blood", "mEq/L")


@pytest.mark.parametrize("access", ["no dictionaries", "no permission"])
@pytest.mark.usefixtures("reader")
def test_a_server_may_keep_its_dictionaries_to_itself(database, schema, tmp_path, caplog, access):
    if access == "no permission":
        database.sql(
            f"CREATE TABLE {schema}.d_labitems AS SELECT 50983 AS itemid, 'Chloride' AS label, 'Urine' AS fluid;"
            f"CREATE TABLE {schema}.d_items AS SELECT 220045 AS itemid, 'Heart Rate' AS label"
        )
    caplog.set_level("INFO")
    staged = from_server(schema, tmp_path)
    assert [len(pd.read_parquet(staged[name])) for name in mimic3.DICTIONARIES] == [0, 0]
    assert pd.read_parquet(staged["d_labitems"]).columns.tolist() == ["item_id", "label", "fluid"]
    assert "d_items: not there, or not for this user to read; going on without it" in caplog.text
    _, items = audited(staged, tmp_path / "audit")
    sodium = pd.read_parquet(items).set_index("code").loc["50983"]
    assert (sodium["label"], sodium["fluid"], sodium["n_rows"]) == ("Sodium", "Blood", 2)


@pytest.mark.usefixtures("reader")
def test_a_dictionary_that_may_be_read_is_read(database, schema, tmp_path):
    database.sql(
        f"CREATE TABLE {schema}.d_labitems AS SELECT 50983 AS itemid, 'Na+'::text AS label, 'Blood'::text AS fluid;"
        f"GRANT SELECT ON {schema}.d_labitems TO reader"
    )
    _, items = audited(from_server(schema, tmp_path), tmp_path / "audit")
    assert pd.read_parquet(items).set_index("code").loc["50983", "label"] == "Na+"
