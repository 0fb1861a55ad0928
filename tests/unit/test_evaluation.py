import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from ehr_attack.decisions import fit_decisions
from ehr_attack.evaluation import evaluate_predictions, model_curves
from ehr_attack.metrics import METRICS, Scored, weighted_metrics
from ehr_attack.subgroups import evaluate_subgroups


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
    assert of["accuracy"] == of["accuracy_half"] == pytest.approx(3 / 5)
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


def scored_case(seed, n):
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(n) % 3 == 0).astype(int)
    p_death = random.random(n).round(1)
    return Scored(labels, p_death, p_death / 2 + 0.2, p_death > 0.3, p_death > 0.6, p_death > 0.5), random


@given(seed=st.integers(0, 10_000), n=st.integers(4, 40))
def test_weighted_metrics_equal_those_of_scikit_learn(seed, n):
    scored, random = scored_case(seed, n)
    labels, p_death = scored.labels, scored.p_death
    weight = random.integers(0, 3, n)
    weight[[labels.argmax(), labels.argmin()]] += 1
    ours = dict(zip(METRICS, weighted_metrics(scored, weight[None])[0], strict=True))
    weighted = {"sample_weight": weight}
    assert ours["auroc"] == pytest.approx(sklearn_metrics.roc_auc_score(labels, p_death, **weighted))
    assert ours["auprc"] == pytest.approx(sklearn_metrics.average_precision_score(labels, p_death, **weighted))
    assert ours["brier"] == pytest.approx(sklearn_metrics.brier_score_loss(labels, p_death, **weighted))
    recalibrated = sklearn_metrics.brier_score_loss(labels, scored.p_recalibrated, **weighted)
    assert ours["brier_recalibrated"] == pytest.approx(recalibrated)
    for decided, suffix in ((scored.positive, ""), (scored.positive_half, "_half")):
        assert ours[f"accuracy{suffix}"] == pytest.approx(sklearn_metrics.accuracy_score(labels, decided, **weighted))
        for name, score in (("f1", "f1_score"), ("precision", "precision_score"), ("recall", "recall_score")):
            expected = getattr(sklearn_metrics, score)(labels, decided, zero_division=0.0, **weighted)
            assert ours[f"{name}{suffix}"] == pytest.approx(expected)
        survivors = sklearn_metrics.recall_score(labels, decided, pos_label=0, **weighted)
        assert ours[f"specificity{suffix}"] == pytest.approx(survivors)
    sensitivity, precision = (
        score(labels, scored.positive_score1, zero_division=0.0, **weighted)
        for score in (sklearn_metrics.recall_score, sklearn_metrics.precision_score)
    )
    assert ours["score1"] == pytest.approx(min(sensitivity, precision))


@given(seed=st.integers(0, 10_000), n=st.integers(4, 40))
def test_a_weight_is_a_number_of_copies_and_weightings_do_not_touch_each_other(seed, n):
    scored, random = scored_case(seed, n)
    weights = random.integers(0, 4, (5, n))
    together = weighted_metrics(scored, weights)
    for weight, measured in zip(weights, together, strict=True):
        copies = scored.part(np.repeat(np.arange(n), weight))
        if 0 < copies.labels.sum() < copies.labels.size:
            alone = weighted_metrics(copies, np.ones((1, copies.labels.size)))[0]
            np.testing.assert_allclose(measured, alone, rtol=1e-6, atol=1e-9)
        else:
            assert np.isnan(measured).all()


def with_validation(frame, labels, p_death, fold=0):
    return pd.concat([frame, predictions(p_death, labels, fold=fold, split="validation", first_stay=10_000)])


def test_decisions_come_from_validation_patients_alone():
    """On the validation stays 0.3 < t < 0.4 finds both deaths and nobody else."""
    test = predictions([0.9, 0.35, 0.5, 0.1], [1, 0, 1, 0])
    frame = with_validation(test, [1, 1, 0, 0], [0.4, 0.8, 0.3, 0.1])
    decisions = fit_decisions(frame).iloc[0]
    assert decisions["threshold_f1"] == decisions["threshold_score1"] == pytest.approx(0.35)
    assert (decisions["n_stays"], decisions["n_deaths"]) == (4, 2)
    turned = frame.assign(label=np.where(frame["split"] == "test", 1 - frame["label"], frame["label"]))
    pd.testing.assert_frame_equal(fit_decisions(turned), fit_decisions(frame))
    of = pooled(frame)["value"]
    assert (of["recall"], of["specificity"], of["f1"]) == (1.0, 1.0, 1.0)
    assert (of["recall_half"], of["precision_half"], of["f1_half"]) == (0.5, 1.0, pytest.approx(2 / 3))


def test_every_fold_is_judged_by_its_own_threshold_when_pooled():
    """Fold 0 predicts twice as high as fold 1: only thresholds of their own find both deaths and spare the rest."""
    high = with_validation(predictions([0.8, 0.6], [1, 0]), [1, 0], [0.8, 0.6])
    low = predictions([0.4, 0.3], [1, 0], fold=1, first_stay=50)
    low = pd.concat([low, predictions([0.4, 0.3], [1, 0], fold=1, split="validation", first_stay=60)])
    of = pooled(pd.concat([high, low]))["value"]
    assert of["f1"] == of["score1"] == of["accuracy"] == 1.0
    assert of["accuracy_half"] == pytest.approx(0.5)


def test_recalibration_on_validation_patients_mends_what_balancing_did():
    """Odds six times too high, as a model of balanced classes has them: an intercept of -log 6, and none after it."""
    random = np.random.default_rng(3)
    odds = np.exp(random.normal(-2.0, 1.2, 12_000))
    labels = (random.random(12_000) < odds / (1 + odds)).astype(int)
    raised = 6 * odds / (1 + 6 * odds)
    frame = with_validation(predictions(raised[:6000], labels[:6000]), labels[6000:], raised[6000:])
    of = pooled(frame)
    assert of.loc["calibration_intercept", "value"] == pytest.approx(-np.log(6), abs=0.1)
    assert of.loc["calibration_slope", "value"] == pytest.approx(1.0, abs=0.1)
    assert of.loc["calibration_intercept_recalibrated", "value"] == pytest.approx(0.0, abs=0.12)
    assert of.loc["calibration_slope_recalibrated", "low"] < 1.0 < of.loc["calibration_slope_recalibrated", "high"]
    assert of.loc["brier_recalibrated", "value"] < of.loc["brier", "value"] - 0.05
    curves = model_curves(frame)
    gaps = {
        name: (curves["x"] - curves["y"])[curves["curve"] == name].abs().mean()
        for name in ("calibration", "recalibrated")
    }
    assert gaps["recalibrated"] < 0.02
    assert gaps["calibration"] > 0.1


def test_without_validation_stays_nothing_is_recalibrated_and_thresholds_are_a_half():
    of = pooled(predictions([0.9, 0.4, 0.8, 0.2, 0.1], [1, 1, 0, 0, 0]))["value"]
    assert np.isnan(of["brier_recalibrated"]) and of["f1"] == of["f1_half"]
    curves = model_curves(predictions([0.9, 0.4, 0.8, 0.2, 0.1], [1, 1, 0, 0, 0]))
    assert "recalibrated" not in set(curves["curve"])


def test_a_subgroup_is_measured_as_if_it_were_alone():
    frame, stays = random_case(600)
    random = np.random.default_rng(5)
    stays = stays.assign(
        age_years=random.choice([30.0, 44.9, 45.0, 64.9, 65.0, 75.0, 85.0, 91.4], len(stays)),
        sex=random.choice(["F", "M"], len(stays)),
        care_unit=None,
    )
    stays.loc[:4, "sex"] = None
    groups = evaluate_subgroups(frame, stays, 40)
    assert list(groups["attribute"].unique()) == ["all", "age", "sex"]
    assert groups.loc[groups["attribute"] == "age", "level"].unique().tolist() == [
        "under 45", "45 to 64", "65 to 74", "75 to 84", "85 and over",
    ]  # fmt: skip
    assert groups.loc[groups["attribute"] == "sex", "level"].unique().tolist() == ["F", "M", "unknown"]
    middle = stays.loc[stays["age_years"].between(45, 64.99), "stay_id"]
    alone = pooled(frame[frame["stay_id"].isin(middle)])
    band = groups[groups["level"] == "45 to 64"].set_index("metric")
    columns = ["value", "low", "high", "n_stays", "n_deaths"]
    pd.testing.assert_frame_equal(band[columns], alone[columns])
    overall = groups[groups["attribute"] == "all"].set_index("metric")
    pd.testing.assert_frame_equal(overall[columns], pooled(frame)[columns])


def test_three_hundred_resamples_of_every_metric_take_seconds():
    random = np.random.default_rng(0)
    labels = (random.random(4000) < 0.14).astype(int)
    p_death = 1 / (1 + np.exp(-random.normal(1.2 * labels - 0.5, 1.0)))
    parts = [predictions(p_death[k::5], labels[k::5], fold=k, first_stay=1000 * k) for k in range(5)]
    parts += [part.assign(split="validation", stay_id=part["stay_id"] + 10_000) for part in parts]
    frame = pd.concat(parts)
    start = time.process_time()
    evaluate_predictions(frame, stays_for(frame), 300)
    assert time.process_time() - start < 20
