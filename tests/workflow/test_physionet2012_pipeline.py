"""The PhysioNet 2012 source through the whole workflow: real records, cross-validated and by set."""

import tarfile
from pathlib import Path

import pandas as pd
import pytest
import yaml

from physionet2012_builder import write_set
from workflow.conftest import Project, copy_project, merged

STAYS_A_SET = 150


@pytest.fixture(scope="module")
def two_sets(shared_dir, tmp_path_factory) -> Path:
    """The first 300 records of set A as two sets: set a an archive, set b a folder."""
    folder = tmp_path_factory.mktemp("sets")
    source = shared_dir / "data" / "physionet2012"
    outcomes = pd.read_csv(source / "Outcomes-a.txt")
    texts: dict[int, str] = {}
    with tarfile.open(source / "set-a.tar.gz") as archive:
        for member in archive:
            if member.isfile() and len(texts) < 2 * STAYS_A_SET:
                texts[int(Path(member.name).stem)] = archive.extractfile(member).read().decode()
    ids = sorted(texts)
    for name, part in (("a", ids[:STAYS_A_SET]), ("b", ids[STAYS_A_SET:])):
        write_set(folder, name, {record_id: texts[record_id] for record_id in part}, archive=name == "a")
        outcomes[outcomes["RecordID"].isin(part)].to_csv(folder / f"Outcomes-{name}.txt", index=False)
    return folder


@pytest.fixture(scope="module")
def run(project_dir, two_sets, tmp_path_factory) -> Project:
    """A finished small run that trains on one set and tests on the other, with every variable of the source."""
    project = copy_project(project_dir, tmp_path_factory.mktemp("physionet2012") / "project")
    overlay = {
        "source": {"kind": "physionet2012", "path": str(two_sets), "profile": "all"},
        "folds": {"method": "by_set"},
        # Enough training and steps that some attacks succeed.
        "training": {"epochs": 6, "lr": 0.01},
        "attack": {"steps": 60, "rate": 1.0, "lambdas": {"count": 2, "low": 0.0001, "high": 0.0005}},
        "report": {"patient_examples": True},
    }
    config = merged(yaml.safe_load((project.folder / "config.yaml").read_text()), overlay)
    (project.folder / "config.yaml").write_text(yaml.safe_dump(config))
    project.snakemake()
    return project


def results(project: Project) -> Path:
    return project.folder / "results" / "small"


def test_each_fold_is_tested_on_a_set_that_it_was_not_trained_on(run):
    stays = pd.read_parquet(results(run) / "extract" / "stays.parquet").set_index("stay_id")["source_set"]
    for fold, held_out in enumerate(["a", "b"]):
        predictions = pd.read_parquet(results(run) / f"models/lstm/seed_0/fold_{fold}/predictions.parquet")
        sets = predictions.groupby(predictions["split"] == "test")["stay_id"].agg(lambda ids: set(stays[ids]))
        assert sets[True] == {held_out} and held_out not in sets[False]
        outcomes = pd.read_parquet(results(run) / f"attacks/lstm/ista/seed_0/fold_{fold}/outcomes.parquet")
        assert set(stays[outcomes["stay_id"]]) == {held_out}


def test_every_variable_of_the_source_is_a_feature_and_age_is_never_changed(run):
    features = pd.read_parquet(results(run) / "features" / "features.parquet")
    assert features.shape[1] == 2 + 35
    ista, sun2018 = (
        pd.concat(map(pd.read_parquet, results(run).glob(f"attacks/lstm/{mode}/*/*/perturbations.parquet")))
        for mode in ("ista", "sun2018")
    )
    assert len(ista) > 0 and "age" not in set(ista["variable"])
    assert "age" in set(sun2018["variable"])  # the published attack knows no rule


def test_the_report_carries_the_notice_of_the_licence(run):
    page = (results(run) / "report" / "index.html").read_text()
    assert "Attribution License" in page and "10.13026/C25W25" in page


def test_a_finished_run_has_nothing_to_do_and_a_new_value_is_noticed(run, two_sets):
    for path in two_sets.rglob("*"):
        path.touch()
    assert run.stale_rules() == {}
    record = next((two_sets / "set-b").iterdir())
    before = record.read_text()
    record.write_text(before + "47:00,HR,80\n")
    stale = run.stale_rules()
    record.write_text(before)
    assert stale["stage"] == 1 and {"extract", "features", "train", "attack", "report"} <= set(stale)


def test_one_set_to_hold_out_is_one_fold(run):
    run.edit_config("folds.held_out_sets", ["b"])
    stale = run.stale_rules()
    assert (stale["folds"], stale["train"]) == (1, 1) and "extract" not in stale
    run.edit_config("folds.held_out_sets", None)


def test_a_set_that_is_not_there_is_named(run):
    run.edit_config("folds.held_out_sets", ["c"])
    done = run.snakemake("--dry-run", check=False)
    run.edit_config("folds.held_out_sets", None)
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert "config key folds.held_out_sets: there is no set 'c' in source.path; found a, b." in done.stderr
