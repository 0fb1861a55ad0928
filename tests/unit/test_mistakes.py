"""Mistakes made on purpose: each does what it says and nothing else, and no wrong number passes for a right one."""

import numpy as np
import pandas as pd
import pytest
import torch

from ehr_attack import mistakes
from ehr_attack.cohort_data import CohortData
from ehr_attack.feature_tensor import FeatureTensor, load_tensor
from ehr_attack.mistakes.look_ahead import look_ahead_features
from ehr_attack.mistakes.transposed import TransposedLSTM
from ehr_attack.models.contract import check_model
from ehr_attack.models.lstm import LSTMClassifier
from ehr_attack.schemas.cohort import MEASUREMENTS, STAYS
from ehr_attack.storage import write_frame
from ehr_attack.summaries.mistakes import AGREEMENT, LAST_VARIABLES, RIGHT, TOP_VARIABLES, mistakes_table
from ehr_attack.training import train_fold

SETTINGS = {
    "epochs": 1, "batch_size": 16, "lr": 0.01, "weight_decay": 0.0, "class_balance": "weights", "inputs": "values",
    "device": "cpu", "precision": "float32", "tune": False, "patience": None,
}  # fmt: skip


def cohort(n=60, hours=6, shift=0.0):
    """Made-up stays of one variable; those of the last fold lie `shift` higher."""
    random = np.random.default_rng(0)
    folds = (np.arange(n) % 3).astype(np.int32)
    values = (random.normal(size=(n, hours, 2)) + shift * (folds == 2)[:, None, None]).astype(np.float32)
    features = FeatureTensor(np.arange(n), values, np.full((n, 2), np.nan, np.float32), np.full(n, hours))
    labels = (np.arange(n) // 3 % 2).astype(np.int8)
    return CohortData(("a", "b"), features, labels, np.arange(n), folds)


def trained(data, mistake):
    return train_fold(
        cohort=data, fold=2, model_name="lstm", seed=0, imputation="linear", settings=SETTINGS, code={},
        label="lstmWRONG", mistake=mistake,
    )  # fmt: skip


class TestTraining:
    @pytest.mark.parametrize(
        ("mistake", "sees_held_out"),
        [("", False), (mistakes.WHOLE_COHORT_SCALING, True), (mistakes.SCORED_ON_TRAINING, True)],
    )
    def test_the_held_out_fold_moves_the_preprocessing_only_by_mistake(self, mistake, sees_held_out):
        plain, shifted = (trained(cohort(shift=shift), mistake).preprocessing for shift in (0.0, 100.0))
        assert (plain.high != shifted.high).all() == sees_held_out

    @pytest.mark.parametrize(
        ("mistake", "learns"), [(mistakes.WHOLE_COHORT_SCALING, False), (mistakes.SCORED_ON_TRAINING, True)]
    )
    def test_labels_of_the_held_out_fold_are_learnt_only_by_that_mistake(self, mistake, learns):
        data = cohort()
        turned = CohortData(
            data.variable_names, data.features, np.where(data.folds == 2, 1 - data.labels, data.labels),
            data.subject_ids, data.folds,
        )  # fmt: skip
        weights = [trained(part, mistake).model.output.weight for part in (data, turned)]
        assert torch.equal(*weights) != learns

    def test_predictions_keep_their_true_splits_and_the_name_says_wrong(self):
        right, wrong = trained(cohort(), ""), trained(cohort(), mistakes.SCORED_ON_TRAINING)
        pd.testing.assert_series_equal(right.predictions["split"], wrong.predictions["split"])
        assert set(wrong.predictions["model"]) == {"lstmWRONG"}
        assert wrong.details["mistake"] == mistakes.SCORED_ON_TRAINING and right.details["mistake"] == ""

    def test_the_control_differs_by_its_seed_alone(self):
        right, control = trained(cohort(), ""), trained(cohort(), mistakes.CONTROL)
        assert not torch.equal(right.model.output.weight, control.model.output.weight)
        assert set(right.predictions["split"]) == set(control.predictions["split"])

    def test_what_was_recorded_is_what_scaling_is_fitted_on(self):
        data = cohort()
        filled = FeatureTensor(
            data.features.stay_ids, data.features.values + 50, data.features.carry_in, data.features.n_hours
        )
        wrong = CohortData(
            data.variable_names, filled, data.labels, data.subject_ids, data.folds, recorded_values=data.features.values
        )
        assert (trained(wrong, "").preprocessing.high == trained(data, "").preprocessing.high).all()


class TestTransposed:
    def test_it_is_the_lstm_on_the_transposed_record(self):
        torch.manual_seed(0)
        wrong = TransposedLSTM(19).eval()
        plain = LSTMClassifier(48).eval()
        plain.load_state_dict(wrong.state_dict())
        records = torch.rand(5, 48, 19)
        assert torch.allclose(wrong(records), plain(records.transpose(1, 2)), atol=1e-6)

    def test_its_sequence_runs_over_variables(self):
        """The order of the variables matters, and of two equal hours it makes no difference which is which."""
        torch.manual_seed(0)
        model = TransposedLSTM(4).eval()
        records = torch.rand(3, 48, 4)
        assert not torch.allclose(model(records), model(records.flip(2)))

    @pytest.mark.parametrize("hours", [24, 48])
    def test_it_keeps_the_contract_of_models(self, hours):
        check_model(TransposedLSTM(7), "transposed", 7, hours)


class TestLookAhead:
    HOURS = 4

    @pytest.fixture
    def features(self, tmp_path):
        """One stay of 4 + 4 hours: `early` recorded at 1 and 5, `late` at 6 alone, `never` at no time."""
        stays = pd.DataFrame({name: [None] for name in STAYS.names})
        stays = stays.assign(stay_id=7, subject_id=1, died_in_hospital=False, hours_observable=self.HOURS)
        values = [(1.5, "early", 10.0), (5.5, "early", 30.0), (6.5, "late", 5.0)]
        rows = pd.DataFrame([(7, *row) for row in values], columns=MEASUREMENTS.names)
        files = {name: tmp_path / f"{name}.parquet" for name in ("stays", "longer_stays", "longer_measurements")}
        write_frame(stays, files["stays"], STAYS)
        other = stays.assign(stay_id=3)
        write_frame(pd.concat([other, stays.assign(hours_observable=8)]), files["longer_stays"], STAYS)
        write_frame(rows, files["longer_measurements"], MEASUREMENTS)
        names, out = ["early", "late", "never"], tmp_path / "out" / "features.parquet"
        look_ahead_features(
            **files, variable_names=names, window_hours=self.HOURS, look_ahead_hours=4, carry_in_hours=0, out=out
        )
        assert [path.name for path in out.parent.iterdir()] == ["features.parquet"]
        return load_tensor(out, names, self.HOURS)

    def test_values_from_after_the_window_reach_into_it(self, features):
        assert features.stay_ids.tolist() == [7] and features.n_hours.tolist() == [self.HOURS]
        early, late, never = features.values[0].T
        assert early.tolist() == [10, 10, 15, 20]
        assert late.tolist() == [5, 5, 5, 5]
        assert np.isnan(never).all()


class TestTable:
    @staticmethod
    def run(model, auroc, scores):
        metrics = pd.DataFrame([(model, 0, None, "auroc", auroc, 0.7, 0.9, 100, 90, 40)])
        variables = pd.DataFrame({"variable": list("abcd"), "s_q95": scores, "s": scores})
        return metrics, variables.assign(model=model, mode="ista", direction="0_to_1", n_stays=40)

    def table(self, small=False):
        parts = [
            self.run("lstm", 0.80, [4.0, 3.0, 2.0, 1.0]),
            self.run("lstmControl", 0.79, [4.0, 3.0, 1.0, 2.0]),
            self.run("lstmWRONGTransposedAxis", 0.75, [1.0, 2.0, 3.0, 4.0]),
        ]
        metrics, variables = (pd.concat(frames) for frames in zip(*parts, strict=True))
        metrics.columns = [
            "model",
            "seed",
            "fold",
            "metric",
            "value",
            "low",
            "high",
            "n_stays",
            "n_patients",
            "n_deaths",
        ]
        if small:
            variables.loc[variables["model"] != "lstm", "n_stays"] = 9
        claims = pd.DataFrame(columns=["model", "direction", "measure", "quantity", "value"])
        made = {"lstm": "", "lstmControl": "control", "lstmWRONGTransposedAxis": "transposed_axis"}
        return mistakes_table(metrics, claims, variables, made).set_index(["mistake", "quantity"])

    def test_every_number_stands_beside_that_of_the_right_run(self):
        table = self.table()
        assert table.loc[("transposed_axis", "auroc"), ["value", "right"]].tolist() == [0.75, 0.80]
        assert table.loc[(RIGHT, AGREEMENT), "value"] == pytest.approx(1.0)
        assert table.loc[("control", AGREEMENT), "value"] == pytest.approx(0.8)
        assert table.loc[("transposed_axis", AGREEMENT), "value"] == pytest.approx(-1.0)
        assert table.loc[("transposed_axis", TOP_VARIABLES), "text"] == "d, c, b"
        last = [table.loc[(mistake, LAST_VARIABLES), "value"] for mistake in (RIGHT, "transposed_axis")]
        assert last == [pytest.approx(0.1), pytest.approx(0.4)]

    def test_few_stays_are_not_shown(self):
        table = self.table(small=True)
        assert ("transposed_axis", AGREEMENT) not in table.index
        assert (RIGHT, AGREEMENT) in table.index


def test_there_is_no_variant_without_a_mistake_and_wrong_ones_are_called_so():
    assert mistakes.variants([]) == []
    control, *wrong = mistakes.variants(list(mistakes.MISTAKES))
    assert control.mistake == mistakes.CONTROL and "WRONG" not in control.label
    assert all("WRONG" in variant.label and variant.label.isalnum() for variant in wrong)
    assert len({variant.label for variant in wrong}) == len(mistakes.MISTAKES) == 4
