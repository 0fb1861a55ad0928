"""Verdicts on made-up tables whose effects are known."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ehr_attack.decisions import fit_decisions
from ehr_attack.errors import UserError
from ehr_attack.evaluation import evaluate_predictions
from ehr_attack.published import published_scores
from ehr_attack.schemas.verdicts import CANNOT_TELL, NOT_SUPPORTED, SUPPORTED, VERDICTS
from ehr_attack.storage import read_frame, read_parquet
from ehr_attack.summaries.agreement import verdicts_table
from ehr_attack.variables import LAB, load_variables
from ehr_attack.verdicts.cell_means import read_cell_means
from ehr_attack.verdicts.performance import drawn_metrics, performance_questions, pooled_auroc
from ehr_attack.verdicts.rule import Interval
from ehr_attack.verdicts.small_changes import change_questions, read_attempts
from ehr_attack.verdicts.table import write_verdicts
from verdict_builder import (
    DIRECTIONS,
    KNOWN,
    N_HOURS,
    NAMES,
    write_map,
    write_metrics,
    write_outcomes,
    write_predictions,
)

RISING, EVEN = np.linspace(0.5, 1.5, N_HOURS), np.ones(N_HOURS)
PUBLISHED = {
    direction: published_scores("sun2018", direction, "clinical")[NAMES].to_numpy() for direction in DIRECTIONS
}
SKILL, NO_SKILL = (0.86, 0.82, 0.89), (0.53, 0.46, 0.60)


@pytest.fixture
def verdicts(tmp_path):
    """Write and read the table: `verdicts(hours=..., variables=..., null=..., auroc=..., n_stays=...)`."""

    def made(
        hours=RISING, variables=PUBLISHED, null=EVEN, auroc=SKILL, n_stays=40, flipped=(20, 20), profile="clinical",
        measured=None,
    ):  # fmt: skip
        sums = {direction: {"variable": variables[direction], "hour": hours} for direction in DIRECTIONS}
        own = write_map(tmp_path / "own", sums, n_stays=n_stays, measured=measured)
        files = {name: [path] for name, path in own.items()}
        nulls = {}
        if null is not None:
            of_null = {direction: {"variable": variables[direction], "hour": null} for direction in DIRECTIONS}
            written = write_map(tmp_path / "null", of_null, model="lstmNull", seed=1, measured=measured)
            files |= {f"null_{name}": [path] for name, path in written.items()}
            nulls = {"lstm": "lstmNull"}
        files["metrics"] = [write_metrics(tmp_path / "metrics.parquet", auroc)]
        counts = dict(zip(DIRECTIONS, flipped, strict=True))
        files["outcomes"] = [write_outcomes(tmp_path / f"outcomes_{fold}.parquet", fold, counts) for fold in (0, 1)]
        files["predictions"] = [write_predictions(tmp_path / f"predictions_{fold}.parquet", fold) for fold in (0, 1)]
        ids = [1000 * fold + 100 * number + stay for fold in (0, 1) for number in (0, 1) for stay in range(20)]
        stays = pd.DataFrame({"stay_id": ids, "subject_id": np.asarray(ids) + 7})
        stays.to_parquet(tmp_path / "stays.parquet")
        files["stays"] = [str(tmp_path / "stays.parquet")]
        out = tmp_path / "verdicts.parquet"
        write_verdicts(
            files, models=["lstm"], modes=["ista"], null_models=nulls, variables=KNOWN, profile=profile,
            window_hours=N_HOURS, resamples=100, out=str(out),
        )  # fmt: skip
        assert read_parquet(out).schema.equals(VERDICTS)
        return read_frame(out)

    return made


def of(table, claim, effect="", **labels):
    """The rows of a claim whose effect holds the words, and with these labels."""
    rows = table[(table["claim"] == claim) & table["effect"].str.contains(effect, regex=False)]
    for name, value in labels.items():
        rows = rows[rows[name] == value]
    assert len(rows)
    return rows


def words(rows):
    return set(rows["verdict"])


def test_every_claim_is_tested(verdicts):
    table = verdicts()
    assert set(table["claim"]) == {1, 2, 3, 4, 5}
    assert table["claim"].is_monotonic_increasing
    assert (table["low"] <= table["value"]).mean() > 0.9  # replicates lie around the value
    assert not table["reason"].str.contains("nan").any()
    assert table["reason"].str.startswith("In these data ").all()


def test_later_hours_beyond_the_null_are_supported(verdicts):
    rows = of(verdicts(), 2)
    assert words(rows) == {SUPPORTED}
    assert len(rows) == 2 * 2 * 2  # directions, bases, slope and share
    slope = of(rows, 2, "slope", direction="0_to_1", basis="all").iloc[0]
    assert slope["value"] == pytest.approx(100 * 10 / (N_HOURS - 1))  # 1 over 7 hours; the null's slope is 0
    assert slope["low"] < slope["value"] < slope["high"]
    share = of(rows, 2, "last quarter", direction="0_to_1", basis="all").iloc[0]
    assert share["value"] == pytest.approx(100 * RISING[6:].sum() / N_HOURS - 25)


def test_a_rise_that_the_null_has_too_is_no_preference(verdicts):
    rows = of(verdicts(null=RISING), 2)
    assert words(of(rows, 2, "last quarter")) == {NOT_SUPPORTED}  # within 5 % of S of the null: excluded
    assert rows["value"].abs().max() < 1e-9
    assert rows["reason"].str.contains("from where on it would matter").any()


def test_earlier_hours_speak_against_it(verdicts):
    assert words(of(verdicts(hours=RISING[::-1]), 2)) == {NOT_SUPPORTED}


def test_without_a_null_nothing_is_said_of_hours(verdicts):
    table = verdicts(null=None)
    rows = of(table, 2)
    assert words(rows) == {CANNOT_TELL}
    assert rows["reason"].str.contains("susceptibility.null_cohort", regex=False).all()
    assert SUPPORTED in words(of(table, 3))


def test_a_model_at_chance_tells_nothing(verdicts):
    table = verdicts(auroc=NO_SKILL)
    assert words(table) == {CANNOT_TELL}
    assert table["reason"].str.contains("0.53 (0.46 to 0.60), which does not exclude 0.5", regex=False).all()


def test_an_auroc_without_interval_tells_nothing(verdicts):
    assert words(verdicts(auroc=(0.9, np.nan, np.nan))) == {CANNOT_TELL}


def test_fewer_than_ten_stays_tell_nothing(verdicts):
    table = verdicts(n_stays=9)
    assert words(of(table, 2)) == words(of(table, 3)) == words(of(table, 4)) == {CANNOT_TELL}
    assert of(table, 4)["reason"].str.contains("10 stays of 10 patients").all()
    assert of(table, 3)[["value", "low", "high"]].isna().all(axis=None)  # it would be of single patients


def held_out_of(tmp_path, seeds):
    parts = [
        read_frame(write_predictions(tmp_path / f"p{seed}{fold}.parquet", fold, seed))
        for seed in seeds
        for fold in (0, 1)
    ]
    predictions = pd.concat(parts, ignore_index=True)
    stays = pd.DataFrame({"stay_id": predictions["stay_id"].unique()})
    return predictions, stays.assign(subject_id=stays["stay_id"] // 2)


def test_metrics_are_those_of_each_seed_and_their_mean(tmp_path):
    predictions, stays = held_out_of(tmp_path, (0, 1))
    held_out = predictions[predictions["split"] == "test"].merge(stays, on="stay_id")
    drawn = drawn_metrics(held_out, fit_decisions(predictions), 400)
    evaluated = evaluate_predictions(predictions, stays, 400)
    pooled = evaluated[evaluated["fold"].isna()]
    for metric in ("auroc", "f1", "precision", "recall"):
        rows = pooled[pooled["metric"] == metric]
        assert drawn[metric][0] == pytest.approx(rows["value"].mean())
        # Seeds and folds that are drawn too leave at least the spread over patients of two models together.
        low, high = np.percentile(drawn[metric][1:], [2.5, 97.5])
        assert low < rows["value"].mean() < high
        assert high - low > 0.6 * (rows["high"] - rows["low"]).mean()


def test_one_seed_drawn_twice_is_that_seed(tmp_path):
    """With two seeds of known metrics a draw is of the one, of the other, or their mean."""
    predictions, stays = held_out_of(tmp_path, (0,))
    held_out = predictions[predictions["split"] == "test"].merge(stays, on="stay_id")
    wrong = held_out.assign(seed=1, p_death=1 - held_out["label"])
    right = held_out.assign(p_death=held_out["label"])
    both = pd.concat([right, wrong], ignore_index=True)
    decisions = fit_decisions(predictions)
    drawn = drawn_metrics(both, pd.concat([decisions, decisions.assign(seed=1)]), 300)["auroc"]
    assert drawn[0] == 0.5
    assert set(np.unique(drawn[1:][~np.isnan(drawn[1:])])) == {0.0, 0.5, 1.0}


@pytest.mark.parametrize(
    ("shift", "verdict"), [(0.6, SUPPORTED), (0.0, NOT_SUPPORTED)], ids=["perfect", "as good as a coin"]
)
def test_published_performance(tmp_path, shift, verdict):
    predictions, stays = held_out_of(tmp_path, (0,))
    noise = np.random.default_rng(3).random(len(predictions)) * 0.3
    predictions["p_death"] = 0.1 + shift * predictions["label"] + noise
    questions = list(performance_questions(predictions, stays, 200))
    rows = pd.DataFrame([question.row("lstm", "") for question in questions])
    row = rows[rows["effect"] == "held-out AUROC"].iloc[0]
    assert row["verdict"] == verdict
    assert (row["published"], row["none"]) == (0.9094, 0.5)
    assert (row["n_stays"], row["n_patients"]) == (80, 40)
    assert len(rows) == 4


def test_seeds_are_pooled_by_their_widest_interval():
    rows = [
        {"fold": None, "metric": "auroc", "value": 0.8, "low": 0.7, "high": 0.9},
        {"fold": None, "metric": "auroc", "value": 0.6, "low": 0.5, "high": 0.95},
        {"fold": 0, "metric": "auroc", "value": 0.1, "low": 0.0, "high": 1.0},
    ]
    auroc = pooled_auroc(pd.DataFrame(rows))
    assert (auroc.value, auroc.low, auroc.high) == pytest.approx((0.7, 0.5, 0.95))


def test_the_published_scores_themselves_support_what_the_paper_says_of_them(verdicts):
    """S summed is 9.9 for 1 to 0 or so and 4.99 for 0 to 1; the ranks are the published ones."""
    table = verdicts()
    ratio = of(table, 3, "ratio", basis="all").iloc[0]
    assert ratio["value"] == pytest.approx(PUBLISHED["1_to_0"].sum() / PUBLISHED["0_to_1"].sum())
    assert table[table["claim"] > 1]["published"].isna().all()  # the paper's S is with the maximum
    top = of(table, 3, "three top", basis="all").iloc[0]
    by_hand = [100 * np.sort(PUBLISHED[direction])[-3:].sum() / PUBLISHED[direction].sum() for direction in DIRECTIONS]
    assert top["value"] == pytest.approx(by_hand[1] - by_hand[0])
    assert words(of(table, 3, "ratio")) == words(of(table, 3, "three top")) == {SUPPORTED}
    ranks = of(table, 3, "rank correlation")
    assert len(ranks) == 2 * 2 * 2
    assert words(ranks) == {SUPPORTED}
    assert ranks["value"].to_numpy() == pytest.approx(1.0)


def test_ranks_the_other_way_round_do_not_agree(verdicts):
    turned = {direction: scores.max() + 0.1 - scores for direction, scores in PUBLISHED.items()}
    ranks = of(verdicts(variables=turned), 3, "rank correlation")
    assert words(ranks) == {NOT_SUPPORTED}
    assert ranks["value"].to_numpy() == pytest.approx(-1.0)


def test_directions_the_other_way_round(verdicts):
    swapped = {"0_to_1": PUBLISHED["1_to_0"], "1_to_0": PUBLISHED["0_to_1"]}
    assert words(of(verdicts(variables=swapped), 3, "ratio")) == {NOT_SUPPORTED}


def test_ranks_compare_the_same_analytes_only(verdicts):
    """With the variables of the 2023 reproduction: no INR in the paper; potassium and calcium are other analytes."""
    assert {row.split(", ")[-1] for row in of(verdicts(), 3, "rank correlation")["effect"]} == {"19 variables"}
    ranks = of(verdicts(profile="reproduction2023"), 3, "rank correlation")
    assert {row.split(", ")[-1] for row in ranks["effect"]} == {"17 variables"}


def test_laboratory_against_vital_signs_by_hand(verdicts):
    is_lab = np.array([variable.group == LAB for variable in load_variables()])
    twice = dict.fromkeys(DIRECTIONS, np.where(is_lab, 2.0, 1.0))
    rows = of(verdicts(variables=twice), 4)
    assert words(rows) == {SUPPORTED}
    assert of(rows, 4, "ratio")["value"].to_numpy() == pytest.approx(2.0)
    assert of(rows, 4, "share")["value"].to_numpy() == pytest.approx(100 * (26 / 32 - 13 / 19))
    assert words(of(verdicts(variables=dict.fromkeys(DIRECTIONS, np.ones(19))), 4, "share")) == {NOT_SUPPORTED}


IS_LAB = np.array([variable.group == LAB for variable in KNOWN])
EVERY_CELL = np.ones((N_HOURS, len(NAMES)), dtype=bool)


def test_how_much_is_recorded_moves_no_place(verdicts):
    """S_q95 is the same in every cell; laboratory values, and the first hours, are recorded half as often."""
    measured = EVERY_CELL.copy()
    measured[::2, IS_LAB] = False
    measured[:2, ::2] = False
    rows = verdicts(variables=dict.fromkeys(DIRECTIONS, np.ones(19)), hours=EVEN, measured=measured)
    rows = rows[rows["basis"] == "observed"]
    assert of(rows, 4, "share")["value"].to_numpy() == pytest.approx(0.0)
    assert of(rows, 4, "ratio")["value"].to_numpy() == pytest.approx(1.0)
    assert of(rows, 3, "ratio")["value"].to_numpy() == pytest.approx(1.0)
    assert of(rows, 3, "three top")["value"].to_numpy() == pytest.approx(0.0)
    assert of(rows, 2)["value"].to_numpy() == pytest.approx(0.0)
    assert SUPPORTED not in words(rows)


@pytest.mark.parametrize("recorded", ["few labs", "no lab", "no early hour"])
def test_where_too_little_is_recorded_places_are_not_compared(verdicts, recorded):
    measured = EVERY_CELL.copy()
    if recorded == "no early hour":
        measured[:4] = False
    else:
        measured[0 if recorded == "no lab" else 3 :, IS_LAB] = False
    table = verdicts(measured=measured)
    rows = table[table["basis"] == "observed"]
    if recorded == "no early hour":
        hours = of(rows, 2)
        assert words(hours) == {CANNOT_TELL}
        assert hours["reason"].str.contains("too few cells have enough records: 2 of 6 earlier hours").all()
        assert SUPPORTED in words(of(rows, 4))  # each variable is measured in half of its cells
    else:
        assert words(of(rows, 4)) == words(of(rows, 3)) == {CANNOT_TELL}
        told = of(rows, 4)["reason"].str.contains("too few cells have enough records: 0 of 13 laboratory variables")
        assert told.all() and of(rows, 4)[["value", "low", "high"]].isna().all(axis=None)
        assert of(rows, 3, "ratio")["reason"].str.contains("6 of 19 variables").all()
    assert words(of(table, 4, basis="all")) == words(of(table, 2, basis="all")) == {SUPPORTED}


def test_means_are_sums_over_the_number_of_measured_cells(tmp_path):
    measured = EVERY_CELL.copy()
    measured[4:, 0], measured[3:, 1] = False, False
    sums = {direction: {"variable": np.full(19, 8.0), "hour": np.full(N_HOURS, 19.0)} for direction in DIRECTIONS}
    means = read_cell_means(*write_map(tmp_path, sums, measured=measured, spread=0.0).values())
    found = means["1_to_0", "observed", "variable"]
    assert np.isnan(found.both[:, 1]).all()  # 3 of 8 hours are too few, 4 are enough
    assert np.delete(found.both, 1, axis=1) == pytest.approx(np.ones((61, 18)))
    assert means["1_to_0", "observed", "hour"].both == pytest.approx(np.ones((61, N_HOURS)))
    assert means["1_to_0", "all", "variable"].both == pytest.approx(np.ones((61, 19)))


def test_one_group_without_any_s_is_no_support(verdicts):
    """Vital signs that no twentieth of the attacks changes: the laboratory's share is 100 % whatever happens."""
    none = dict.fromkeys(DIRECTIONS, np.where(IS_LAB, PUBLISHED["0_to_1"], 0.0))
    rows = of(verdicts(variables=none), 4)
    assert of(rows, 4, "share")["value"].to_numpy() == pytest.approx(100 * 6 / 19)
    assert words(rows) == {CANNOT_TELL}
    assert rows["reason"].str.contains("S_q95 is 0 in all 6 vital signs", regex=False).all()


def test_few_names_above_zero_are_no_place(verdicts):
    few = dict.fromkeys(DIRECTIONS, np.zeros(19))
    for values in few.values():
        values[[0, 1, 6, 7]] = 1.0
    late = np.zeros(N_HOURS)
    late[-4:] = 1.0
    table = verdicts(variables=few, hours=late)
    rows = table[table["claim"].isin([2, 3, 4])]
    assert words(rows) == {CANNOT_TELL}
    assert rows["reason"].str.contains("S_q95 is above 0 in 4 of ", regex=False).all()
    late[-5:] = 1.0
    assert words(of(verdicts(variables=few, hours=late), 2)) == {SUPPORTED}


def test_a_metric_that_may_reach_the_goal_is_open(tmp_path):
    """What is 0.05 below the published counts as reached: an interval that holds this mark leaves it open."""
    predictions, stays = held_out_of(tmp_path, (0,))
    question = next(performance_questions(predictions, stays, 20))
    goal = question.published
    for (low, high), verdict in {
        (goal - 0.06, goal - 0.01): CANNOT_TELL,
        (goal - 0.20, goal - 0.051): NOT_SUPPORTED,
        (goal - 0.04, goal + 0.04): SUPPORTED,
    }.items():
        row = replace(question, interval=Interval((low + high) / 2, low, high)).row("lstm", "")
        assert row["verdict"] == verdict, row["reason"]


def test_small_changes_by_hand(verdicts):
    """Of 40 stays a direction all, or 24, are flipped, by 4 of 8 x 19 cells and at most 0.1."""
    table = verdicts(flipped=(20, 12))
    every, some = (of(table, 5, "flipped", direction=direction).iloc[0] for direction in DIRECTIONS)
    assert (every["value"], every["low"], every["high"], every["verdict"]) == (
        100.0,
        pytest.approx(100 * 0.025 ** (1 / 40)),  # Clopper & Pearson, 40 of 40
        100.0,
        SUPPORTED,
    )
    assert (some["value"], some["n_stays"], some["verdict"]) == (60.0, 40, NOT_SUPPORTED)
    assert some["low"] < 60 < some["high"] < 90
    share = of(table, 5, "share of the cells", direction="1_to_0").iloc[0]
    assert (share["value"], share["n_stays"]) == (pytest.approx(100 * 4 / (8 * 19)), 24)
    assert share["verdict"] == SUPPORTED
    assert of(table, 5, "largest change", direction="1_to_0").iloc[0]["value"] == pytest.approx(0.1)


@pytest.mark.parametrize(("flipped", "told"), [(0, True), (1, False), (4, False), (5, True)])
def test_one_to_nine_flipped_patients_are_not_told(verdicts, flipped, told):
    """In each of two folds; of 40 stays a direction. That nearly every one is flipped is still not supported."""
    table = verdicts(flipped=(flipped, 20))
    row = of(table, 5, "flipped", direction="0_to_1").iloc[0]
    for_people = of(verdicts_table(table), 5, direction="0_to_1")
    assert (for_people["value"].notna().any() or for_people["reason"].str.contains("%").any()) == told
    assert row["verdict"] == NOT_SUPPORTED
    assert row[["value", "low", "high"]].notna().all() == told
    assert (f"flips {5 * flipped} %" in row["reason"]) == told
    assert ("withheld" in row["reason"]) != told


def test_ten_of_ten_flipped_are_not_yet_nearly_every_one(tmp_path):
    flips = {"0_to_1": 5, "1_to_0": 5}
    files = [write_outcomes(tmp_path / f"{fold}.parquet", fold, flips, stays=5) for fold in (0, 1)]
    subjects = pd.Series(np.arange(2000), index=np.arange(2000))
    question = next(change_questions(read_attempts(files, subjects, 8 * 19), 50))
    row = question.row("lstm", "ista")
    assert (row["value"], row["high"], row["verdict"]) == (100.0, 100.0, CANNOT_TELL)
    assert row["low"] == pytest.approx(69.15, abs=0.01)


def test_a_missing_table_is_told(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        write_verdicts(
            {"stays": [str(tmp_path / "stays.parquet")]}, models=[], modes=[], null_models={}, variables=KNOWN,
            profile="clinical", window_hours=8, resamples=20, out=str(tmp_path / "verdicts.parquet"),
        )  # fmt: skip
