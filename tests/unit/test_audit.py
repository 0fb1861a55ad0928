"""The audit of item ids: what it counts, what it warns of, what stops the run, and what people get to see."""

import csv
import gzip
import math
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ehr_attack.audit import audit
from ehr_attack.errors import UserError
from ehr_attack.paths import DATA_DIR, SQL_DIR, VARIABLES_FILE
from ehr_attack.sources import find_tables
from ehr_attack.sources.mimic3_staging import stage
from ehr_attack.summaries.audit import item_audit_table
from ehr_attack.variables import Variable, items_of, load_variables
from mimic3_builder import HEART_RATE, SODIUM, TEMPERATURE_F, Records

EVENTS = ("chartevents", "labevents")
URINE_GLUCOSE, SPO2_LIMIT, RATE_SET_CAREVUE, RATE_SET, SKIN = 51478, 226253, 619, 224688, 224027


def variables_with(tmp_path: Path, **added: str) -> tuple[Variable, ...]:
    """The clinical variables, with more MetaVision item ids for some of them, as a user would write them."""
    with VARIABLES_FILE.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    for row in rows:
        if row["variable"] in added and "clinical" in row["profile"]:
            row["mimic3_metavision"] += f"|{added[row['variable']]}"
    file = tmp_path / "variables.csv"
    with file.open("w", newline="") as lines:
        writer = csv.DictWriter(lines, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return load_variables(path=file)


def audited(
    folder: Path, out: Path, variables: tuple[Variable, ...] | None = None, acknowledged: tuple[str, ...] = ()
) -> pd.DataFrame:
    """Stage the event tables and dictionaries of `folder` and audit them; a row a code, by code."""
    variables = variables or load_variables()
    staged = {}
    for table, file in find_tables("mimic3", folder).items():
        if table in EVENTS or table.startswith("d_"):
            staged[table] = out / f"{table}.parquet"
            stage(table, file, staged[table], variables, threads=1)
    audit(
        kind="mimic3",
        tables={name: staged[name] for name in EVENTS},
        dictionaries={name: file for name, file in staged.items() if name.startswith("d_")},
        variables=variables,
        acknowledged=acknowledged,
        out=out / "items.parquet",
        threads=1,
    )
    return pd.read_parquet(out / "items.parquet").set_index("code")


@pytest.fixture
def records() -> Records:
    records = Records()
    for table in EVENTS:
        records.rows[table].clear()
    # No table may be empty; these two are of items that no variable has.
    stay = records.patient().stay()
    stay.charted(1, 1, hour=1).lab(1, 1, hour=1)
    return records


def some_stay(records: Records):
    return records.patient().stay()


# --- what is counted


def test_a_code_by_hand(records, tmp_path):
    one, other = some_stay(records), some_stay(records)
    for value in (60, 70, 80, 90):
        one.charted(HEART_RATE, value, hour=1, valueuom="bpm")
    other.charted(HEART_RATE, 301, hour=2, valueuom=" BPM ").charted(HEART_RATE, 0, hour=2)
    other.charted(HEART_RATE, 75, hour=3, error=1, valueuom="mmHg")
    line = audited(records.write(tmp_path / "source"), tmp_path).loc[str(HEART_RATE)]
    assert (line["n_rows"], line["n_patients"], line["n_outside"], line["n_other_unit"]) == (6, 2, 2, 1)
    assert (line["unit"], line["expected_unit"], line["label"]) == ("bpm", "bpm", "Heart Rate")
    # Of 0, 60, 70, 80, 90, 301: a share of 5 % is reached by the first, one half by the third, 95 % by the last.
    assert line[["q05", "median", "q95"]].tolist() == [0, 70, 301]
    assert (line["findings"], line["failing"]) == ("", "")


def test_numbers_that_are_none_or_huge_are_counted_as_outside(records, tmp_path):
    """They change neither the quantiles in the middle nor the count of the rest; NaN is taken for the largest."""
    stay = some_stay(records)
    for value in ("NaN", "inf", "-inf", "1e308", "-1e308", "-1", *range(130, 150)):
        stay.lab(SODIUM, value, hour=1)
    line = audited(records.write(tmp_path / "source"), tmp_path).loc[str(SODIUM)]
    assert (line["n_rows"], line["n_outside"]) == (26, 6)
    # -inf, -1e308 and -1 come first, so that the 13th of 26 values is the 10th of the twenty.
    assert line["median"] == 139


def test_codes_without_a_value_are_listed_with_zeros(records, tmp_path):
    frame = audited(records.write(tmp_path / "source"), tmp_path)
    expected = [str(item.item_id) for variable in load_variables() for item in items_of(variable)]
    assert frame.index.tolist() == expected
    assert (frame[["n_rows", "n_patients", "n_outside", "n_other_unit"]] == 0).all(axis=None)
    assert frame["median"].isna().all()


def test_fahrenheit_is_expected_and_converted(records, tmp_path):
    some_stay(records).charted(TEMPERATURE_F, 98.6, hour=1, valueuom="?F").charted(
        TEMPERATURE_F, 37.0, hour=2, valueuom="?F"
    )
    line = audited(records.write(tmp_path / "source"), tmp_path).loc[str(TEMPERATURE_F)]
    assert line["q95"] == pytest.approx(37.0) and line["expected_unit"] == "degF"
    assert (line["n_outside"], line["findings"]) == (1, "")


def test_a_source_without_units_is_no_disagreement(records, tmp_path):
    some_stay(records).lab(SODIUM, 140, hour=1)
    folder = records.write(tmp_path / "source", header=lambda names: [name for name in names if name != "valueuom"])
    line = audited(folder, tmp_path).loc[str(SODIUM)]
    assert (line["n_rows"], line["unit"], line["findings"]) == (1, "", "")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([-1.0, 0.5, 3.0, 7.25, 130.0, math.inf]), min_size=1, max_size=60))
def test_quantiles_are_exact(values):
    with duckdb.connect() as connection:
        rows = pd.DataFrame({"value": values})
        connection.register("rows_given", rows)
        connection.execute(
            "CREATE VIEW recorded AS SELECT 'x' AS variable, '1' AS code, 0 AS low_exclusive, 100 AS high_inclusive, "
            "1 AS patient, NULL::varchar AS folded_unit, NULL::varchar AS unit, value FROM rows_given"
        )
        found = connection.sql((SQL_DIR / "common" / "item_audit.sql").read_text()).df().iloc[0]
    for name, share in (("q05", 0.05), ("median", 0.5), ("q95", 0.95)):
        assert found[name] == np.quantile(values, share, method="inverted_cdf")
    assert found["outside"] == sum(not 0 < value <= 100 for value in values)


# --- what is warned of


@pytest.mark.parametrize(
    ("units", "words"),
    [
        (["mmol/L"] * 9 + ["MEQ/L"], ""),
        (["mg/dL"] * 6 + ["mEq/L"] * 4, "its unit is usually mg/dL; expected mEq/L"),
        (["mEq/L"] * 198 + ["mg/dL"] * 2, ""),
        (["mEq/L"] * 196 + ["mg/dL"] * 4, "its unit is sometimes mg/dL; expected mEq/L"),
        ([None] * 5 + ["g/dL"], "its unit is usually g/dL; expected mEq/L"),
    ],
)
def test_units_that_disagree_are_a_warning(records, tmp_path, units, words):
    stay = some_stay(records)
    for unit in units:
        stay.lab(SODIUM, 140, hour=1, valueuom=unit)
    line = audited(records.write(tmp_path / "source"), tmp_path).loc[str(SODIUM)]
    assert (line["findings"], line["failing"]) == (words, "")


def test_a_calculated_copy_is_a_warning(records, tmp_path):
    line = audited(records.write(tmp_path / "source"), tmp_path, variables_with(tmp_path, temperature="677")).loc["677"]
    assert "a copy calculated from another item" in line["findings"] and line["failing"] == ""


# --- what stops the run


@pytest.mark.parametrize(
    ("variable", "item", "name", "label", "words"),
    [
        ("glucose", URINE_GLUCOSE, "fluid", "Glucose", "its fluid is Urine; expected Blood"),
        ("ph", 51491, "fluid", "pH", "its fluid is Urine; expected Blood"),
        ("spo2", SPO2_LIMIT, "limit", "SpO2 Desat Limit", "an alarm limit"),
        ("spo2", 5820, "limit", "SpO2 Alarm [Low]", "an alarm limit"),
        ("resp_rate", RATE_SET_CAREVUE, "setting", "Respiratory Rate Set", "a value set on a device"),
        ("resp_rate", RATE_SET, "setting", "Respiratory Rate (Set)", "a value set on a device"),
        ("temperature", SKIN, "site", "Skin Temperature", "a measurement of the skin"),
    ],
)
def test_a_wrong_item_stops_the_run_unless_acknowledged(records, tmp_path, caplog, variable, item, name, label, words):
    variables = variables_with(tmp_path, **{variable: str(item)})
    folder = records.write(tmp_path / "source")
    with pytest.raises(UserError) as caught:
        audited(folder, tmp_path, variables)
    message = str(caught.value)
    for part in (f"{name}:{item}", f"item id {item}", repr(label), words, "source.acknowledged", "variables.csv"):
        assert part in message
    assert not (tmp_path / "items.parquet").exists()
    line = audited(folder, tmp_path, variables, acknowledged=(f"{name}:{item}",)).loc[str(item)]
    assert line["failing"] == f"{name}:{item}" and words in line["findings"]


def test_several_wrong_items_are_told_at_once_and_each_needs_its_own_name(records, tmp_path):
    variables = variables_with(tmp_path, glucose=str(URINE_GLUCOSE), temperature=str(SKIN))
    folder = records.write(tmp_path / "source")
    with pytest.raises(UserError, match=f"(?s)site:{SKIN}.*fluid:{URINE_GLUCOSE}.*item id {URINE_GLUCOSE}|site:{SKIN}"):
        audited(folder, tmp_path, variables)
    with pytest.raises(UserError) as caught:
        audited(folder, tmp_path, variables, acknowledged=(f"fluid:{URINE_GLUCOSE}",))
    assert f"site:{SKIN}" in str(caught.value) and "fluid:" not in str(caught.value)


def test_the_sources_own_dictionary_comes_first(records, tmp_path):
    folder = records.write(tmp_path / "source")
    (folder / "D_LABITEMS.csv").write_text(
        f'"ROW_ID","ITEMID","LABEL","FLUID","CATEGORY","LOINC_CODE"\n1,{SODIUM},"Sodium, Body Fluid","Ascites","",""\n'
    )
    with pytest.raises(UserError, match=f"fluid:{SODIUM}.*'Sodium, Body Fluid'; its fluid is Ascites; expected Blood"):
        audited(folder, tmp_path)


def test_an_acknowledgement_of_nothing_is_told(records, tmp_path, caplog):
    audited(records.write(tmp_path / "source"), tmp_path, acknowledged=("fluid:1",))
    assert "no item-id audit fluid:1 fails here" in caplog.text


# --- the data


def test_every_unit_of_a_mimic_variable_has_its_spellings():
    with (DATA_DIR / "units.csv").open(newline="") as lines:
        known = {row["unit"] for row in csv.DictReader(lines)}
    for profile in ("clinical", "reproduction2023"):
        assert {variable.unit for variable in load_variables(profile)} <= known


# --- what people see


def test_small_numbers_are_hidden():
    base = dict.fromkeys(("variable", "variable_label", "table_name", "code", "label", "fluid", "unit"), "x")
    base |= {"expected_unit": "x", "findings": "", "failing": "", "q05": 1.0, "median": 2.0, "q95": 3.0}
    counts = [(500, 12, 100, 20), (500, 9, 100, 20), (150, 12, 9, 141), (0, 0, 0, 0), (9, 9, 0, 0)]
    names = ("n_rows", "n_patients", "n_outside", "n_other_unit")
    table = item_audit_table(pd.DataFrame([base | dict(zip(names, row, strict=True)) for row in counts]))
    assert table["rows"].tolist() == ["500", "withheld", "150", "0", "withheld"]
    assert table["patients_with_rows"].tolist() == ["12", "<10", "12", "0", "<10"]
    np.testing.assert_array_equal(table["outside_percent"], [20, np.nan, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(table["other_unit_percent"], [4, np.nan, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(table["median"], [2, np.nan, 2, np.nan, np.nan])
    np.testing.assert_array_equal(table["q05"], [1, np.nan, np.nan, np.nan, np.nan])


# --- the MIMIC-III demo


def test_the_demo_against_its_raw_rows(shared_dir, tmp_path):
    folder = shared_dir / "data" / "mimiciii-demo-1.4"
    frame = audited(folder, tmp_path)
    assert (frame["findings"] == "").all() and len(frame) == 37
    labels = {}
    for name in ("D_ITEMS", "D_LABITEMS"):
        with gzip.open(folder / f"{name}.csv.gz", "rt", newline="") as lines:
            labels |= {row["ITEMID"]: row["LABEL"] for row in csv.DictReader(lines)}
    rows: dict[str, list[float]] = {code: [] for code in frame.index}
    errors = 0
    for name in ("CHARTEVENTS", "LABEVENTS"):
        with gzip.open(folder / f"{name}.csv.gz", "rt", newline="") as lines:
            for row in csv.DictReader(lines):
                if row["ITEMID"] not in rows or not row["VALUENUM"]:
                    continue
                if row.get("ERROR") == "1":
                    errors += 1
                    continue
                rows[row["ITEMID"]].append(float(row["VALUENUM"]))
    assert errors > 0
    assert frame["n_rows"].to_dict() == {code: len(values) for code, values in rows.items()}
    assert frame["label"].to_dict() == {code: labels[code] for code in rows}
    for code in ("220045", "50983", "51265"):
        expected = np.quantile(rows[code], [0.05, 0.5, 0.95], method="inverted_cdf")
        np.testing.assert_array_equal(frame.loc[code, ["q05", "median", "q95"]].astype(float), expected)
    assert frame.loc["220045", "n_outside"] == sum(not 0 < value <= 300 for value in rows["220045"])
