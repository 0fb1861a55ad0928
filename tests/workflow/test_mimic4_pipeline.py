"""MIMIC-IV through the workflow: written by the generator, read as the source, and rerun when its SQL changes."""

import yaml

from workflow.conftest import copy_project, merged

FEATURES = "features/features.parquet"


def features_of(project, name):
    target = f"results/{name}/{FEATURES}"
    project.snakemake(target)
    return (project.folder / target).read_bytes()


def test_both_shapes_and_the_release_itself_give_the_same_features(project_dir, tmp_path):
    project = copy_project(project_dir, tmp_path / "project")
    project.edit_config("run.name", "three")
    three = features_of(project, "three")

    project.edit_config("run.name", "four")
    project.edit_config("synthetic.shape", "mimic4")
    assert features_of(project, "four") == three
    assert (project.folder / "results/four/source/hosp/patients.csv.gz").is_file()
    target = f"results/four/{FEATURES}"
    assert project.stale_rules(target) == {}
    project.append("workflow/sql/mimic3/chartevents.sql", "-- edited\n")
    assert project.stale_rules(target) == {}
    project.append("workflow/sql/mimic4/chartevents.sql", "-- edited\n")
    assert project.stale_rules(target) == {"stage": 1, "extract": 1, "features": 1}
    project.append("workflow/sql/mimic4/candidates.sql", "-- edited\n")
    project.append("scripts/ehr_attack/synthetic/mimic4.py", "# edited\n")
    assert project.stale_rules(target) == {"synthetic": 1, "stage": 5, "extract": 1, "features": 1}

    preset = yaml.safe_load((project_dir / "workflow/presets/mimic4.yaml").read_text())
    config = merged(yaml.safe_load((project.folder / "config.yaml").read_text()), preset)
    (project.folder / "config.yaml").write_text(yaml.safe_dump(config))
    project.edit_config("source.path", "results/four/source")
    assert features_of(project, "mimic4") == three
