"""The written tables: shape, reproducibility, referential integrity, and all that makes real data hard."""

import gzip
import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pandas as pd
import pytest

from ehr_attack.errors import UserError
from ehr_attack.synthetic import PLANTED_WEIGHTS, generate, generator
from ehr_attack.synthetic.charting import LAB_COPIES
from ehr_attack.variables import load_variables

STAYS = 1_100  # three blocks, the last a short one

# Written out by hand from the header lines of MIMIC-III v1.4.
HEADERS = {
    "ADMISSIONS": "ROW_ID SUBJECT_ID HADM_ID ADMITTIME DISCHTIME DEATHTIME ADMISSION_TYPE ADMISSION_LOCATION "
    "DISCHARGE_LOCATION INSURANCE LANGUAGE RELIGION MARITAL_STATUS ETHNICITY EDREGTIME EDOUTTIME DIAGNOSIS "
    "HOSPITAL_EXPIRE_FLAG HAS_CHARTEVENTS_DATA",
    "PATIENTS": "ROW_ID SUBJECT_ID GENDER DOB DOD DOD_HOSP DOD_SSN EXPIRE_FLAG",
    "ICUSTAYS": "ROW_ID SUBJECT_ID HADM_ID ICUSTAY_ID DBSOURCE FIRST_CAREUNIT LAST_CAREUNIT FIRST_WARDID "
    "LAST_WARDID INTIME OUTTIME LOS",
    "CHARTEVENTS": "ROW_ID SUBJECT_ID HADM_ID ICUSTAY_ID ITEMID CHARTTIME STORETIME CGID VALUE VALUENUM "
    "VALUEUOM WARNING ERROR RESULTSTATUS STOPPED",
    "LABEVENTS": "ROW_ID SUBJECT_ID HADM_ID ITEMID CHARTTIME VALUE VALUENUM VALUEUOM FLAG",
    "D_ITEMS": "ROW_ID ITEMID LABEL ABBREVIATION DBSOURCE LINKSTO CATEGORY UNITNAME PARAM_TYPE CONCEPTID",
    "D_LABITEMS": "ROW_ID ITEMID LABEL FLUID CATEGORY LOINC_CODE",
}
TIMES = ("ADMITTIME", "DISCHTIME", "DEATHTIME", "DOB", "DOD", "INTIME", "OUTTIME", "CHARTTIME", "STORETIME")


def files(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("synthetic")
    generate(out, STAYS, 7, "late")
    return out


@pytest.fixture(scope="module")
def tables(folder):
    frames = {name: pd.read_csv(folder / f"{name}.csv.gz", dtype={"VALUE": str}) for name in HEADERS}
    for frame in frames.values():
        for column in frame.columns.intersection(TIMES):
            frame[column] = pd.to_datetime(frame[column], format="%Y-%m-%d %H:%M:%S").astype("datetime64[s]")
    return frames


@pytest.fixture(scope="module")
def stays(tables):
    """One row a stay with its admission and patient."""
    admissions = tables["ADMISSIONS"].drop(columns=["ROW_ID"])
    patients = tables["PATIENTS"].drop(columns=["ROW_ID"])
    return tables["ICUSTAYS"].merge(admissions, on=["SUBJECT_ID", "HADM_ID"]).merge(patients, on="SUBJECT_ID")


@pytest.fixture(scope="module")
def chart(tables, stays):
    """Chart events with `hours` since the ICU admission of their stay and its charting system."""
    chart = tables["CHARTEVENTS"].merge(stays[["ICUSTAY_ID", "INTIME", "OUTTIME", "DBSOURCE"]], how="left")
    chart["hours"] = (chart["CHARTTIME"] - chart["INTIME"]).dt.total_seconds() / 3600
    return chart


def hours_between(start, end):
    return (end - start).dt.total_seconds() / 3600


# Files


def test_the_same_arguments_give_the_same_bytes(folder, tmp_path):
    generate(tmp_path / "again", STAYS, 7, "late")
    assert files(folder) == files(tmp_path / "again")


@pytest.mark.parametrize(("seed", "signal"), [(8, "late"), (7, "early")])
def test_another_seed_or_signal_gives_other_records(folder, tmp_path, seed, signal):
    generate(tmp_path, STAYS, seed, signal)
    assert files(folder)["ICUSTAYS.csv.gz"] != files(tmp_path)["ICUSTAYS.csv.gz"]


def test_a_larger_cohort_begins_with_the_whole_blocks_of_a_smaller_one(folder, tmp_path):
    generate(tmp_path, generator.BLOCK_STAYS, 7, "late")
    for name in ("ICUSTAYS", "CHARTEVENTS", "LABEVENTS"):
        small, large = (gzip.decompress((out / f"{name}.csv.gz").read_bytes()) for out in (tmp_path, folder))
        assert len(small) < len(large)
        assert large.startswith(small)


def test_blocks_do_not_repeat_each_other(tables):
    length = tables["ICUSTAYS"]["LOS"].to_numpy()
    size = generator.BLOCK_STAYS
    assert (length[:size] == length[size : 2 * size]).mean() < 0.01


def test_the_bytes_do_not_depend_on_the_process(tmp_path):
    """A fresh interpreter with another hash seed, and with its threads limited, writes the same files."""
    script = "import sys, pathlib; from ehr_attack.synthetic import generate as g; "
    script += "g(pathlib.Path(sys.argv[1]), 60, 5, 'early')"
    settings = {"PYTHONHASHSEED": "123", "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "other")], check=True, env=os.environ | settings)
    generate(tmp_path / "here", 60, 5, "early")
    assert files(tmp_path / "here") == files(tmp_path / "other")


def test_memory_does_not_grow_with_the_number_of_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(generator, "BLOCK_STAYS", 100)

    def peak(stays):
        tracemalloc.start()
        generate(tmp_path / str(stays), stays, 1, "late")
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    peak(100)  # what is allocated once
    assert peak(600) < 1.3 * peak(100)


def test_the_gzip_header_holds_neither_name_nor_time(folder):
    for name, content in files(folder).items():
        flags, modified = content[3], content[4:8]
        assert (flags, modified) == (0, b"\0\0\0\0"), name


def test_nothing_else_is_left_in_the_folder(folder):
    assert sorted(files(folder)) == sorted(f"{name}.csv.gz" for name in HEADERS)


def test_a_failure_leaves_no_table(tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("disk full")

    monkeypatch.setattr(generator, "draw_charting", fail)
    with pytest.raises(RuntimeError, match="disk full"):
        generate(tmp_path / "out", 20, 0, "late")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("stays", "seed", "signal", "message"),
    [
        (19, 0, "late", r"synthetic\.stays: 19 is too few; expected 20 or more"),
        (20, -1, "late", r"synthetic\.seed: -1 is negative"),
        (20, 0, "Late", r"synthetic\.signal: 'Late' is unknown; expected one of late, early, none"),
    ],
)
def test_impossible_arguments_are_refused_before_anything_is_written(tmp_path, stays, seed, signal, message):
    with pytest.raises(UserError, match=message):
        generate(tmp_path / "out", stays, seed, signal)
    assert not (tmp_path / "out").exists()


def test_the_smallest_cohort_can_be_generated(tmp_path):
    generate(tmp_path, 20, 0, "early")
    assert len(pd.read_csv(tmp_path / "ICUSTAYS.csv.gz")) == 20


def test_the_headers_are_those_of_mimic3(folder):
    for name, columns in HEADERS.items():
        with gzip.open(folder / f"{name}.csv.gz", "rt") as lines:
            assert lines.readline().rstrip("\n") == ",".join(f'"{column}"' for column in columns.split()), name


def test_the_headers_are_those_of_the_real_demo(folder, shared_dir):
    for name in HEADERS:
        real = shared_dir / "data" / "mimiciii-demo-1.4" / f"{name}.csv.gz"
        with gzip.open(real, "rt") as expected, gzip.open(folder / f"{name}.csv.gz", "rt") as lines:
            assert lines.readline().rstrip() == expected.readline().rstrip(), name


# Identifiers


def test_identifiers_are_unique_and_complete(tables):
    assert len(tables["ICUSTAYS"]) == STAYS
    for name, column in {"PATIENTS": "SUBJECT_ID", "ADMISSIONS": "HADM_ID", "ICUSTAYS": "ICUSTAY_ID"}.items():
        assert tables[name][column].is_unique, name
    for name, frame in tables.items():
        assert (frame["ROW_ID"] == np.arange(1, len(frame) + 1)).all(), name


def test_every_reference_leads_somewhere(tables):
    admissions = set(zip(tables["ADMISSIONS"]["HADM_ID"], tables["ADMISSIONS"]["SUBJECT_ID"], strict=True))
    stays = set(zip(tables["ICUSTAYS"]["ICUSTAY_ID"], tables["ICUSTAYS"]["HADM_ID"], strict=True))
    chart, labs = tables["CHARTEVENTS"], tables["LABEVENTS"]
    assert set(tables["ADMISSIONS"]["SUBJECT_ID"]) == set(tables["PATIENTS"]["SUBJECT_ID"])
    assert set(tables["ICUSTAYS"]["HADM_ID"]) == set(tables["ADMISSIONS"]["HADM_ID"])
    for events in (tables["ICUSTAYS"], chart, labs):
        linked = events.dropna(subset="HADM_ID")
        assert set(zip(linked["HADM_ID"], linked["SUBJECT_ID"], strict=True)) <= admissions
    linked = chart.dropna(subset="ICUSTAY_ID")
    assert set(zip(linked["ICUSTAY_ID"], linked["HADM_ID"], strict=True)) <= stays
    assert set(labs["SUBJECT_ID"]) <= set(tables["PATIENTS"]["SUBJECT_ID"])


def test_every_charted_item_is_in_its_dictionary(tables):
    assert set(tables["CHARTEVENTS"]["ITEMID"]) == set(tables["D_ITEMS"]["ITEMID"])
    assert set(tables["LABEVENTS"]["ITEMID"]) == set(tables["D_LABITEMS"]["ITEMID"])


def test_item_ids_belong_to_the_charting_system_of_the_patient(tables, stays):
    chart = tables["CHARTEVENTS"].merge(tables["D_ITEMS"][["ITEMID", "DBSOURCE"]])
    system = stays.groupby("SUBJECT_ID")["DBSOURCE"].first()
    assert (chart["DBSOURCE"] == chart["SUBJECT_ID"].map(system)).all()


@pytest.mark.parametrize("profile", ["clinical", "reproduction2023"])
@pytest.mark.parametrize("system", ["mimic3_carevue", "mimic3_metavision"])
def test_every_item_of_every_variable_is_charted(tables, profile, system):
    charted = set(tables["CHARTEVENTS"]["ITEMID"]) | set(tables["LABEVENTS"]["ITEMID"])
    for variable in load_variables(profile):
        assert {item.item_id for item in variable.items[system]} <= charted, variable.name


def test_the_planted_weights_name_every_variable():
    names = {variable.name for profile in ("clinical", "reproduction2023") for variable in load_variables(profile)}
    assert set(PLANTED_WEIGHTS) == names


# Who and when


def test_mortality_and_exclusions_are_those_of_a_usable_cohort(stays):
    age = (stays["INTIME"] - stays["DOB"]).dt.days / 365.2425
    ordered = (stays["DISCHTIME"] >= stays["ADMITTIME"]) & ~(stays["DEATHTIME"] < stays["ADMITTIME"])
    whole = (hours_between(stays["INTIME"], stays["OUTTIME"]) >= 48) & ~(
        hours_between(stays["INTIME"], stays["DEATHTIME"]) < 48
    )
    kept = stays[(age >= 18) & ordered & whole]
    assert 0.83 < len(kept) / len(stays) < 0.94
    # 11 %, give or take three standard errors of a thousand stays.
    assert 0.08 < kept["HOSPITAL_EXPIRE_FLAG"].mean() < 0.14


def test_patients_have_several_admissions_and_admissions_several_stays(stays):
    assert (stays.groupby("SUBJECT_ID")["HADM_ID"].nunique() > 1).sum() > 50
    assert (stays.groupby("HADM_ID")["ICUSTAY_ID"].nunique() > 1).sum() > 10


def test_no_stay_follows_another_before_it_ended_and_nobody_returns_from_death(stays):
    in_time = stays.sort_values(["SUBJECT_ID", "INTIME"])
    same = in_time["SUBJECT_ID"].eq(in_time["SUBJECT_ID"].shift(-1))
    following = in_time["INTIME"].shift(-1)
    assert (following[same] > in_time["OUTTIME"][same].fillna(in_time["INTIME"][same])).all()
    another = same & in_time["HADM_ID"].ne(in_time["HADM_ID"].shift(-1))
    assert in_time.loc[another, "HOSPITAL_EXPIRE_FLAG"].eq(0).all()


def test_both_charting_systems_have_about_half_of_the_patients(stays):
    share = stays.groupby("SUBJECT_ID")["DBSOURCE"].first().eq("carevue").mean()
    assert set(stays["DBSOURCE"]) == {"carevue", "metavision"}
    assert 0.43 < share < 0.57
    assert stays.groupby("SUBJECT_ID")["DBSOURCE"].nunique().max() == 1


def test_some_are_minors_and_the_oldest_are_born_three_centuries_ago(stays):
    first = stays.groupby("SUBJECT_ID")[["ADMITTIME", "DOB"]].min()
    years = (first["ADMITTIME"] - first["DOB"]).dt.days / 365.2425
    assert (years < 18).sum() >= 3
    oldest = years[years > 89]
    assert 0.02 < len(oldest) / len(years) < 0.10
    assert (oldest.round() == 300).all()


def test_some_admissions_violate_the_order_of_time(stays):
    assert (stays["DISCHTIME"] < stays["ADMITTIME"]).any()
    dead_first = stays["DEATHTIME"] < stays["ADMITTIME"]
    donor = stays["DIAGNOSIS"] == "ORGAN DONOR"
    assert donor.any()
    assert dead_first.any()
    assert (dead_first | (stays["DISCHTIME"] < stays["ADMITTIME"])).mean() < 0.03
    assert stays.loc[donor | dead_first, "HOSPITAL_EXPIRE_FLAG"].eq(1).all()


def test_death_is_dated_for_exactly_those_who_died(tables):
    admissions = tables["ADMISSIONS"]
    died = admissions["HOSPITAL_EXPIRE_FLAG"] == 1
    assert (admissions["DEATHTIME"].notna() == died).all()
    assert (admissions["DISCHARGE_LOCATION"].eq("DEAD/EXPIRED") == died).all()
    in_hospital = set(tables["PATIENTS"].dropna(subset="DOD_HOSP")["SUBJECT_ID"])
    assert in_hospital == set(admissions.loc[died, "SUBJECT_ID"])


def test_some_stays_are_short_and_some_deaths_early(stays):
    length = hours_between(stays["INTIME"], stays["OUTTIME"])
    assert 0.05 < (length < 48).mean() < 0.15
    assert (stays["OUTTIME"].isna() == stays["LOS"].isna()).all()
    early = hours_between(stays["INTIME"], stays["DEATHTIME"]).between(0, 48, inclusive="left")
    assert early.sum() >= 5


# Vital signs


def test_charting_is_about_hourly_but_irregular(chart):
    pulse = chart[chart["ITEMID"].isin([211, 220045]) & chart["hours"].between(0, 48, inclusive="left")]
    per_stay = pulse.groupby("ICUSTAY_ID")["hours"]
    hours_covered = per_stay.agg(lambda hours: hours.astype(int).nunique())
    assert 38 < hours_covered.median() < 47
    assert per_stay.agg(lambda hours: hours.sort_values().diff().max()).median() > 1.5
    on_the_hour = pulse["CHARTTIME"].dt.minute.eq(0).mean()
    assert 0.5 < on_the_hour < 0.9


def test_charting_goes_on_after_the_window_and_ends_with_the_stay(chart):
    assert chart["hours"].max() > 58
    assert (chart["CHARTTIME"] < chart["OUTTIME"]).where(chart["OUTTIME"].notna(), True).mean() > 0.99
    ended = chart.merge(chart.groupby("ICUSTAY_ID")["hours"].max().rename("last"), on="ICUSTAY_ID")
    assert ended["last"].min() < 47


def test_nothing_is_charted_after_death(chart, stays):
    dead = chart.merge(stays[["ICUSTAY_ID", "ADMITTIME", "DEATHTIME"]].dropna())
    dead = dead[dead["DEATHTIME"] >= dead["ADMITTIME"]]
    assert len(dead) > 0
    assert (dead["CHARTTIME"] <= dead["DEATHTIME"] + pd.Timedelta(minutes=1)).all()


def test_pressures_are_taken_at_several_sites_within_an_hour(chart):
    sites = chart[chart["ITEMID"].isin([220050, 220179])].assign(hour=lambda rows: rows["hours"] // 1)
    assert (sites.groupby(["ICUSTAY_ID", "hour"])["ITEMID"].nunique() == 2).any()


def test_systolic_is_above_diastolic(chart):
    clean = chart[(chart["ERROR"] != 1) & chart["VALUENUM"].between(1, 300)]
    pair = ["ICUSTAY_ID", "CHARTTIME"]
    upper = clean[clean["ITEMID"] == 220179].set_index(pair)["VALUENUM"]
    lower = clean[clean["ITEMID"] == 220180].set_index(pair)["VALUENUM"]
    both = pd.concat([upper[~upper.index.duplicated()], lower[~lower.index.duplicated()]], axis=1).dropna()
    assert len(both) > 10_000
    assert (both.iloc[:, 0] > both.iloc[:, 1]).all()


def test_temperatures_come_on_both_scales_and_carevue_copies_them(chart):
    median = chart[chart["ERROR"] != 1].groupby("ITEMID")["VALUENUM"].median()
    assert median[[676, 677, 223762]].between(36, 38).all()
    assert median[[678, 679, 223761]].between(97, 100).all()
    # Two rounds in one minute are rare, but then nothing says which copy belongs to which reading.
    rounds = ["ICUSTAY_ID", "CHARTTIME"]
    read, copied = (chart[chart["ITEMID"] == item].drop_duplicates(rounds, keep=False) for item in (678, 677))
    copies = copied.merge(read, on=rounds, suffixes=("", "_f"))
    copies = copies[copies["VALUENUM_f"].between(80, 110) & copies["VALUENUM"].between(30, 45)]
    assert len(copies) > 1_000
    assert ((copies["VALUENUM_f"] - 32) / 1.8 - copies["VALUENUM"]).abs().max() < 0.11


def test_errors_are_struck_out_in_metavision_and_unmarked_in_carevue(chart):
    carevue = chart["DBSOURCE"] == "carevue"
    assert chart.loc[carevue, ["ERROR", "WARNING"]].isna().all(axis=None)
    modern = chart[chart["DBSOURCE"] == "metavision"]
    assert set(modern["ERROR"]) == {0, 1}
    assert 0.001 < modern["ERROR"].mean() < 0.01
    assert set(modern["WARNING"]) == {0, 1}
    pulse = modern[modern["ITEMID"] == 220045]
    right = pulse[pulse["ERROR"] == 0].set_index(["ICUSTAY_ID", "CHARTTIME"])["VALUENUM"]
    wrong = pulse[pulse["ERROR"] == 1].set_index(["ICUSTAY_ID", "CHARTTIME"])["VALUENUM"]
    both = pd.concat([right[~right.index.duplicated()], wrong[~wrong.index.duplicated()]], axis=1).dropna()
    assert (both.iloc[:, 0] != both.iloc[:, 1]).all()


def test_absurd_values_occur_in_both_directions(chart):
    systolic = chart[chart["ITEMID"].isin([51, 455, 220050, 220179]) & (chart["ERROR"] != 1)]["VALUENUM"]
    assert (systolic > 5_000).any()
    assert (systolic == 0).any()
    assert 0 < (~systolic.between(1, 400)).mean() < 0.002


def test_look_alikes_are_charted(chart):
    median = chart.groupby("ITEMID")["VALUENUM"].median()
    assert median[[5820, 226253]].between(80, 92).all()
    assert median[[619, 224688]].between(10, 20).all()
    skin = chart[chart["ITEMID"] == 224027]
    assert skin["VALUENUM"].isna().all()
    assert set(skin["VALUE"]) == {"Warm", "Cool", "Cold", "Hot"}


def test_some_stays_have_no_chart_events(tables, stays):
    without = stays[~stays["ICUSTAY_ID"].isin(tables["CHARTEVENTS"]["ICUSTAY_ID"])]
    assert 1 <= len(without) < 0.02 * STAYS
    assert (tables["ADMISSIONS"]["HAS_CHARTEVENTS_DATA"] == 0).any()


def test_before_the_transfer_no_stay_is_named(tables):
    unnamed = tables["CHARTEVENTS"][tables["CHARTEVENTS"]["ICUSTAY_ID"].isna()]
    assert 0 < len(unnamed) < 0.01 * len(tables["CHARTEVENTS"])


# Laboratory


@pytest.fixture(scope="module")
def lab(tables, stays):
    """Laboratory events with `hours` since the ICU admission, of patients with a single stay."""
    single = stays.drop_duplicates("SUBJECT_ID", keep=False)[["SUBJECT_ID", "ICUSTAY_ID", "INTIME", "ADMITTIME"]]
    lab = tables["LABEVENTS"].merge(single, on="SUBJECT_ID")
    lab["hours"] = (lab["CHARTTIME"] - lab["INTIME"]).dt.total_seconds() / 3600
    return lab


def test_labs_are_drawn_a_few_times_a_day_some_before_the_icu(lab):
    sodium = lab[lab["ITEMID"] == 50983]
    assert 2 < sodium[sodium["hours"].between(0, 48)].groupby("ICUSTAY_ID").size().mean() / 2 < 3
    window = lab[lab["hours"].between(-24, 48)]
    assert 0.2 < (window["hours"] < 0).mean() < 0.4
    assert lab["hours"].min() >= -24.1
    assert lab["hours"].max() > 58


def test_labs_end_with_the_stay(lab, stays):
    ended = lab.merge(stays[["ICUSTAY_ID", "OUTTIME"]].dropna(), on="ICUSTAY_ID")
    assert (ended["CHARTTIME"] <= ended["OUTTIME"]).all()


def test_a_fifth_of_the_labs_names_no_admission(tables, lab):
    assert 0.17 < tables["LABEVENTS"]["HADM_ID"].isna().mean() < 0.24
    assert 0.05 < lab.loc[lab["hours"] >= 0, "HADM_ID"].isna().mean() < 0.15
    assert lab.loc[lab["CHARTTIME"] < lab["ADMITTIME"], "HADM_ID"].isna().all()
    by_sample = lab[lab["ITEMID"].isin([50983, 50971])].groupby(["ICUSTAY_ID", "CHARTTIME"])["HADM_ID"]
    assert by_sample.agg(lambda ids: ids.isna().nunique()).max() == 1


@pytest.mark.parametrize("item", [50813, 50818, 50862, 50808, 50822])
def test_some_stays_never_get_some_labs(lab, item):
    measured = lab.loc[(lab["ITEMID"] == item) & (lab["hours"] >= 0), "ICUSTAY_ID"].nunique()
    assert 0.1 < 1 - measured / lab["ICUSTAY_ID"].nunique() < 0.6


def test_censored_results_are_text_without_a_number(tables):
    labs = tables["LABEVENTS"]
    censored = labs[labs["VALUE"].str.startswith("<")]
    assert len(censored) > 100
    assert censored["VALUENUM"].isna().all()
    assert "<5" in set(censored["VALUE"])


def test_text_and_number_agree(tables):
    for name in ("CHARTEVENTS", "LABEVENTS"):
        numeric = tables[name].dropna(subset="VALUENUM")
        assert (pd.to_numeric(numeric["VALUE"]) == numeric["VALUENUM"]).all()
        assert not numeric["VALUE"].str.startswith("-0").any()


def test_absurd_labs_occur(tables):
    creatinine = tables["LABEVENTS"].query("ITEMID == 50912")["VALUENUM"]
    assert (creatinine > 66).any()


def test_urine_looks_like_blood_by_label_but_not_by_fluid(tables):
    items = tables["D_LABITEMS"]
    for label in ("Glucose", "pH"):
        assert set(items.loc[items["LABEL"] == label, "FLUID"]) == {"Blood", "Urine"}
    urine = tables["LABEVENTS"].query("ITEMID == 51478")
    assert set(urine.loc[urine["VALUENUM"].isna(), "VALUE"]) == {"NEG", "TR"}
    assert urine["VALUENUM"].notna().any()


def test_nurses_copy_labs_an_hour_late(chart, lab):
    original, (carevue, metavision) = 50912, LAB_COPIES[50912]
    copies = chart[chart["ITEMID"].isin([carevue, metavision])]
    originals = lab[(lab["ITEMID"] == original)][["ICUSTAY_ID", "CHARTTIME", "VALUENUM"]]
    originals = originals.assign(CHARTTIME=originals["CHARTTIME"] + pd.Timedelta(hours=1))
    of_single_stays = copies[copies["ICUSTAY_ID"].isin(lab["ICUSTAY_ID"])]
    matched = of_single_stays.merge(originals, on=["ICUSTAY_ID", "CHARTTIME", "VALUENUM"])
    assert len(of_single_stays) > 1_000
    assert len(matched) == len(of_single_stays)
