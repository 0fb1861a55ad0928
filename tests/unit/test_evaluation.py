import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from ehr_attack.evaluation import METRICS, evaluate_predictions, model_curves, weighted_metrics


def predictions(p_death, labels, fold=0, split="test", first_stay=0):
    stay_ids = np.arange(len(labels)) + first_stay
    frame = pd.DataFrame({"stay_id": stay_ids, "label": np.asarray(labels, dtype=np.int8), "p_death": p_death})
    return frame.assign(model="lstm", seed=0, fold=fold, split=split)


def stays_for(frame, stays_a_patient=1):
    ids = frame["stay_id"].unique()
    return pd.DataFrame({"stay_id": ids, "subject_id": np.arange(len(ids)) // stays_a_patient})


def pooled(frame, resamples=40):
    metrics = evaluate_predictions(frame, stays_for(frame), resamples)
    return metrics[metrics["fold"].isna()].set_index("metric")


def test_metrics_by_hand():
    """Two deaths (0.9, 0.4), three survivors (0.8, 0.2, 0.1).

    Pairs in the right order: 0.9 beats all three, 0.4 beats two: AUROC 5/6. Above 0.5: one death, one survivor.
    """
    of = pooled(predictions([0.9, 0.4, 0.8, 0.2, 0.1], [1, 1, 0, 0, 0]))["value"]
    assert of["auroc"] == pytest.approx(5 / 6)
    assert of["precision"] == of["recall"] == of["f1"] == pytest.approx(0.5)
    assert of["accuracy"] == pytest.approx(3 / 5)
    assert of["brier"] == pytest.approx((0.01 + 0.36 + 0.64 + 0.04 + 0.01) / 5)
    assert of["auprc"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_only_held_out_stays_count():
    test = predictions([0.9, 0.1, 0.8, 0.3], [1, 0, 1, 0])
    noise = predictions([0.1, 0.9], [1, 0], split="train", first_stay=100)
    assert pooled(pd.concat([test, noise]))["value"]["auroc"] == 1.0


def test_folds_are_measured_alone_and_pooled():
    frame = pd.concat([predictions([0.9, 0.1], [1, 0], fold=0), predictions([0.1, 0.9], [1, 0], fold=1, first_stay=10)])
    metrics = evaluate_predictions(frame, stays_for(frame), 20)
    auroc = metrics[(metrics["metric"] == "auroc") & metrics["fold"].notna()].set_index("fold")["value"]
    assert auroc.to_dict() == {0: 1.0, 1: 0.0}
    assert pooled(frame)["value"]["auroc"] == 0.5


def test_a_fold_of_one_class_has_no_metrics_and_does_not_fail():
    metrics = pooled(predictions([0.1, 0.2, 0.3], [0, 0, 0]))
    assert metrics[["value", "low", "high"]].isna().all().all()
    assert (metrics["n_deaths"] == 0).all()


def random_case(n=300, stays_a_patient=1, seed=0):
    random = np.random.default_rng(seed)
    labels = (random.random(n) < 0.3).astype(int)
    frame = predictions(np.clip(random.normal(0.35 + 0.2 * labels, 0.2), 0, 1), labels)
    return frame, stays_for(frame, stays_a_patient)


def test_the_interval_holds_the_value_and_is_as_wide_as_theory_says():
    frame, stays = random_case()
    metrics = evaluate_predictions(frame, stays, 300).set_index(["metric"])
    accuracy = metrics[metrics["fold"].isna()].loc["accuracy"]
    standard_error = np.sqrt(accuracy["value"] * (1 - accuracy["value"]) / 300)
    assert accuracy["low"] < accuracy["value"] < accuracy["high"]
    assert accuracy["high"] - accuracy["low"] == pytest.approx(2 * 1.96 * standard_error, rel=0.25)


def test_intervals_resample_patients_not_stays():
    frame, _ = random_case(40)
    copies = pd.concat([frame.assign(stay_id=frame["stay_id"] + 1000 * copy) for copy in range(9)])
    of_patients = pd.DataFrame({"stay_id": copies["stay_id"], "subject_id": copies["stay_id"] % 1000})

    def width(stays):
        metrics = evaluate_predictions(copies, stays, 200).set_index("metric")
        row = metrics[metrics["fold"].isna()].loc["auroc"]
        return row["high"] - row["low"]

    assert width(of_patients) > 2 * width(stays_for(copies))


def test_curves_are_on_a_grid_and_end_where_they_must():
    frame, _ = random_case()
    curves = model_curves(frame)
    roc = curves[curves["curve"] == "roc"]
    assert len(roc) == 101 and roc["y"].is_monotonic_increasing
    assert (roc["x"].iloc[-1], roc["y"].iloc[-1]) == (1, 1)
    area = np.trapezoid(roc["y"], roc["x"])
    assert area == pytest.approx(pooled(frame)["value"]["auroc"], abs=0.02)
    precision_recall = curves[curves["curve"] == "pr"].set_index("x")["y"]
    assert precision_recall[1.0] == pytest.approx(frame["label"].mean(), abs=0.1)
    calibration = curves[curves["curve"] == "calibration"]
    assert len(calibration) == 10 and calibration["x"].is_monotonic_increasing


@given(seed=st.integers(0, 10_000), n=st.integers(4, 40))
def test_weighted_metrics_equal_those_of_scikit_learn(seed, n):
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(n) % 3 == 0).astype(int)
    p_death = random.random(n).round(1)
    weight = random.integers(0, 3, n)
    weight[[labels.argmax(), labels.argmin()]] += 1
    ours = dict(zip(METRICS, weighted_metrics(labels, p_death, weight[None])[0], strict=True))
    decided, weighted = p_death > 0.5, {"sample_weight": weight}
    assert ours["auroc"] == pytest.approx(sklearn_metrics.roc_auc_score(labels, p_death, **weighted))
    assert ours["auprc"] == pytest.approx(sklearn_metrics.average_precision_score(labels, p_death, **weighted))
    assert ours["brier"] == pytest.approx(sklearn_metrics.brier_score_loss(labels, p_death, **weighted))
    assert ours["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(labels, decided, **weighted))
    for name, score in (("f1", "f1_score"), ("precision", "precision_score"), ("recall", "recall_score")):
        expected = getattr(sklearn_metrics, score)(labels, decided, zero_division=0.0, **weighted)
        assert ours[name] == pytest.approx(expected)
