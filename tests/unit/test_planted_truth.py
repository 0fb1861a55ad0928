"""A planted truth is found again by the whole chain; without any signal no verdict is given."""

import shutil

import numpy as np
import pytest

from ehr_attack.errors import UserError
from ehr_attack.null_cohort.shuffling import shuffle_cohort
from ehr_attack.schemas.susceptibility import ALL_CELLS, HOUR_AXIS, SELECTED
from ehr_attack.schemas.verdicts import CANNOT_TELL, NOT_SUPPORTED
from ehr_attack.storage import read_frame
from ehr_attack.synthetic import PLANTED_WEIGHTS, generate
from ehr_attack.synthetic.severity import FIRST_HOUR, draw_course, draw_liability
from ehr_attack.synthetic.truth import Planted
from ehr_attack.verdicts.cell_means import read_cell_means
from ehr_attack.verdicts.question import interval_of
from ehr_attack.verdicts.statistics import last_quarter, part_shares
from ehr_attack.verdicts.table import write_verdicts
from small_run import NAMES, VARIABLES, WINDOW, SmallRun

STAYS = 6_000
LATE, EARLY = Planted("creatinine", 30, 47), Planted("creatinine", 0, 17)
FASTER = {"lambdas": {"count": 8, "low": 0.0005, "high": 0.015}, "steps": 60, "max_stays": 60}
DENSE = {"count": 4, "low": 0.00002, "high": 0.001}


def correlation(left, right):
    return np.corrcoef(left, right)[0, 1]


# What is planted.


@pytest.fixture(scope="module", params=[LATE, EARLY], ids=["late", "early"])
def drawn(request):
    planted = request.param
    course = draw_course(np.random.default_rng(0), STAYS, planted)
    return planted, course, draw_liability(np.random.default_rng(1), course, "late", planted)


def test_the_planted_variable_decides_in_its_hours_and_there_only(drawn):
    planted, course, liability = drawn
    by_hour = [correlation(course.deviations["creatinine"][:, hour - FIRST_HOUR], liability) for hour in range(48)]
    inside = np.isin(np.arange(48), np.arange(planted.first_hour, planted.last_hour + 1))
    assert np.min(np.array(by_hour)[inside]) > 0.8
    # The hour after the last one is still its end: values charted in it lie between the two.
    outside = ~inside & (np.arange(48) != planted.last_hour + 1)
    assert np.abs(np.array(by_hour)[outside]).max() < 4.5 / np.sqrt(STAYS)


def test_no_other_variable_tells(drawn):
    _, course, liability = drawn
    others = [correlation(hour, liability) for name in PLANTED_WEIGHTS if name != "creatinine"
              for hour in course.deviations[name].T]  # fmt: skip
    assert np.abs(others).max() < 5 / np.sqrt(STAYS)
    assert np.abs([correlation(hour, liability) for hour in course.severity.T]).max() < 4.5 / np.sqrt(STAYS)


def test_a_planted_course_is_standardised_and_so_is_the_liability(drawn):
    _, course, liability = drawn
    error = 4.5 / np.sqrt(2 * STAYS)
    assert np.abs(course.deviations["creatinine"].std(axis=0) - 1).max() < error
    assert liability.std() == pytest.approx(1, abs=error)
    assert liability.mean() == pytest.approx(0, abs=4 / np.sqrt(STAYS))


def test_all_else_is_drawn_as_without_a_planted_truth():
    with_planted, without = (draw_course(np.random.default_rng(0), 50, planted) for planted in (LATE, None))
    np.testing.assert_array_equal(with_planted.severity, without.severity)
    for name in PLANTED_WEIGHTS:
        same = np.array_equal(with_planted.deviations[name], without.deviations[name])
        assert same == (name != "creatinine")


@pytest.mark.parametrize(
    ("planted", "message"),
    [
        ({"variable": "acid", "hours": [0, 5]}, r"synthetic\.planted\.variable: 'acid'.*creatinine"),
        ({"variable": "ph", "hours": [5, 48]}, r"synthetic\.planted\.hours: \[5, 48\]; expected .* 0 to 47"),
        ({"variable": "ph", "hours": [5, 4]}, r"synthetic\.planted\.hours"),
    ],
)
def test_what_cannot_be_planted_is_refused(planted, message, tmp_path):
    with pytest.raises(UserError, match=message):
        generate(tmp_path, 20, 1, "late", planted=planted)


# What is found.


def planted_run(folder, planted, model, **settings):
    run = SmallRun.of(
        folder, stays=1200, planted={"variable": planted.variable, "hours": [planted.first_hour, planted.last_hour]}
    )
    run.train(model, **settings)
    run.attack(model, "ista", **FASTER)
    return run, run.analyse(model, "ista")


@pytest.mark.parametrize(
    ("planted", "model"),
    # An LSTM trained on 500 stays does not remember for 30 hours; a transformer sees all hours alike.
    [(LATE, "lstm"), (EARLY, "transformer")],
    ids=["late", "early"],
)
def test_susceptibility_finds_the_planted_variable_and_hours(planted, model, tmp_path):
    run, tables = planted_run(tmp_path, planted, model, epochs=20)
    metrics = read_frame(run.folder / "models" / model / "metrics.parquet")
    pooled = metrics[metrics["fold"].isna() & (metrics["metric"] == "auroc")].iloc[0]
    assert pooled["low"] > 0.7
    means = read_cell_means(*(tables / f"{name}.parquet" for name in ("variables", "hours", "replicates")))
    ranks = read_frame(tables / "variables.parquet")
    for direction in ("0_to_1", "1_to_0"):
        rows = ranks[(ranks["policy"] == SELECTED) & (ranks["basis"] == ALL_CELLS) & (ranks["direction"] == direction)]
        found = rows.set_index("variable").loc[planted.variable]
        assert found["rank"] == 1 and found["rank_high"] <= 2
        by_hour = means[direction, ALL_CELLS, HOUR_AXIS].both
        inside = np.isin(np.arange(WINDOW), np.arange(planted.first_hour, planted.last_hour + 1))
        difference = interval_of(by_hour[:, inside].mean(axis=1) - by_hour[:, ~inside].mean(axis=1))
        assert difference.low > 0


def verdicts_of(run, null):
    """VERDICTS of the LSTM of `run` under `ista`, against the one of `null`."""
    files = {
        f"{prefix}{name}": [str(of.map("lstm", "ista") / f"{name}.parquet")]
        for prefix, of in (("", run), ("null_", null))
        for name in ("variables", "hours", "replicates")
    }
    files["metrics"] = [str(run.folder / "models" / "lstm" / "metrics.parquet")]
    files["predictions"] = [str(run.checkpoint("lstm", 0, fold) / "predictions.parquet") for fold in range(2)]
    files["outcomes"] = [str(run.attacks("lstm", "ista", 0, fold) / "outcomes.parquet") for fold in range(2)]
    files["stays"] = [str(run.folder / "stays.parquet")]
    out = run.folder / "verdicts.parquet"
    write_verdicts(
        files, models=["lstm"], modes=["ista"], null_models={"lstm": "lstmNull"}, variables=VARIABLES,
        profile="clinical", window_hours=WINDOW, resamples=50, out=str(out),
    )  # fmt: skip
    return read_frame(out)


def shuffled(source, folder):
    """A run of the same stays with their hours in random order."""
    folder.mkdir()
    shuffle_cohort(
        stays=source / "stays.parquet", measurements=source / "measurements.parquet", variable_names=NAMES,
        carry_in_hours=0, window_hours=WINDOW, out_measurements=folder / "measurements.parquet",
        out_features=folder / "features.parquet",
    )  # fmt: skip
    for name in ("stays", "folds"):
        shutil.copy(source / f"{name}.parquet", folder / f"{name}.parquet")
    return SmallRun(folder, folds=2)


def test_where_hours_are_exchangeable_a_model_with_skill_gets_no_preference_of_late_hours(tmp_path):
    """The recurrent network prefers late hours without a reason; so does its null, and the verdict is not misled."""
    (tmp_path / "first").mkdir()
    SmallRun.of(tmp_path / "first", stays=1000, planted={"variable": "creatinine", "hours": [0, WINDOW - 1]})
    run = shuffled(tmp_path / "first", tmp_path / "run")
    null = shuffled(tmp_path / "run", tmp_path / "null")
    for part in (run, null):
        part.train("lstm", epochs=15)
        # The change must reach many hours: small lambdas, and larger steps.
        part.attack("lstm", "ista", **FASTER | {"lambdas": DENSE, "steps": 150, "rate": 0.1})
        part.analyse("lstm", "ista")
    verdicts = verdicts_of(run, null)
    hours = verdicts[(verdicts["claim"] == 2) & (verdicts["basis"] == ALL_CELLS)]
    assert len(hours) == 4 and hours[["value", "low", "high"]].notna().all(axis=None)
    assert set(hours["verdict"]) <= {CANNOT_TELL, NOT_SUPPORTED}
    assert not hours["reason"].str.contains("chance|null_cohort").any()
    # Without the null, the last quarter would seem to be preferred.
    tables = (run.map("lstm", "ista") / f"{name}.parquet" for name in ("variables", "hours", "replicates"))
    by_hour = read_cell_means(*tables)["0_to_1", ALL_CELLS, HOUR_AXIS]
    assert interval_of(part_shares(by_hour.both, last_quarter(WINDOW))).low > 25


def test_without_a_signal_no_claim_gets_a_verdict(tmp_path):
    run = SmallRun.of(tmp_path, stays=600, signal="none")
    run.train("lstm", epochs=5)
    run.attack("lstm", "ista", **FASTER)
    run.analyse("lstm", "ista")
    # As its own null: even with one, nothing is to be told.
    verdicts = verdicts_of(run, run)
    assert set(verdicts["claim"]) == {1, 2, 3, 4, 5}
    assert set(verdicts["verdict"]) == {CANNOT_TELL}
    assert verdicts["reason"].str.contains("does not exclude 0.5", regex=False).all()
