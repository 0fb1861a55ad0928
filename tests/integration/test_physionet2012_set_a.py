"""Set A of the PhysioNet 2012 challenge (ODC-By 1.0, doi:10.13026/C25W25): its counts, and features checked by hand.

Silva et al.: Predicting in-hospital mortality of ICU patients. Computing in Cardiology 39 (2012).
"""

import io
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mimic3_builder import Extracted
from physionet2012_builder import extracted, features_of

RANGES = {
    "HR": ("heart_rate", 0, 300), "SysABP": ("sbp", 0, 400), "NISysABP": ("sbp", 0, 400), "DiasABP": ("dbp", 0, 300),
    "NIDiasABP": ("dbp", 0, 300), "Temp": ("temperature", 25, 46), "RespRate": ("resp_rate", 0, 70),
    "SaO2": ("spo2", 0, 100), "Lactate": ("lactate", 0, 50), "PaCO2": ("paco2", 5, 250), "pH": ("ph", 6.3, 8.4),
    "Albumin": ("albumin", 0, 10), "HCO3": ("bicarbonate", 0, 60), "Creatinine": ("creatinine", 0, 66),
    "Glucose": ("glucose", 0, 2200), "Mg": ("magnesium", 0, 22), "K": ("potassium", 0, 15), "Na": ("sodium", 50, 225),
    "BUN": ("bun", 0, 275), "Platelets": ("platelets", 0, 2200),
}  # fmt: skip
"""Variable and plausible range (low exclusive, high inclusive) of each parameter, from the reference table."""


@pytest.fixture(scope="module")
def set_a(shared_dir) -> Path:
    return shared_dir / "data" / "physionet2012"


@pytest.fixture(scope="module")
def extract(set_a, tmp_path_factory) -> Extracted:
    return extracted(set_a, tmp_path_factory.mktemp("set_a"), threads=2)


@pytest.fixture(scope="module")
def features(extract) -> pd.DataFrame:
    return features_of(extract)


def test_published_counts(extract):
    """4,000 records with 554 deaths; six are younger than 18, and four more hold no value of the 18 variables."""
    steps = {step["key"]: step for step in extract.flow["steps"]}
    assert (steps["all"]["stays"], steps["all"]["deaths"]) == (4000, 554)
    assert extract.excluded() == {"age": 6, "no_measurement": 4}
    assert (len(extract.stays), extract.stays["subject_id"].nunique()) == (3990, 3990)
    assert set(extract.stays["source_set"]) == {"a"}


def test_nothing_from_hour_48_and_no_missing_mark_is_measured(extract):
    """455 lines are stamped 48:00, and 24 temperatures are negative."""
    assert extract.measurements["hours"].between(0, 48, inclusive="left").all()
    assert (extract.measurements["value"] > 0).all()


# Five stays by hand. Each entry quotes raw lines of set A and the cells that follow from them; hour h holds the mean
# of what was recorded from h:00 to h:59.
BY_HAND = {
    # The whole of the record's values: 04:26 DiasABP 22, HR 96, MAP 30, RespRate 16, SysABP 85 (MAP is no variable of
    # this profile). Everything lies in hour 4.
    133628: {
        ("dbp", 4): 22.0, ("heart_rate", 4): 96.0, ("resp_rate", 4): 16.0, ("sbp", 4): 85.0,
    },
    # The whole record: at 05:11 Albumin 2.9, BUN 50, Creatinine 0.9, Glucose 74, HCO3 34, Mg 2.1, K 5.1, Na 137 (and
    # liver enzymes, which are no variables of this profile); at 25:51 Lactate 9.4.
    136022: {
        ("albumin", 5): 2.9, ("bun", 5): 50.0, ("creatinine", 5): 0.9, ("glucose", 5): 74.0, ("bicarbonate", 5): 34.0,
        ("magnesium", 5): 2.1, ("potassium", 5): 5.1, ("sodium", 5): 137.0, ("lactate", 25): 9.4,
    },
    # The whole record: at 13:52 Albumin 3.6, BUN 17, Creatinine 1.1, Glucose 127, HCO3 27, Mg 1.7, Platelets 230,
    # K 4.6, Na 146; at 37:52 BUN 17, Creatinine 1, Glucose 88, HCO3 29, Platelets 226, K 4.9, Na 144.
    137392: {
        ("albumin", 13): 3.6, ("bun", 13): 17.0, ("creatinine", 13): 1.1, ("glucose", 13): 127.0,
        ("bicarbonate", 13): 27.0, ("magnesium", 13): 1.7, ("platelets", 13): 230.0, ("potassium", 13): 4.6,
        ("sodium", 13): 146.0, ("bun", 37): 17.0, ("creatinine", 37): 1.0, ("glucose", 37): 88.0,
        ("bicarbonate", 37): 29.0, ("platelets", 37): 226.0, ("potassium", 37): 4.9, ("sodium", 37): 144.0,
    },
}  # fmt: skip

PARTS_BY_HAND = {
    # Hour 0: HR 87, 86, 84 -> 257/3; NISysABP 75, 99, 91 -> 265/3; NIDiasABP 13, 49, 37 -> 33; the only temperature,
    # 00:40 Temp -17.8, is below 25 degrees and dropped. Hour 1: HR 90, NISysABP 94, NIDiasABP 35, Temp 37.1.
    134104: {
        ("heart_rate", 0): 257 / 3, ("sbp", 0): 265 / 3, ("dbp", 0): 33.0, ("temperature", 0): np.nan,
        ("heart_rate", 1): 90.0, ("sbp", 1): 94.0, ("dbp", 1): 35.0, ("temperature", 1): 37.1,
    },
    # Hour 7: pH 7.49, PaCO2 29, SysABP 114 at 07:54 and 120 at 07:59 -> 117. Hour 8: pH 187 at 08:09 is dropped,
    # PaCO2 29, SysABP 81. Hour 1: pH 7.17 and 7.18 -> 7.175, PaCO2 56 and 63 -> 59.5.
    # Hour 2: SysABP 147, 125, 124, 115 -> 511/4. Hour 4: SaO2 98.
    141680: {
        ("ph", 7): 7.49, ("paco2", 7): 29.0, ("sbp", 7): 117.0, ("ph", 8): np.nan, ("paco2", 8): 29.0,
        ("sbp", 8): 81.0, ("ph", 1): 7.175, ("paco2", 1): 59.5, ("sbp", 2): 127.75, ("spo2", 4): 98.0,
    },
    # 46:15: DiasABP 56, HR 81, SysABP 108, Temp 38.3. 47:15: DiasABP 48, HR 88, SysABP 97. 48:00: BUN 6, Na 137, ...
    # lie outside the window: hour 47 has no laboratory value.
    139704: {
        ("dbp", 46): 56.0, ("heart_rate", 46): 81.0, ("sbp", 46): 108.0, ("temperature", 46): 38.3,
        ("dbp", 47): 48.0, ("heart_rate", 47): 88.0, ("sbp", 47): 97.0, ("bun", 47): np.nan, ("sodium", 47): np.nan,
    },
}  # fmt: skip


@pytest.mark.parametrize("stay_id", BY_HAND)
def test_whole_stays_by_hand(features, stay_id):
    found = features.loc[stay_id].stack().dropna()
    assert {(variable, hour): value for (hour, variable), value in found.items()} == pytest.approx(BY_HAND[stay_id])


@pytest.mark.parametrize("stay_id", PARTS_BY_HAND)
def test_cells_by_hand(features, stay_id):
    expected = PARTS_BY_HAND[stay_id]
    found = {(variable, hour): features.loc[(stay_id, hour), variable] for variable, hour in expected}
    assert found == pytest.approx(expected, nan_ok=True)


def test_all_features_equal_a_plain_reading_of_the_files(set_a, features):
    """Every cell of every stay, against pandas on the text files."""
    parts = []
    with tarfile.open(set_a / "set-a.tar.gz") as archive:
        for member in archive:
            if member.isfile():
                table = pd.read_csv(io.BytesIO(archive.extractfile(member).read()))
                parts.append(table.assign(stay_id=int(Path(member.name).stem)))
    lines = pd.concat(parts)
    lines = lines[lines["Parameter"].isin(RANGES)]
    bounds = lines["Parameter"].map(RANGES)
    lines = lines.assign(variable=bounds.str[0], hour=lines["Time"].str[:2].astype(int))
    plausible = (lines["Value"] > bounds.str[1]) & (lines["Value"] <= bounds.str[2]) & (lines["hour"] < 48)
    expected = lines[plausible].groupby(["stay_id", "hour", "variable"])["Value"].mean().unstack()
    assert expected.notna().to_numpy().sum() > 500_000
    expected = expected.reindex(index=features.index, columns=features.columns)
    np.testing.assert_allclose(features.to_numpy(), expected.to_numpy(), rtol=1e-6)
