"""One stay of the MIMIC-III demo by hand: 48 hours x 19 variables, each value worked out from the rows quoted here.

ICUSTAY_ID 220671 (MetaVision), INTIME 2186-02-09 21:33:54, OUTTIME 2186-02-12 04:20:06: hour 0 begins at 21:33:54, so
that what is charted on the full hour falls in the middle of an hour of the stay; 22:00 on the second day, 48 h 26 min
after INTIME, lies outside. No row of it is marked as an error, albumin (50862) was never measured.

The demo is open data (ODbL 1.0): https://physionet.org/content/mimiciii-demo/1.4/.
"""

import csv
import gzip
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from ehr_attack.feature_tensor import FeatureTensor, load_tensor
from ehr_attack.features import build_features
from ehr_attack.sources import find_tables
from ehr_attack.variables import load_variables
from mimic3_builder import extract_staged, staged

STAY, PATIENT, INTIME = 220671, "43870", datetime(2186, 2, 9, 21, 33, 54)

# CHARTTIME, then ITEMID=VALUENUM: 220045 heart rate; 220179 and 220180 systolic and diastolic pressure by cuff, 220050
# and 220051 by arterial line; 223761 temperature in degrees Fahrenheit; 220210 respiratory rate; 220277 oxygen
# saturation. Laboratory: 50813 lactate, 50818 PaCO2, 50820 pH, 50882 bicarbonate, 50893 calcium, 50912 creatinine,
# 50931 glucose, 50960 magnesium, 50971 potassium, 50983 sodium, 51006 urea nitrogen, 51265 platelets.
ROWS = """
2186-02-09 22:39 220045=68 220179=104 220180=58 220210=13 220277=93
2186-02-09 22:48 220045=71 220210=21 220277=99 223761=96.7
2186-02-09 23:00 220045=69 220210=24 220277=98
2186-02-09 23:05 220179=97 220180=62
2186-02-10 00:00 220045=63 220210=17 220277=98
2186-02-10 00:23 220179=89 220180=42
2186-02-10 01:00 220045=67 220210=23 220277=97 223761=96.6
2186-02-10 01:12 220045=72 220210=19 220277=98
2186-02-10 01:15 220179=115 220180=71
2186-02-10 01:32 50882=26 50893=9.3 50912=1 50931=218 50960=2.1 50971=3.5 50983=138 51006=26 51265=237
2186-02-10 02:00 220045=65 220210=16 220277=100
2186-02-10 02:13 220179=155 220180=53
2186-02-10 03:00 220045=65 220179=101 220180=48 220210=23 220277=99
2186-02-10 04:00 220045=68 220179=122 220180=70 220210=18 220277=100 223761=97
2186-02-10 05:00 220045=58 220179=142 220180=60 220210=21 220277=97
2186-02-10 06:00 220045=58 220179=137 220180=70 220210=22 220277=100
2186-02-10 07:00 220045=55 220179=140 220180=109 220210=26 220277=100
2186-02-10 08:00 220045=56 220179=140 220180=46 220210=22 220277=100 223761=97.5
2186-02-10 09:00 220045=58 220179=155 220180=26 220210=24 220277=99
2186-02-10 10:25 220277=97
2186-02-10 10:26 220045=68
2186-02-10 10:29 220210=18
2186-02-10 10:30 220045=67
2186-02-10 10:31 220045=67 220179=133 220180=48 220210=19 220277=97
2186-02-10 12:00 220045=63 220179=133 220180=70 220210=21 220277=99 223761=97.6
2186-02-11 02:53 50882=22 50893=8.9 50931=199 50960=2 50971=4.6 50983=144 51006=21 51265=226
2186-02-11 03:08 50813=1.2 50818=36 50820=7.39
2186-02-11 04:45 223761=99.8
2186-02-11 04:47 220045=71 220210=14
2186-02-11 04:59 220179=118 220180=60 220277=74
2186-02-11 05:00 220045=73 220179=124 220180=45 220210=29 220277=75
2186-02-11 06:00 220045=75 220179=128 220180=31 220210=25
2186-02-11 06:15 220277=95
2186-02-11 06:24 220050=160 220051=55
2186-02-11 06:37 50882=22 50893=8.7 50912=1.1 50931=189 50960=1.9 50971=4.2 50983=146 51006=21 51265=220
2186-02-11 06:59 50813=1 50818=38 50820=7.37
2186-02-11 07:00 220045=66 220050=176 220051=61 220210=22 220277=99
2186-02-11 08:00 220045=66 220050=174 220051=57 220210=22 220277=100
2186-02-11 09:00 220045=73 220050=159 220051=49 220210=28 220277=100
2186-02-11 10:00 220045=75 220050=183 220051=61 220210=19 220277=99 223761=100.6
2186-02-11 11:00 220045=70 220050=170 220051=54 220210=35 220277=100
2186-02-11 12:00 220045=65 220050=175 220051=58 220210=31 220277=100
2186-02-11 14:00 220045=66 220050=150 220051=54 220210=35 220277=100
2186-02-11 15:00 220045=63 220050=144 220051=47 220210=30 220277=99
2186-02-11 16:00 220045=65 220050=142 220051=47 220210=29 220277=100
2186-02-11 17:00 220045=70 220050=152 220051=56 220210=22 220277=100
2186-02-11 18:00 220045=66 220050=136 220051=48 220210=29 220277=99 223761=101.4
2186-02-11 19:00 220045=78 220050=129 220051=47 220210=30 220277=95
2186-02-11 20:00 220045=77 220050=156 220051=53 220210=29 220277=96 223761=98.6
2186-02-11 21:00 220045=71 220050=149 220051=47 220210=29 220277=95
2186-02-11 22:00 220045=72 220050=122 220051=38 220210=26 220277=90
"""

NO = np.nan

# The hours in which anything was charted. Where one has several rows, the means are written out:
# hour 1 is 22:33:54 to 23:33:54, hour 3 00:33:54 to 01:33:54, hour 12 09:33:54 to 10:33:54, hour 31 04:33:54 to
# 05:33:54, hour 32 05:33:54 to 06:33:54 (its pressures once by cuff and once by arterial line).
CHARTED = {
    # hour: heart rate, systolic, diastolic, temperature [degrees Fahrenheit], respiratory rate, oxygen saturation
    1: ((68 + 71 + 69) / 3, (104 + 97) / 2, (58 + 62) / 2, 96.7, (13 + 21 + 24) / 3, (93 + 99 + 98) / 3),
    2: (63, 89, 42, NO, 17, 98),
    3: ((67 + 72) / 2, 115, 71, 96.6, (23 + 19) / 2, (97 + 98) / 2),
    4: (65, 155, 53, NO, 16, 100),
    5: (65, 101, 48, NO, 23, 99),
    6: (68, 122, 70, 97.0, 18, 100),
    7: (58, 142, 60, NO, 21, 97),
    8: (58, 137, 70, NO, 22, 100),
    9: (55, 140, 109, NO, 26, 100),
    10: (56, 140, 46, 97.5, 22, 100),
    11: (58, 155, 26, NO, 24, 99),
    12: ((68 + 67 + 67) / 3, 133, 48, NO, (18 + 19) / 2, (97 + 97) / 2),
    14: (63, 133, 70, 97.6, 21, 99),
    31: ((71 + 73) / 2, (118 + 124) / 2, (60 + 45) / 2, 99.8, (14 + 29) / 2, (74 + 75) / 2),
    32: (75, (128 + 160) / 2, (31 + 55) / 2, NO, 25, 95),
    33: (66, 176, 61, NO, 22, 99),
    34: (66, 174, 57, NO, 22, 100),
    35: (73, 159, 49, NO, 28, 100),
    36: (75, 183, 61, 100.6, 19, 99),
    37: (70, 170, 54, NO, 35, 100),
    38: (65, 175, 58, NO, 31, 100),
    40: (66, 150, 54, NO, 35, 100),
    41: (63, 144, 47, NO, 30, 99),
    42: (65, 142, 47, NO, 29, 100),
    43: (70, 152, 56, NO, 22, 100),
    44: (66, 136, 48, 101.4, 29, 99),
    45: (78, 129, 47, NO, 30, 95),
    46: (77, 156, 53, 98.6, 29, 96),
    47: (71, 149, 47, NO, 29, 95),
}
CHARTED_NAMES = ("heart_rate", "sbp", "dbp", "temperature", "resp_rate", "spo2")

# Blood was drawn at 01:32 (hour 3), 02:53 and 03:08 (both hour 29: 02:33:54 to 03:33:54), 06:37 and 06:59 (hour 33).
MEASURED = {
    "lactate": {29: 1.2, 33: 1.0},
    "paco2": {29: 36, 33: 38},
    "ph": {29: 7.39, 33: 7.37},
    "albumin": {},
    "bicarbonate": {3: 26, 29: 22, 33: 22},
    "calcium": {3: 9.3, 29: 8.9, 33: 8.7},
    "creatinine": {3: 1.0, 33: 1.1},
    "glucose": {3: 218, 29: 199, 33: 189},
    "magnesium": {3: 2.1, 29: 2.0, 33: 1.9},
    "potassium": {3: 3.5, 29: 4.6, 33: 4.2},
    "sodium": {3: 138, 29: 144, 33: 146},
    "bun": {3: 26, 29: 21, 33: 21},
    "platelets": {3: 237, 29: 226, 33: 220},
}
"""Variable -> hour -> value."""


def expected() -> np.ndarray:
    """(48, 19): the values above in the order of the variables, NaN where nothing was recorded."""
    values = {name: np.full(48, NO) for name in (*CHARTED_NAMES, *MEASURED)}
    for hour, cells in CHARTED.items():
        for name, value in zip(CHARTED_NAMES, cells, strict=True):
            values[name][hour] = (value - 32) / 1.8 if name == "temperature" else value
    for name, by_hour in MEASURED.items():
        for hour, value in by_hour.items():
            values[name][hour] = value
    return np.stack([values[variable.name] for variable in load_variables()], axis=1)


@pytest.fixture(scope="module")
def demo(shared_dir) -> Path:
    return shared_dir / "data" / "mimiciii-demo-1.4"


@pytest.fixture(scope="module")
def stay(demo, tmp_path_factory) -> FeatureTensor:
    """What the project makes of the demo, this stay alone."""
    folder = tmp_path_factory.mktemp("by_hand")
    extract_staged(staged(demo, folder / "staged"), folder)
    names = [variable.name for variable in load_variables()]
    files = {"stays": folder / "stays.parquet", "measurements": folder / "measurements.parquet"}
    features = folder / "features.parquet"
    build_features(**files, variable_names=names, window_hours=48, carry_in_hours=0.0, out=features)
    tensor = load_tensor(features, names, 48)
    row = tensor.stay_ids.tolist().index(STAY)
    one = slice(row, row + 1)
    return FeatureTensor(tensor.stay_ids[one], tensor.values[one], tensor.carry_in[one], tensor.n_hours[one])


def test_the_rows_quoted_here_are_all_that_the_demo_has_of_it(demo, shared_dir):
    """In 49 hours, of every item id of these variables in the reference's own list."""
    with (shared_dir / "reference" / "variables.csv").open(newline="") as lines:
        wanted = {
            (row["table"], item.partition(":")[0])
            for row in csv.DictReader(lines)
            if row["profile"] in ("all", "clinical")
            for column in ("mimic3_carevue", "mimic3_metavision")
            for item in row[column].split("|")
        }
    found: dict[str, list[str]] = {}
    for table in ("chartevents", "labevents"):
        with gzip.open(find_tables("mimic3", demo)[table], "rt", newline="") as lines:
            for row in csv.DictReader(lines):
                if row["SUBJECT_ID"] != PATIENT or (table, row["ITEMID"]) not in wanted:
                    continue
                since = datetime.fromisoformat(row["CHARTTIME"]) - INTIME
                if timedelta(0) <= since < timedelta(hours=49):
                    assert row.get("ICUSTAY_ID", str(STAY)) == str(STAY) and row.get("ERROR", "0") == "0"
                    found.setdefault(row["CHARTTIME"], []).append(f"{row['ITEMID']}={row['VALUENUM']}")
    lines_found = [" ".join([time.removesuffix(":00"), *sorted(items)]) for time, items in sorted(found.items())]
    assert lines_found == ROWS.strip().splitlines()


def test_all_48_hours_of_19_variables(stay):
    values = expected()
    assert values.shape == (48, 19)
    np.testing.assert_allclose(stay.values[0], values, rtol=1e-6)
    assert stay.n_hours.tolist() == [48]


def test_observed_are_the_cells_with_a_value_and_no_others(stay):
    """29 hours with heart rate, two pressures, respiratory rate and saturation, 9 with temperature, 32 of blood."""
    observed = ~np.isnan(stay.values[0])
    np.testing.assert_array_equal(observed, ~np.isnan(expected()))
    assert observed.sum() == 29 * 5 + 9 + 32
    assert np.isnan(stay.carry_in).all()
