"""Snakemake's reasons, as this version of it writes them, become words."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from snakemake.persistence import ParamsChange as SnakemakesChange

from ehr_attack.config_reference import config_keys
from ehr_attack.explaining.causes import as_data, as_text, explain
from ehr_attack.explaining.differences import config_key, differences
from ehr_attack.explaining.dry_run import PlannedJob
from ehr_attack.explaining.reasons import ParamsChange, read_reason

KEYS = config_keys()
OLD, NEW = "a" * 64, "b" * 64


def written(before: list, now: list) -> str:
    """A change of params as Snakemake itself writes it."""
    change = SnakemakesChange(only_old={repr(value) for value in before}, only_new={repr(value) for value in now})
    return f"Params have changed since last execution: {change}"


def told(before: list, now: list, known: dict | None = None, table: str = "") -> list[str]:
    """What is said of a change of params."""
    change = read_reason(written(before, now)).params
    assert change is not None
    return differences(change, known or {}, KEYS, table)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(VALUES, min_size=1, max_size=3, unique_by=repr), st.lists(VALUES, max_size=3, unique_by=repr))
def test_params_are_read_as_snakemake_writes_them(before, now):
    """Whatever the values, words of Snakemake's own in them included."""
    read = read_reason(written(before, now)).params
    assert read is not None
    assert sorted(map(repr, read.before)) == sorted(map(repr, before))
    assert sorted(map(repr, read.now)) == sorted(map(repr, now))


@pytest.mark.parametrize(
    "text", ["a now: b", "x before: 1 now: 2 ", "; Missing output files: c", "<nothing exclusive>"]
)
def test_words_of_snakemake_inside_a_value_are_no_words_of_snakemake(text):
    change = read_reason(written([{"version": text}], [{"version": "2"}])).params
    assert change == ParamsChange([{"version": text}], [{"version": "2"}])


@pytest.mark.parametrize(
    ("reason", "follows", "words"),
    [
        ("Missing output files: a/b.json", False, ("a/b.json is missing",)),
        ("Missing output files: c, a, b", False, ("a and 2 more are missing",)),
        ("Updated input files: t.csv.gz", False, ("t.csv.gz has changed",)),
        ("Incomplete output files: a", False, ("interrupted: a is incomplete",)),
        ("Missing output files: a; Input files updated by another job: b, c", True, ("a is missing",)),
        ("Set of input files has changed since last execution", False, ("it reads other files than before",)),
        (
            "Software environment definition has changed since last execution",
            False,
            ("its conda environment has changed",),
        ),
        ("Forced execution", False, ("it is forced",)),
        ("Of a later version; that nobody knows", False, ("Of a later version; that nobody knows",)),
        ("Params have changed since last execution: <an object>", False, None),
    ],
)
def test_a_reason_in_words(reason, follows, words):
    read = read_reason(reason)
    assert (read.follows, read.words, read.params) == (follows, words or (reason,), None)


def test_two_reasons_at_once():
    inputs = "Set of input files has changed since last execution"
    environment = "Software environment definition has changed since last execution"
    read = read_reason(f"{inputs}; {written([1], [2])}; {environment}")
    assert read.words == ("it reads other files than before", "its conda environment has changed")
    assert read.params == ParamsChange([1], [2])


def test_a_key_inside_a_block_is_named_as_in_the_config():
    before, now = {"steps": 100, "rate": 0.02}, {"steps": 120, "rate": 0.02}
    assert told([before], [now], {"attack": before}) == ["attack.steps was 100, is 120"]
    assert told([before], [now]) == ["attack.steps was 100, is 120"]  # without a record, by the key alone
    lr = {"lr": None, "tuning": {"lr": [0.1, 0.2]}}, {"lr": 0.002, "tuning": {"lr": None}}
    assert told([lr[0]], [lr[1]], {"train": lr[0]}) == [
        "training.lr was null, is 0.002",
        "training.tuning.lr was [0.1, 0.2], is null",
    ]


def test_swapped_values_are_told_as_what_they_are():
    before, now = {"epochs": 2, "batch_size": 64}, {"epochs": 64, "batch_size": 2}
    assert told([before], [now]) == ["training.epochs was 2, is 64", "training.batch_size was 64, is 2"]


def test_code_packages_and_tables():
    before = {"scripts/a.py": OLD, "scripts/b.py": OLD, "scripts/c.py": OLD, "package torch": "2.12.0"}
    now = {"scripts/a.py": NEW, "scripts/b.py": OLD, "scripts/d.py": OLD, "package torch": "2.13.0"}
    assert told([before], [now]) == [
        "scripts/a.py was edited",
        "scripts/c.py is used no more",
        "package torch was 2.12.0, is 2.13.0",
        "scripts/d.py is used now",
    ]
    assert (
        told([before], [now | {"package torch": "2.12.0", "package scipy": "1.0"}])[-1] == "package scipy is used now"
    )
    assert told([f"99:{OLD}"], [f"99:{NEW}"], table="labevents") == ["source table labevents has changed"]
    digests = {"source": {"labevents": OLD}, "code": {"train": {"scripts/a.py": OLD}}}
    changed = {"source": {"labevents": NEW}, "code": {"train": {"scripts/a.py": NEW}}}
    assert told([digests], [changed]) == ["source table labevents has changed", "scripts/a.py was edited"]


def test_params_of_several_kinds_do_not_get_mixed_up():
    code, settings = {"scripts/a.py": OLD}, {"count": 5, "seed": 0}
    assert set(
        told([code, settings, 48], [24, settings | {"seed": 3}, {"scripts/a.py": NEW}], {"folds": settings})
    ) == {
        "scripts/a.py was edited",
        "folds.seed was 0, is 3",
        "a setting was 48, is 24",
    }
    assert told([48], [24], {"window_hours": 48}) == ["features.window_hours was 48, is 24"]


def test_a_param_that_was_not_there():
    assert told([], [{"weight": 0.5}]) == ["a setting is new: {weight: 0.5}"]
    assert told(["x"], []) == ["a setting is gone: it was x"]


@pytest.mark.parametrize(
    ("path", "key"),
    [
        (("config", "attack", "lambdas", "low"), "attack.lambdas.low"),
        (("variables", "profile"), "source.profile"),
        (("window", "carry_in_hours"), "features.carry_in_hours"),
        (("synthetic", "seed"), "synthetic.seed"),
        (("folds", "seed"), "folds.seed"),
        (("train", "tuning", "trials"), "training.tuning.trials"),
        (("resamples",), "susceptibility.bootstrap"),
        (("maps", "modes"), "attack.modes"),
        (("something", "else"), "something.else"),
    ],
)
def test_where_a_param_comes_from(path, key):
    assert config_key(path, KEYS) == key


def test_jobs_are_put_together_roots_first():
    stale = written([{"steps": 1}], [{"steps": 2}])
    follows = "Input files updated by another job: x.parquet"
    jobs = [
        PlannedJob("attack", stale, None, {"fold": "0"}),
        PlannedJob("report", follows, None, {}),
        PlannedJob("attack", stale, None, {"fold": "1"}),
        PlannedJob("merge_attack", follows, None, {}),
        PlannedJob("merge_attack", follows, None, {}),
    ]
    explanation = explain(jobs, Path(), KEYS)
    assert as_data(explanation) == {
        "stale": [{"rule": "attack", "jobs": 2, "causes": ["attack.steps was 1, is 2"]}],
        "follow": {"report": 1, "merge_attack": 2},
    }
    text = as_text(explanation)
    assert text.startswith(
        "attack (2 jobs): attack.steps was 1, is 2\n\nMade anew since what they read is: report (1), "
    )
    assert text.endswith("5 jobs in all; `snakemake` runs them.")
    assert as_text(explain([], Path(), KEYS)) == "Nothing is stale."
