"""The rerun matrix: what each edit makes stale, and nothing else. A finished run is edited, then dry-run."""

import os
import time

import pytest

PLOTS = {"plot_cohort", "plot_model", "plot_attack", "plot_patients", "plot_agreement"}
REPORT = {"tables", "report"}
AGREEMENT = {"stability", "plot_agreement"}
AFTER_SUSCEPTIBILITY = {"plot_attack", "verdicts", *AGREEMENT, *REPORT}
AFTER_MERGE = {"susceptibility", "plot_patients", "transfer", *AFTER_SUSCEPTIBILITY}
AFTER_ATTACK = {"merge_attack", *AFTER_MERGE}
AFTER_TRAIN = {"evaluate", "plot_model", "attack", *AFTER_ATTACK}
AFTER_FOLDS = {"train", *AFTER_TRAIN}
AFTER_EXTRACT = {"features", "folds", "plot_cohort", *AFTER_FOLDS}
AFTER_STAGE = {"audit", "extract", *AFTER_EXTRACT}

CONFIG_EDITS = {
    "synthetic.seed": (7, {"synthetic", "stage", *AFTER_STAGE}),
    "source.profile": ("reproduction2023", {"stage", "describe_run", *AFTER_STAGE}),
    "source.acknowledged": (["fluid:51478"], {"audit", *REPORT}),
    "source.full_release": (True, {"audit", *REPORT}),
    "source.memory_mb": (700, {"report"}),
    "cohort.min_icu_hours": (50, {"extract", *AFTER_EXTRACT}),
    "features.carry_in_hours": (6, {"extract", "describe_run", *AFTER_EXTRACT}),
    "features.imputation": ("linear", {"train", "describe_run", *AFTER_TRAIN}),
    "folds.seed": (3, {"folds", *AFTER_FOLDS}),
    "training.lr": (0.002, {"train", *AFTER_TRAIN}),
    "training.patience": (1, {"train", *AFTER_TRAIN}),
    "training.tuning.trials": (3, {"report"}),
    "training.tune": (True, {"tune", "plot_tuning", "train", *AFTER_TRAIN}),
    "attack.steps": (7, {"attack", "describe_run", *AFTER_ATTACK}),
    "attack.kappa": (0.02, {"attack", "describe_run", *AFTER_ATTACK}),
    "attack.path": ("autograd", {"attack", *AFTER_ATTACK}),
    "attack.prune": (True, {"attack", *AFTER_ATTACK}),
    "attack.overrides": ({"ista": {"steps": 7}}, {"attack", *AFTER_ATTACK}),
    "attack.levels": (4, {"describe_run", "report"}),
    "attack.lambdas": ({"count": 3, "low": 0.0005, "high": 0.015}, {"attack", *AFTER_ATTACK}),
    "susceptibility.weight": (0.4, {"merge_attack", *AFTER_MERGE}),
    "susceptibility.bootstrap": (21, {"evaluate", "plot_model", "susceptibility", "transfer", *AFTER_SUSCEPTIBILITY}),
    "susceptibility.null_cohort": (
        "first",
        {"null_cohort", "train", "attack", "merge_attack", "susceptibility", "plot_attack", "verdicts", *REPORT},
    ),
    "audit.look_ahead_hours": (6, {"report"}),
    "plots.dpi": (41, {*PLOTS, "report"}),
    "plots.style": ("talk", {*PLOTS, "report"}),
}

CODE_EDITS = {
    "scripts/ehr_attack/susceptibility/measures.py": {"susceptibility", *AFTER_SUSCEPTIBILITY},
    "scripts/ehr_attack/verdicts/time_preference.py": {"verdicts", *REPORT},
    "scripts/ehr_attack/stability.py": {*AGREEMENT, *REPORT},
    "scripts/ehr_attack/transfer.py": {"transfer", "plot_agreement", *REPORT},
    "scripts/ehr_attack/null_cohort/shuffling.py": set(),
    "workflow/sql/common/shuffled_measurements.sql": set(),
    "scripts/ehr_attack/screening/engine.py": set(),
    "scripts/ehr_attack/attacks/engine.py": {"attack", *AFTER_ATTACK},
    "scripts/ehr_attack/attacks/ista.py": {"attack", *AFTER_ATTACK},
    "scripts/ehr_attack/attacks/gradients/fused.py": {"attack", *AFTER_ATTACK},
    "scripts/ehr_attack/data/fused_lstm.cpp": {"attack", *AFTER_ATTACK},
    "scripts/ehr_attack/data/relations.csv": {"attack", *AFTER_ATTACK},
    "scripts/ehr_attack/attacks/sigma_zero.py": set(),
    "scripts/ehr_attack/models/lstm.py": {"train", *AFTER_TRAIN},
    "scripts/ehr_attack/evaluation.py": {"evaluate", "plot_model", "verdicts", *REPORT},
    "scripts/ehr_attack/calibration.py": {"evaluate", "plot_model", "verdicts", *REPORT},
    "scripts/ehr_attack/subgroups.py": {"evaluate", "plot_model", "verdicts", *REPORT},
    "scripts/ehr_attack/mistakes/look_ahead.py": set(),
    "scripts/ehr_attack/mistakes/transposed.py": set(),
    "scripts/ehr_attack/figures/subgroups.py": {"plot_model", "report"},
    "scripts/ehr_attack/data/sun2018_protocol.csv": {*REPORT},
    "scripts/ehr_attack/synthetic/severity.py": {"synthetic", "stage", *AFTER_STAGE},
    "scripts/train.py": {"train", *AFTER_TRAIN},
    "scripts/ehr_attack/fitting.py": {"train", *AFTER_TRAIN},
    "scripts/ehr_attack/tuning.py": set(),
    "scripts/ehr_attack/figures/tuning.py": set(),
    "scripts/ehr_attack/report.py": {"report"},
    "scripts/ehr_attack/figures/models.py": {"plot_model", "report"},
    "workflow/sql/mimic/labevents.sql": {"stage", *AFTER_STAGE},
    "workflow/sql/mimic/d_items.sql": {"stage", "audit", *REPORT},
    "workflow/sql/mimic/d_labitems.sql": {"stage", "audit", *REPORT},
    "workflow/sql/mimic3/candidates.sql": {"extract", *AFTER_EXTRACT},
    "workflow/sql/mimic/audit.sql": {"audit", *REPORT},
    "workflow/sql/mimic/integrity.sql": {"audit", *REPORT},
    "workflow/sql/common/item_audit.sql": {"audit", *REPORT},
    "workflow/sql/mimic3/integrity_births.sql": {"audit", *REPORT},
    "workflow/sql/mimic4/candidates.sql": set(),
    "workflow/sql/physionet2012/audit.sql": set(),
    "workflow/sql/physionet2012/integrity.sql": set(),
    "scripts/ehr_attack/data/item_checks.csv": {"audit", *REPORT},
    "scripts/ehr_attack/data/items.csv": {"audit", *REPORT},
    "scripts/ehr_attack/data/units.csv": {"audit", *REPORT},
    "scripts/ehr_attack/data/published_rows.csv": {"audit", *REPORT},
    "scripts/ehr_attack/audit.py": {"audit", *REPORT},
    "scripts/ehr_attack/integrity.py": {"audit", *REPORT},
    "scripts/ehr_attack/figures/flow.py": {"plot_cohort", "report"},
    "workflow/sql/mimic/placed.sql": {"extract", *AFTER_EXTRACT},
    "workflow/sql/physionet2012/records.sql": set(),
    "scripts/ehr_attack/sources/physionet2012_staging.py": set(),
    "scripts/ehr_attack/sources/postgresql_staging.py": set(),
    "scripts/ehr_attack/sources/mimic3_staging.py": {"stage", *AFTER_STAGE},
    "scripts/ehr_attack/sources/mimic_staging.py": {"stage", *AFTER_STAGE},
    "scripts/ehr_attack/sources/csv_table.py": {"stage", *AFTER_STAGE},
    "workflow/sql/common/features.sql": {"features", *AFTER_FOLDS},
}


def test_a_finished_run_has_nothing_to_do_and_says_so_quickly(finished):
    start = time.monotonic()
    assert finished.stale_rules() == {}
    assert time.monotonic() - start < 30  # a guard against imports of torch at parse time, not a benchmark


@pytest.mark.parametrize("key", CONFIG_EDITS)
def test_an_edit_of_config_reruns_its_stage_and_later_ones(project, key):
    value, expected = CONFIG_EDITS[key]
    project.edit_config(key, value)
    assert set(project.stale_rules()) == expected


@pytest.mark.parametrize("file", CODE_EDITS)
def test_an_edit_of_code_reruns_what_uses_it(project, file):
    comment = {".sql": "-- edited\n", ".csv": "\n", ".cpp": "// edited\n"}.get(file[-4:], "# edited\n")
    project.append(file, comment)
    assert set(project.stale_rules()) == CODE_EDITS[file]


@pytest.mark.parametrize("table", ["labevents", "d_items"])
def test_an_sql_file_of_one_table_restages_that_table_only(project, table):
    project.append(f"workflow/sql/mimic/{table}.sql", "-- edited\n")
    assert project.stale_rules()["stage"] == 1


def test_an_attack_mode_is_rerun_alone(project):
    project.append("scripts/ehr_attack/attacks/ista.py", "# edited\n")
    assert project.stale_rules()["attack"] == 2  # one of two modes, two folds


def test_swapped_values_are_noticed(project):
    project.edit_config("training.epochs", 64)
    project.edit_config("training.batch_size", 2)
    assert "train" in project.stale_rules()


def test_editing_back_is_no_edit(project):
    config = project.folder / "config.yaml"
    before = config.read_text()
    project.edit_config("attack.steps", 99)
    config.write_text(before)
    assert project.stale_rules() == {}


def test_touching_every_file_reruns_nothing(project):
    for folder, _, files in os.walk(project.folder):
        if ".snakemake" not in folder:
            for file in files:
                os.utime(os.path.join(folder, file))
    assert project.stale_rules() == {}


def test_one_more_seed_trains_and_attacks_that_seed_only(project):
    project.edit_config("run.seeds", [0, 1])
    stale = project.stale_rules()
    assert (stale["train"], stale["attack"]) == (2, 4)
    assert not {"synthetic", "stage", "extract", "features", "folds"} & set(stale)


def test_one_mode_less_and_back_attacks_nothing(project):
    project.edit_config("attack.modes", ["ista"])
    stale = project.stale_rules()
    assert not {"attack", "merge_attack", "susceptibility", "train"} & set(stale)


def test_wrong_config_ends_in_one_line_without_a_traceback(project):
    project.edit_config("attack.lambdas.low", "0.1")
    done = project.snakemake("--dry-run", check=False)
    assert done.returncode != 0
    assert "ehr-attack: config key attack.lambdas.low: found '0.1'" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert len([line for line in done.stderr.splitlines() if "config key" in line]) == 1
