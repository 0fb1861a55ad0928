"""A run that makes mistakes on purpose: each in its own models, none of its numbers among the run's own."""

import json

import pandas as pd
import pytest

from workflow.conftest import copy_project

MADE = ["transposed_axis", "whole_cohort_scaling", "look_ahead_interpolation"]
ONLY_FOR_MISTAKES = {"look_ahead_extract", "look_ahead_features", "audit_of_mistakes", "plot_mistakes"}


@pytest.fixture(scope="module")
def audited(project_dir, tmp_path_factory):
    project = copy_project(project_dir, tmp_path_factory.mktemp("audited") / "project")
    for key, value in (("attack.modes", ["ista"]), ("features.imputation", "linear"), ("audit.mistakes", MADE)):
        project.edit_config(key, value)
    project.snakemake()
    return project


def sidecar(project, model, fold):
    return json.loads((project.folder / f"results/small/models/{model}/seed_0/fold_{fold}/model.json").read_text())


def test_a_run_without_them_has_none_of_their_jobs(finished):
    stale = finished.stale_rules("--forceall")
    assert stale["train"] == 2
    assert not ONLY_FOR_MISTAKES & set(stale)


def test_each_mistake_is_a_model_of_its_own_beside_the_right_one_and_the_control(audited):
    models = {path.name for path in (audited.folder / "results/small/models").iterdir()}
    assert models == {
        "lstm", "lstmControl", "lstmWRONGTransposedAxis", "lstmWRONGWholeCohortScaling",
        "lstmWRONGLookAheadInterpolation",
    }  # fmt: skip
    table = pd.read_csv(audited.folder / "results/small/tables/audit_of_mistakes.csv")
    assert table["mistake"].unique().tolist() == ["right_run", "control", *MADE]
    assert sidecar(audited, "lstmWRONGTransposedAxis", 0)["architecture"].endswith(":TransposedLSTM")


def test_one_thing_differs_at_a_time(audited):
    """Only scaling by the whole cohort gives every fold the same bounds; looking ahead leaves them as they are."""
    bounds = {
        model: [sidecar(audited, model, fold)["preprocessing"]["high"] for fold in (0, 1)]
        for model in (
            "lstm",
            "lstmWRONGTransposedAxis",
            "lstmWRONGWholeCohortScaling",
            "lstmWRONGLookAheadInterpolation",
        )
    }
    assert bounds["lstm"][0] != bounds["lstm"][1]
    assert bounds["lstm"] == bounds["lstmWRONGTransposedAxis"] == bounds["lstmWRONGLookAheadInterpolation"]
    assert bounds["lstmWRONGWholeCohortScaling"][0] == bounds["lstmWRONGWholeCohortScaling"][1]


def test_recorded_values_stay_and_gaps_are_filled_from_beyond_the_window(audited):
    results = audited.folder / "results/small"
    keys = ["stay_id", "hour"]
    recorded = pd.read_parquet(results / "features/features.parquet").set_index(keys)
    ahead = pd.read_parquet(results / "mistakes/look_ahead/features.parquet").set_index(keys)
    pd.testing.assert_index_equal(ahead.index, recorded.index)
    pd.testing.assert_frame_equal(ahead.where(recorded.notna()), recorded)
    never = {name: frame.isna().groupby("stay_id").all() for name, frame in (("in", recorded), ("ever", ahead))}
    pd.testing.assert_frame_equal(ahead.isna().groupby("stay_id").any(), never["ever"])
    # Some variables of some stays are first recorded after the window.
    assert (never["in"] & ~never["ever"]).any(axis=None) and not (never["ever"] & ~never["in"]).any(axis=None)


def test_their_numbers_stand_in_their_own_section_alone(audited):
    results = audited.folder / "results/small"
    for table in (results / "tables").glob("*.csv"):
        assert ("WRONG" in table.read_text(encoding="utf-8")) == (table.name == "audit_of_mistakes.csv"), table
    page = (results / "report/index.html").read_text(encoding="utf-8")
    before, _, rest = page.partition('<section id="mistakes">')
    section, _, after = rest.partition("</section>")
    assert "WRONG" in section and "Wrong on purpose" in section
    assert "WRONG" not in before + after


def test_a_finished_run_has_nothing_to_do(audited):
    assert audited.stale_rules() == {}
