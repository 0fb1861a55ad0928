"""What is planted: the hours and variables that decide, and independence where nothing is planted."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from ehr_attack.errors import UserError
from ehr_attack.synthetic import PLANTED_WEIGHTS, generate, planted_hours
from ehr_attack.synthetic.cohort import draw_cohort
from ehr_attack.synthetic.severity import FIRST_HOUR, draw_course, draw_liability
from ehr_attack.synthetic.truth import WINDOW_HOURS

STAYS = 6_000
WINDOW = slice(-FIRST_HOUR, -FIRST_HOUR + WINDOW_HOURS)
EARLIEST, LATEST = slice(-FIRST_HOUR, -FIRST_HOUR + 12), slice(-FIRST_HOUR + 36, -FIRST_HOUR + 48)


@pytest.fixture(scope="module")
def course():
    return draw_course(np.random.default_rng(0), STAYS)


def liability(course, signal):
    return draw_liability(np.random.default_rng(1), course, signal)


def correlation(left, right):
    return np.corrcoef(left, right)[0, 1]


def test_hours_of_late_and_early_mirror_each_other():
    late, early = planted_hours("late"), planted_hours("early")
    assert late.shape == (48,)
    np.testing.assert_allclose(late.sum(), 1)
    np.testing.assert_allclose(late[::-1], early)
    assert (np.diff(late) > 0).all()
    assert late[-12:].sum() > 0.8
    np.testing.assert_allclose(late[-1] / late[-8], np.e)
    assert not planted_hours("none").any()


def test_an_unknown_signal_is_refused():
    with pytest.raises(UserError, match=r"synthetic\.signal: 'middle'"):
        planted_hours("middle")


def test_severity_and_deviations_are_standardised_at_every_hour(course):
    """Four standard errors of a standard deviation, over 85 hours and 20 variables."""
    error = 4.5 / np.sqrt(2 * STAYS)
    for path in (course.severity, *course.deviations.values()):
        assert np.abs(path.std(axis=0) - 1).max() < error


def test_severity_drifts(course):
    hours = course.severity[:, WINDOW]
    assert 0.2 < correlation(hours[:, 0], hours[:, -1]) < 0.4
    assert correlation(hours[:, 20], hours[:, 21]) > 0.9


@pytest.mark.parametrize("variable", sorted(PLANTED_WEIGHTS))
def test_each_variable_shows_severity_with_its_planted_weight(course, variable):
    measured = np.mean(
        [correlation(course.deviations[variable][:, hour], course.severity[:, hour]) for hour in range(0, 85, 6)]
    )
    assert measured == pytest.approx(PLANTED_WEIGHTS[variable], abs=0.03)


@pytest.mark.parametrize("signal", ["late", "early", "none"])
def test_liability_is_standard_normal_whatever_the_signal(course, signal):
    drawn = liability(course, signal)
    assert drawn.mean() == pytest.approx(0, abs=4 / np.sqrt(STAYS))
    assert drawn.std() == pytest.approx(1, abs=4 / np.sqrt(2 * STAYS))


@pytest.mark.parametrize(("signal", "deciding", "other"), [("late", LATEST, EARLIEST), ("early", EARLIEST, LATEST)])
def test_the_planted_hours_decide(course, signal, deciding, other):
    drawn = liability(course, signal)
    assert correlation(course.severity[:, deciding].mean(axis=1), drawn) > 0.8
    assert correlation(course.severity[:, other].mean(axis=1), drawn) < 0.5


def test_without_a_signal_severity_has_no_bearing(course):
    drawn = liability(course, "none")
    assert np.abs([correlation(hour, drawn) for hour in course.severity.T]).max() < 4.5 / np.sqrt(STAYS)


def test_an_admission_is_fatal_when_its_last_stay_is_above_the_threshold(course):
    drawn = liability(course, "late")
    members = draw_cohort(np.random.default_rng(2), drawn).members
    share = members.died.mean()
    assert 0.12 < share < 0.15
    last = drawn[members.last_stay]
    assert last[members.died].min() > last[~members.died].max()
    assert last[members.died].min() == pytest.approx(norm.isf(share), abs=0.1)


def test_memberships_agree_with_a_loop_over_stays(course):
    members = draw_cohort(np.random.default_rng(3), liability(course, "late")).members
    for admission in range(0, members.died.size, 97):
        own = [stay for stay in range(STAYS) if members.admission[stay] == admission]
        assert (members.first_stay[admission], members.last_stay[admission]) == (own[0], own[-1])
    for patient in range(0, int(members.patient[-1]), 97):
        own = [a for a in range(members.died.size) if members.patient[a] == patient]
        assert (members.first_admission[patient], members.last_admission[patient]) == (own[0], own[-1])
        assert not members.died[own[:-1]].any()


def test_deviations_lie_on_lines_between_the_hours(course):
    stay = np.array([3, 3, 3, 9, 9])
    hours = np.array([5.0, 5.25, 6.0, -1_000.0, 1_000.0])
    path = course.deviations["sbp"]
    at_five, at_six = path[3, 5 - FIRST_HOUR], path[3, 6 - FIRST_HOUR]
    expected = [at_five, 0.75 * at_five + 0.25 * at_six, at_six, path[9, 0], path[9, -1]]
    np.testing.assert_allclose(course.deviation("sbp", stay, hours), expected, rtol=1e-5)


# In the written tables: what can be measured of a stay, against its outcome.


def measured(folder):
    """A row a stay of 48 hours or more (median and number of the values of each item), and who died."""
    stays = pd.read_csv(folder / "ICUSTAYS.csv.gz", parse_dates=["INTIME", "OUTTIME"])
    admissions = pd.read_csv(
        folder / "ADMISSIONS.csv.gz",
        usecols=["HADM_ID", "DEATHTIME", "HOSPITAL_EXPIRE_FLAG"],
        parse_dates=["DEATHTIME"],
    )
    stays = stays.merge(admissions)
    end = stays[["OUTTIME", "DEATHTIME"]].min(axis=1)
    stays = stays[(end - stays["INTIME"]).dt.total_seconds() >= 48 * 3600]
    columns = []
    for name, key in (("CHARTEVENTS", "ICUSTAY_ID"), ("LABEVENTS", "SUBJECT_ID")):
        events = pd.read_csv(
            folder / f"{name}.csv.gz",
            usecols=[key, "ITEMID", "CHARTTIME", "VALUENUM"],
            parse_dates=["CHARTTIME"],
        )
        events = events.merge(stays[["ICUSTAY_ID", "SUBJECT_ID", "INTIME"]].drop_duplicates(key), on=key)
        hours = (events["CHARTTIME"] - events["INTIME"]).dt.total_seconds() / 3600
        by_item = events[hours.between(-24, 48, inclusive="left")].groupby(["ICUSTAY_ID", "ITEMID"])
        columns.append(by_item["VALUENUM"].median().unstack().add_suffix(" value"))
        columns.append(by_item["VALUENUM"].size().unstack().add_suffix(" rows"))
    columns.append(columns[-1].sum(axis=1).rename("all lab rows"))
    table = pd.concat(columns, axis=1).reindex(stays["ICUSTAY_ID"])
    counts = [column for column in table if str(column).endswith("rows")]
    return table.fillna(dict.fromkeys(counts, 0)), stays["HOSPITAL_EXPIRE_FLAG"].to_numpy() == 1


def rank_statistic(values, died):
    """Mann-Whitney's statistic as a standard normal deviate; positive: the dead have higher values."""
    present = ~np.isnan(values)
    ranks = pd.Series(values[present]).rank().to_numpy()
    dead = died[present]
    n, n_dead = dead.size, int(dead.sum())
    spread = ranks.std() / np.sqrt(1 - 1 / n) if n > 1 else 0.0
    if min(n_dead, n - n_dead) < 10 or spread == 0:
        return 0.0
    return (ranks[dead].mean() - ranks.mean()) / (spread * np.sqrt((1 - n_dead / n) / n_dead))


def statistics(tmp_path, signal):
    generate(tmp_path, 2_000, 3, signal)
    table, died = measured(tmp_path)
    return pd.Series({column: rank_statistic(table[column].to_numpy(float), died) for column in table})


def test_without_a_signal_nothing_measured_tells_who_died(tmp_path):
    found = statistics(tmp_path, "none")
    assert len(found) > 100
    assert found.abs().max() < norm.isf(0.005 / len(found))
    assert (found**2).mean() < 2


def test_with_a_signal_values_tell_who_died_and_charting_tells_a_little(tmp_path):
    found = statistics(tmp_path, "late")
    assert found["50813 value"] > 7  # lactate
    assert found["51006 value"] > 5  # urea nitrogen
    assert found["50882 value"] < -5  # bicarbonate
    bystanders = ["50983 value", "50931 value", "50960 value", "50818 value", "50893 value"]
    assert found[bystanders].abs().max() < 4
    assert found["all lab rows"] > 3
