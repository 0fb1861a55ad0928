"""Each known mistake is made once, in a copy of the library, and its test in test_known_mistakes.py must fail."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytestmark = pytest.mark.slow

TESTS = "tests/unit/test_known_mistakes.py"
PARTS = (
    TESTS,
    "tests/conftest.py",
    "tests/mimic3_builder.py",
    "tests/postgres_server.py",
    "tests/real_parts.py",
    "tests/slurm_cluster.py",
    "tests/susceptibility_builder.py",
    "pyproject.toml",
    "scripts/ehr_attack",
    "workflow",
)
SAME_LIBRARY = "test_00_the_library_under_test_is_the_one_beside_these_tests"


@dataclass(frozen=True)
class Mistake:
    """A mistake: `old` becomes `new` in `file` (below scripts/ehr_attack or workflow/sql), and `caught_by` fails."""

    number: int
    what: str
    file: str
    old: str
    new: str
    caught_by: str


MISTAKES = [
    Mistake(
        1, "variables as the sequence, hours as the features",
        "inputs.py",
        "return seen",
        "return seen.transpose(0, 2, 1)",
        "test_01_training_and_attack_read_48_hours_of_19_variables",
    ),
    Mistake(
        1, "the reverse half of a bidirectional LSTM, read at the last step",
        "models/lstm.py",
        "nn.LSTM(n_features, hidden_size, batch_first=True)",
        "nn.LSTM(n_features, hidden_size // 2, batch_first=True, bidirectional=True)",
        "test_01_all_of_the_state_that_is_read_has_seen_every_hour",
    ),
    Mistake(
        2, "Adam's first step of 0.1, zeroed by a threshold of 0.15",
        "attacks/ista.py",
        'soft_threshold(state["point"] - rate * seen.gradient, rate * seen.lambdas)',
        'soft_threshold(state["point"] - 0.1 * seen.gradient.sign(), 0.15 + 0.0 * seen.lambdas)',
        "test_02_the_default_settings_flip_nearly_every_stay[ista]",
    ),
    Mistake(
        2, "an optimiser's state that is kept from patient to patient",
        "attacks/ista.py",
        'return {"point": soft_threshold(state["point"] - rate * seen.gradient,',
        "kept = type(self)\n"
        "        kept.drift = 0.9 * getattr(kept, 'drift', 0.0) + 0.1 * seen.gradient.mean(dim=0, keepdim=True)\n"
        '        return {"point": soft_threshold(state["point"] - rate * (seen.gradient + kept.drift),',
        "test_02_a_result_depends_neither_on_the_order_nor_on_who_was_attacked_before[ista]",
    ),
    Mistake(
        2, "the textbook step with the lambdas of the published one",
        "attacks/ista.py",
        "return 1.0 + 1.0 / rate",
        "return 1.0",
        "test_02_both_modes_move_alike_at_equal_places_of_their_grids",
    ),
    Mistake(
        2, "an attack on the model in training mode",
        "attacks/gradients/__init__.py",
        "model.eval()",
        "model.train()",
        "test_02_the_model_is_attacked_as_it_predicts",
    ),
    Mistake(
        3, "the L2 norm for the L1 norm in the shrinkage",
        "attacks/mode.py",
        "values - torch.clamp(values, -threshold, threshold)",
        "values * (1.0 - threshold / torch.norm(values, dim=1, keepdim=True)).clamp(min=0.0)",
        "test_03_the_step_is_the_proximal_map_of_rate_times_lambda_l1",
    ),
    Mistake(
        3, "a threshold that is not scaled by the step size",
        "attacks/ista.py",
        "rate * seen.lambdas)",
        "seen.lambdas)",
        "test_03_the_step_is_the_proximal_map_of_rate_times_lambda_l1",
    ),
    Mistake(
        3, "the gradient of the L2 norm for that of the L1 norm",
        "attacks/sun2018.py",
        "seen.lambdas * point.sign()",
        "seen.lambdas * point / point.norm()",
        "test_03_the_published_step_by_hand",
    ),
    Mistake(
        3, "the L2 norm recorded as the L1 norm",
        "attacks/records.py",
        '"l1": magnitude.sum(axis=(1, 2)),',
        '"l1": np.linalg.norm(magnitude, axis=(1, 2)),',
        "test_03_the_recorded_l1_is_the_sum_of_all_changes",
    ),
    Mistake(
        4, "softmax before the cross-entropy of training",
        "fitting.py",
        "cross_entropy(members.float().flatten(0, 1),",
        "cross_entropy(members.float().flatten(0, 1).softmax(dim=1),",
        "test_04_a_model_that_is_surely_right_has_no_loss",
    ),
    Mistake(
        4, "a model that ends in a softmax",
        "models/lstm.py",
        "self.output(torch.relu(self.dense(last_valid(states, lengths))))",
        "self.output(torch.relu(self.dense(last_valid(states, lengths)))).softmax(dim=1)",
        "test_04_probabilities_come_near_0_and_1",
    ),
    Mistake(
        5, "folds by admission: a patient's stays in several of them",
        "folds.py",
        'ordered["subject_id"].to_numpy(), count',
        'ordered["stay_id"].to_numpy(), count',
        "test_05_random_labels_cannot_be_predicted",
    ),
    Mistake(
        5, "one model that is trained on through all folds",
        "training.py",
        "model = build_model(self.model_name, channels)",
        "model = vars(build_model).setdefault('kept', build_model(self.model_name, channels))",
        "test_05_every_fold_is_trained_from_scratch",
    ),
    Mistake(
        5, "a score on all data",
        "evaluation.py",
        'test = predictions[predictions["split"] == "test"]',
        "test = predictions",
        "test_05_only_held_out_stays_are_scored",
    ),
    Mistake(
        5, "an inner validation of stays whose patients are in training",
        "folds.py",
        "_grouped_parts(labels, subjects, int(parts), seed)",
        "_grouped_parts(labels, np.arange(len(labels)), int(parts), seed)",
        "test_05_no_patient_is_in_two_folds_or_splits",
    ),
    Mistake(
        5, "attacks on training patients",
        "attacks/held_out.py",
        "np.flatnonzero(cohort.folds == fold)",
        "np.arange(len(cohort.folds))",
        "test_05_the_attacked_are_all_held_out_and_correctly_classified[sun2018]",
    ),
    Mistake(
        5, "attacks on stays that are misclassified anyway",
        "attacks/held_out.py",
        "np.flatnonzero((margin < 0).cpu().numpy())",
        "np.arange(len(stays))",
        "test_05_the_attacked_are_all_held_out_and_correctly_classified[ista]",
    ),
    Mistake(
        6, "a mean magnitude for the share of patients",
        "susceptibility/measures.py",
        '"gpp": changed / np.maximum',
        '"gpp": members.T @ sample.total / np.maximum',
        "test_06_gpp_is_a_share_and_susceptibility_is_gmp_times_gpp",
    ),
    Mistake(
        6, "mean |perturbation| shown as susceptibility",
        "susceptibility/tables.py",
        '_SIZE_OF = {"s": "gmp"',
        '_SIZE_OF = {"s": "gap"',
        "test_06_gpp_is_a_share_and_susceptibility_is_gmp_times_gpp",
    ),
    Mistake(
        7, "every success of a stay counted",
        "susceptibility/success.py",
        "for flag, count in flags.sum().items()",
        "for flag, count in part[list(flags)].sum().items()",
        "test_07_success_is_counted_in_stays",
    ),
    Mistake(
        7, "every attempt counted as an attacked stay",
        "susceptibility/success.py",
        '"n_attacked": by_stay.ngroups',
        '"n_attacked": len(part)',
        "test_07_success_is_counted_in_stays",
    ),
    Mistake(
        7, "patients drawn with replacement",
        "attacks/held_out.py",
        "random.permutation(len(candidates))",
        "random.integers(0, len(candidates), size=len(candidates))",
        "test_07_a_stay_is_drawn_once_and_has_one_row_a_lambda[sun2018]",
    ),
    Mistake(
        8, "INR labelled as magnesium",
        "data/variables.csv",
        "50960,50960,50960",
        "51237,51237,51237",
        "test_08_every_item_lands_in_the_column_of_its_name",
    ),
    Mistake(
        8, "columns by position",
        "feature_tensor.py",
        "table[name].to_numpy()",
        "table.column(position + 2).to_numpy()",
        "test_08_every_item_lands_in_the_column_of_its_name",
    ),
    Mistake(
        8, "potassium from blood gases",
        "data/variables.csv",
        "50971,50971,50971",
        "50822,50822,50822",
        "test_08_potassium_and_calcium_are_those_of_serum",
    ),
    Mistake(
        8, "calcium from blood gases",
        "data/variables.csv",
        "50893,50893,50893",
        "50808,50808,50808",
        "test_08_potassium_and_calcium_are_those_of_serum",
    ),
    Mistake(
        9, "the whole stay extracted, for interpolation",
        "workflow/sql/common/measurements.sql",
        "hours < hours_observable",
        "hours < 24 + hours_observable",
        "test_09_nothing_after_the_window_changes_an_input[linear]",
    ),
    Mistake(
        9, "the last hours of the window filled from after it",
        "workflow/sql/common/features.sql",
        "CAST(floor(hours) AS integer) AS hour",
        "CAST(least(floor(hours), {window_hours} - 1) AS integer) AS hour",
        "test_09_features_are_cut_at_the_window_even_where_measurements_are_not",
    ),
    Mistake(
        9, "cells filled from a later observation",
        "preprocessing.py",
        'if self.imputation == "linear":',
        'if self.imputation != "none":',
        "test_09_forward_imputation_uses_no_later_observation",
    ),
    Mistake(
        10, "percentiles and medians of all patients",
        "training.py",
        "cohort.recorded[scaled]",
        "cohort.recorded",
        "test_10_percentiles_and_medians_are_those_of_the_training_stays",
    ),
    Mistake(
        10, "a charted value repeated for every ICU stay of its patient",
        "workflow/sql/mimic/placed.sql",
        "coalesce(events.stay_id, reviewed.stay_id) = reviewed.stay_id",
        "coalesce(events.stay_id, reviewed.stay_id) > 0",
        "test_10_a_charted_value_counts_in_one_stay_of_an_admission",
    ),
    Mistake(
        10, "only stays with values in exactly 48 hours",
        "workflow/sql/common/features.sql",
        "    FROM stays\n",
        "    FROM stays\n    WHERE stay_id IN (SELECT stay_id FROM hourly GROUP BY stay_id HAVING count(*) = 48)\n",
        "test_10_stays_measured_in_few_hours_are_kept_with_all_48",
    ),
    Mistake(
        10, "windows that run past the end of the stay, by default",
        "workflow/sql/common/rules.sql",
        "$require_full_window AND hours_to_end < $window_hours",
        "$require_full_window AND hours_to_end < 0 * $window_hours",
        "test_10_by_default_no_window_runs_past_discharge_or_death",
    ),
    Mistake(
        10, "values from after the end of a short stay",
        "workflow/sql/common/rules.sql",
        "least($window_hours, ceil(hours_to_end))",
        "$window_hours",
        "test_10_hours_after_discharge_are_masked_where_short_stays_are_kept",
    ),
]  # fmt: skip


def copy_library(project: Path, target: Path) -> Path:
    """Copy the library, its SQL and the tests of the known mistakes to `target`."""
    for part in PARTS:
        destination = target / part
        destination.parent.mkdir(parents=True, exist_ok=True)
        if (project / part).is_dir():
            shutil.copytree(project / part, destination, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(project / part, destination)
    return target


def make(mistake: Mistake, copy: Path) -> None:
    """Make the mistake in a copy of the library."""
    file = copy / (mistake.file if mistake.file.startswith("workflow/") else f"scripts/ehr_attack/{mistake.file}")
    text = file.read_text(encoding="utf-8")
    assert text.count(mistake.old) == 1, f"{mistake.file} must hold this once: {mistake.old}"
    file.write_text(text.replace(mistake.old, mistake.new), encoding="utf-8")


def results_of(copy: Path, *names: str) -> dict[str, ElementTree.Element]:
    """Run the tests `names` (all: none given) in `copy`, in a process of their own; their JUnit results by name."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml=results.xml"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [*command, *([f"{TESTS}::{name}" for name in names] or [TESTS])],
        cwd=copy,
        # Loading plugins that these tests do not use would take a fifth of the time.
        env=environment | {"OMP_NUM_THREADS": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout[-4000:] + done.stderr[-4000:]
    return {str(case.get("name")): case for case in ElementTree.parse(copy / "results.xml").iter("testcase")}


def test_without_a_mistake_every_test_passes(project_dir, tmp_path):
    results = results_of(copy_library(project_dir, tmp_path))
    assert {name for name, case in results.items() if len(case)} == set()
    assert {mistake.caught_by for mistake in MISTAKES} | {SAME_LIBRARY} <= set(results)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: f"{mistake.number:02d}-{mistake.what}")
def test_the_mistake_is_caught(project_dir, tmp_path, mistake):
    copy = copy_library(project_dir, tmp_path)
    make(mistake, copy)
    results = results_of(copy, SAME_LIBRARY, mistake.caught_by)
    assert set(results) == {SAME_LIBRARY, mistake.caught_by} and len(results[SAME_LIBRARY]) == 0
    (failure,) = results[mistake.caught_by]
    assert failure.tag == "failure", failure.text
    # The last line of a failure names where it was raised: an assertion of the test, not an error in the library.
    assert re.search(r"test_known_mistakes\.py:\d+: AssertionError\s*$", failure.text or ""), failure.text


def test_each_of_the_ten_mistakes_is_made():
    assert {mistake.number for mistake in MISTAKES} == set(range(1, 11))
    assert all(mistake.caught_by.startswith(f"test_{mistake.number:02d}_") for mistake in MISTAKES)
