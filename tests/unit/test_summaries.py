"""Tables for people: hand-computed cases, slow obvious loops, small numbers that must not come through."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehr_attack.errors import UserError
from ehr_attack.figures import names
from ehr_attack.published import (
    published_evaluations,
    published_marks,
    published_metrics,
    published_ranks,
    published_scores,
    rank_agreement,
)
from ehr_attack.schemas.cohort import features_schema
from ehr_attack.schemas.evaluation import METRICS
from ehr_attack.storage import read_frame, write_frame, write_json
from ehr_attack.summaries import agreement, claims, cohort, models, susceptibility
from ehr_attack.summaries.comparison import comparison_table
from ehr_attack.summaries.subgroups import subgroups_table
from ehr_attack.suppression import (
    MINIMUM,
    chain_texts,
    merge_steps,
    part_text,
    partition_texts,
    percent,
    rate,
)
from ehr_attack.variables import load_variables
from report_builder import MadeUpRun, RunFiles, identifiers, write_tables


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFiles:
    """A run with one large and one small direction, and all its tables."""
    scenario = MadeUpRun(stays=120, deaths=40, modes=("ista",), successes={"0_to_1": 60, "1_to_0": 6})
    files = scenario.write(tmp_path_factory.mktemp("tables") / "run")
    write_tables(files, scenario.profile)
    return files


class TestSuppression:
    def test_counts_of_a_part(self) -> None:
        assert [part_text(n, 100) for n in (0, 1, 9, 10, 90, 91, 99, 100)] == [
            "0", "<10", "<10", "10", "90", "all but <10", "all but <10", "100",
        ]  # fmt: skip

    def test_shares(self) -> None:
        assert percent(25, 100) == rate(25, 100) == 25.0
        assert math.isnan(percent(95, 100)) and rate(95, 100) == 95.0
        assert all(math.isnan(value) for value in (percent(5, 100), rate(5, 100), percent(4, 8), rate(8, 8)))

    def test_a_small_part_takes_a_partner_with_it(self) -> None:
        assert partition_texts([50, 30, 12]) == ["50", "30", "12"]
        assert partition_texts([50, 30, 12, 3]) == ["50", "withheld", "12", "<10"]
        assert partition_texts([14, 3]) == ["withheld", "<10"]

    @given(st.lists(st.integers(0, 40), min_size=1, max_size=8))
    def test_no_small_part_follows_from_the_total(self, counts: list[int]) -> None:
        texts = partition_texts(counts)
        printed = [int(text) for text in texts if text.isdigit()]
        assert not any(0 < count < MINIMUM for count in printed)
        hidden = sum(counts) - sum(printed)
        if "withheld" not in texts:
            assert hidden == 0 or max(counts) < MINIMUM
        else:
            assert hidden > MINIMUM and len(texts) - len(printed) > 1

    def test_steps_merge_forwards_and_a_remainder_backwards(self) -> None:
        assert merge_steps([4, 3, 25, 12]) == [[0, 1, 2], [3]]
        assert merge_steps([0, 30, 0, 4]) == [[0], [1, 2, 3]]
        assert merge_steps([30, 0, 2, 9, 1]) == [[0], [1], [2, 3, 4]]
        assert merge_steps([0, 4]) == [[0], [1]]
        assert merge_steps([30, 4, 0]) == [[0, 1], [2]]

    @given(st.lists(st.integers(0, 30), max_size=10))
    def test_merged_steps_keep_all_and_are_large(self, excluded: list[int]) -> None:
        groups = merge_steps(excluded)
        assert [index for group in groups for index in group] == list(range(len(excluded)))
        sums = [sum(excluded[index] for index in group) for group in groups]
        if sum(excluded) == 0 or sum(excluded) >= MINIMUM:
            assert all(total == 0 or total >= MINIMUM for total in sums)

    @given(st.lists(st.integers(0, 30), min_size=1, max_size=10), st.integers(0, 50))
    def test_no_small_difference_along_a_chain(self, drops: list[int], last: int) -> None:
        counts = [last + sum(drops[index:]) for index in range(len(drops))]
        printed = [int(text) for text in chain_texts(counts, [1000] * len(counts)) if text.isdigit()]
        assert not any(0 < count < MINIMUM for count in printed)
        assert not any(0 < a - b < MINIMUM for index, a in enumerate(printed) for b in printed[index + 1 :])


class TestCohort:
    STEPS = (
        {"label": "all", "excluded_stays": 0, "stays": 319, "patients": 300, "deaths": 90},
        {"label": "age", "excluded_stays": 4, "stays": 315, "patients": 296, "deaths": 90},
        {"label": "order", "excluded_stays": 3, "stays": 312, "patients": 293, "deaths": 87},
        {"label": "short", "excluded_stays": 200, "stays": 112, "patients": 100, "deaths": 43},
        {"label": "window", "excluded_stays": 12, "stays": 100, "patients": 90, "deaths": 40},
    )

    def test_flow(self) -> None:
        table = cohort.flow_table(self.STEPS)
        assert table["step"].tolist() == ["all", "age; order; short", "window"]
        assert table["excluded_stays"].tolist() == ["", "207", "12"]
        assert table["stays"].tolist() == ["319", "112", "100"]
        # 43 would tell that the last step excluded three deaths.
        assert table["deaths"].tolist() == ["90", "withheld", "40"]

    def test_flow_that_excludes_fewer_than_ten_in_all_hides_the_source(self) -> None:
        table = cohort.flow_table(self.STEPS[:3])
        assert table["excluded_stays"].tolist() == ["", "<10"]
        assert table["stays"].tolist() == ["withheld", "312"]

    def test_damaged_flow_is_named(self, tmp_path: Path, run: RunFiles) -> None:
        write_json({"steps": [{"label": "all"}]}, tmp_path / "flow.json")
        with pytest.raises(UserError, match=r"flow\.json.*cohort flow"):
            cohort.write_cohort_tables(
                stays=run.stays, features=run.features, flow=tmp_path / "flow.json", profile="clinical",
                out_dir=tmp_path,
            )  # fmt: skip

    def test_small_groups_are_hidden(self) -> None:
        stays = pd.DataFrame(
            {
                "subject_id": np.arange(100),
                "died_in_hospital": np.arange(100) < 30,
                "sex": ["F"] * 3 + ["M"] * 97,
                "care_unit": ["MICU"] * 60 + [None] * 40,
                "source": "mimic3",
                "source_set": None,
                "age_years": np.linspace(20, 80, 100),
                "los_icu_days": 3.0,
                "los_hospital_days": 5.0,
            }
        )
        table = cohort.cohort_table(stays).set_index(["characteristic", "level"])
        assert table.loc[("Died in hospital", ""), "count"] == "30"
        assert table.loc[("Sex", "F"), "count"] == "<10" and table.loc[("Sex", "M"), "count"] == "withheld"
        assert table.loc["Sex", "percent"].isna().all()
        assert table.loc[("Care unit", "unknown"), "percent"] == 40.0
        assert table.loc[("Age [years]", ""), ["q25", "median", "q75"]].tolist() == [35.0, 50.0, 65.0]

    def test_missingness_equals_a_slow_loop(self, run: RunFiles) -> None:
        frame = read_frame(run.features)
        table = cohort.missingness_table(run.features, load_variables()).set_index("variable")
        values = frame["lactate"].dropna()
        assert table.loc["lactate", "median"] == pytest.approx(values.median())
        assert table.loc["lactate", "q25"] == pytest.approx(values.quantile(0.25))
        assert table.loc["lactate", "hours_percent"] == pytest.approx(100 * len(values) / len(frame))
        seen = sum(group["lactate"].notna().any() for _, group in frame.groupby("stay_id"))
        assert table.loc["lactate", "stays_observed"] == part_text(seen, 120)

    def test_missingness_of_rare_variables_and_of_the_carry_in_hour(self, tmp_path: Path) -> None:
        stay, hour = np.repeat(np.arange(50), 3), np.tile([-1, 0, 1], 50)
        frame = pd.DataFrame({"stay_id": stay, "hour": hour} | {v.name: np.nan for v in load_variables()})
        frame["heart_rate"] = np.where(hour == 0, 80.0, 999.0)
        frame.loc[hour == 1, "heart_rate"] = np.nan
        frame.loc[(stay < 4) & (hour == 0), "ph"] = 7.4
        path = tmp_path / "features.parquet"
        write_frame(frame, path, features_schema([v.name for v in load_variables()]))
        table = cohort.missingness_table(path, load_variables()).set_index("variable")
        assert table.loc["heart_rate", ["stays_observed", "hours_percent", "median"]].tolist() == [
            "50",
            50.0,
            80.0,
        ]
        assert table.loc["ph", "stays_observed"] == "<10"
        assert table.loc["ph", ["stays_percent", "hours_percent", "median"]].isna().all()
        assert table.loc["calcium", "stays_observed"] == "0"


class TestModels:
    @staticmethod
    def metrics(deaths: list[int], values: list[float]) -> pd.DataFrame:
        rows = [("lstm", 1, None, "auroc", 0.8, 0.7, 0.9, 100, 90, sum(deaths))]
        folds = zip(deaths, values, strict=True)
        rows += [("lstm", 1, k, "auroc", v, v - 0.1, v + 0.1, 50, 45, d) for k, (d, v) in enumerate(folds)]
        return pd.DataFrame(rows, columns=METRICS.names)

    def test_pooled_mean_and_folds(self) -> None:
        table = models.metrics_table(self.metrics([20, 12], [0.7, 0.9])).set_index("scope")
        assert table["value"].tolist() == [0.8, pytest.approx(0.8), 0.7, 0.9]
        assert table.loc["mean over folds", "sd_over_folds"] == pytest.approx(np.std([0.7, 0.9], ddof=1))
        assert math.isnan(table.loc["mean over folds", "low"])
        assert table["n_deaths"].tolist() == ["32", "32", "20", "12"]

    def test_one_small_fold_hides_all_folds(self) -> None:
        table = models.metrics_table(self.metrics([20, 4], [0.7, 0.9])).set_index("scope")
        assert table.loc[["fold 0", "fold 1"], "value"].isna().all()
        assert table.loc[["fold 0", "fold 1"], "n_deaths"].tolist() == ["withheld", "<10"]
        assert table.loc["pooled", "value"] == 0.8

    def test_few_deaths_hide_everything(self) -> None:
        table = models.metrics_table(self.metrics([3, 4], [0.7, 0.9]))
        assert table[["value", "low", "high", "sd_over_folds"]].isna().all(axis=None)

    def test_comparison_says_what_each_number_was_evaluated_on(self) -> None:
        table = models.metrics_table(self.metrics([20, 12], [0.7, 0.9]))
        rows = comparison_table(table, "synthetic records", "synthetic").query("metric == 'auroc'").set_index("study")
        assert rows.loc["sun2018", ["value", "evaluated_on"]].tolist() == [0.9094, "5-fold cross-validation"]
        assert rows.loc["reproduction2023", "evaluated_on"] == "the training data"
        ours = rows.loc["this run: lstm, seed 1"]
        assert ours["cohort"] == "synthetic records" and ours["evaluated_on"].startswith("2-fold cross-validation")
        assert ours[["value", "low", "high"]].tolist() == [0.8, 0.7, 0.9]

    def test_decisions_are_those_of_validation_and_of_a_half(self) -> None:
        rows = self.metrics([20, 12], [0.7, 0.9])
        measured = pd.concat([rows.assign(metric=name, value=value) for name, value in (("f1", 0.5), ("f1_half", 0.4))])
        table = comparison_table(models.metrics_table(measured), "MIMIC-III", "mimic3")
        ours = table[table["study"].str.startswith("this run")].set_index("threshold")
        assert ours["metric"].tolist() == ["f1", "f1"]
        assert ours.loc["0.5", "value"] == 0.4
        assert ours.loc["best F1 (Score1) on validation patients", "value"] == 0.5

    def test_marks_of_physionet2012_stand_beside_its_runs_only(self) -> None:
        table = models.metrics_table(self.metrics([20, 12], [0.7, 0.9]))
        there = comparison_table(table, "PhysioNet 2012", "physionet2012").set_index(["study", "metric"])
        assert there.loc[("grud2018", "auroc"), "value"] == 0.842
        assert there.loc[("challenge2012_winner", "score1"), ["value", "held_out"]].tolist() == [0.535, "yes"]
        assert there["value"].notna().all() and there["held_out"].notna().all()
        elsewhere = comparison_table(table, "MIMIC-III", "mimic3")
        assert not elsewhere["cohort"].str.contains("PhysioNet").any()

    def test_every_published_study_says_how_it_was_evaluated(self) -> None:
        studies = [*published_metrics()["study"], *published_marks()["study"]]
        assert sorted(studies) == sorted(published_evaluations()["study"])

    def test_thresholds_do_not_give_a_prediction_away(self) -> None:
        decisions = pd.DataFrame(
            {
                "model": "lstm", "seed": 0, "fold": [0, 1], "threshold_f1": 0.61234567, "threshold_score1": 0.5,
                "recalibration_intercept": -1.0, "recalibration_slope": 0.9, "n_stays": [80, 80], "n_deaths": [12, 9],
            }
        )  # fmt: skip
        table = models.decisions_table(decisions)
        assert table.loc[0, "threshold_f1"] == 0.612 and math.isnan(table.loc[1, "threshold_f1"])
        assert table["n_deaths"].tolist() == ["12", "<10"]

    def test_source_label(self) -> None:
        assert models.source_label({"source": {"kind": "mimic3", "version": "1.4"}}) == "MIMIC-III 1.4"
        assert models.source_label({"source": {"kind": "mimic4", "version": "3.1"}}) == "MIMIC-IV 3.1"
        assert models.source_label({"source": {"kind": "synthetic", "version": None}}) == "synthetic records"


class TestSubgroups:
    @staticmethod
    def table(stays: list[int], deaths: list[int]) -> pd.DataFrame:
        rows = pd.DataFrame({"level": list("abcdef")[: len(stays)], "n_stays": stays, "n_deaths": deaths})
        rows = rows.assign(model="lstm", seed=0, attribute="care_unit", metric="auroc", n_patients=stays)
        return subgroups_table(rows.assign(value=0.81239, low=0.7, high=0.9)).set_index("level")

    def test_large_levels_are_shown_to_three_decimals(self) -> None:
        table = self.table([60, 50], [20, 12])
        assert table["value"].tolist() == [0.812, 0.812]
        assert table["n_stays"].tolist() == ["60", "50"] and table["n_deaths"].tolist() == ["20", "12"]

    def test_a_small_level_takes_another_one_with_it(self) -> None:
        table = self.table([600, 500, 8], [70, 60, 2])
        assert table["n_stays"].tolist() == ["600", "withheld", "<10"]
        assert table["n_deaths"].tolist() == ["70", "withheld", "<10"]
        assert table["value"].notna().tolist() == [True, False, False]

    def test_a_level_too_large_to_be_read_off_keeps_its_values(self) -> None:
        assert self.table([900, 800, 8], [200, 150, 2])["value"].notna().tolist() == [True, True, False]

    def test_few_survivors_hide_the_deaths(self) -> None:
        table = self.table([100, 100, 12], [30, 40, 10])
        assert table.loc["c", "n_deaths"] == "withheld" and math.isnan(table.loc["c", "value"])

    @given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=6))
    def test_no_small_count_is_printed_or_follows(self, outcomes: list[tuple[int, int]]) -> None:
        deaths = [died for died, _ in outcomes]
        stays = [died + survived for died, survived in outcomes]
        table = self.table(stays, deaths)
        for column, truth in (("n_stays", stays), ("n_deaths", deaths)):
            printed = [int(text) for text in table[column] if text.isdigit()]
            hidden = sum(truth) - sum(printed)
            assert not any(0 < count < MINIMUM for count in printed)
            assert len(printed) == len(truth) or hidden >= MINIMUM or max(truth) < MINIMUM
        for died, total, text, value in zip(deaths, stays, table["n_deaths"], table["value"], strict=True):
            assert not (text.isdigit() and 0 < total - died < MINIMUM)
            assert math.isnan(value) or min(died, total - died) >= MINIMUM


class TestAttacks:
    def test_small_directions_lose_their_values(self, run: RunFiles) -> None:
        for stem in names.susceptibility_tables("lstm", "ista"):
            table = pd.read_csv(run.tables / f"{stem}.csv").set_index("direction")
            if "tradeoff" in stem:
                assert set(table.loc["1_to_0", "n_succeeded"]) == {"<10"}
                assert table.loc["1_to_0", ["mp_median", "pp_q25"]].isna().all(axis=None)
                continue
            assert set(table.loc["1_to_0", "n_stays"]) <= {"<10", "0"}
            assert table.loc["1_to_0", ["s", "s_q95", "s_high"]].isna().all(axis=None)
            large = table.loc["0_to_1"].query("basis == 'all'")
            assert large["s"].notna().sum() > 10 and set(large["n_patients"]) == {"50"}

    def test_cells_that_few_patients_changed_have_no_measures(self, run: RunFiles) -> None:
        key = ["direction", "basis", "hour", "variable"]
        exact = read_frame(run.measure("lstm", "ista", "cells")).query("policy == 'selected'").set_index(key)
        table = pd.read_csv(run.tables / "susceptibility_cells_lstm_ista.csv").set_index(key)
        measures = ["gmp", "gap", "gpp", "q95", "s", "s_q95", "s_low", "s_high", "s_q95_low", "s_q95_high"]
        shown = 0
        for (direction, *cell), row in table.iterrows():
            changed = exact.loc[(direction, *cell), "n_changed_patients"]
            if 1 <= changed <= 9:
                assert row["n_changed_patients"] == "<10" and row[measures].isna().all()
            elif exact.loc[(direction, *cell), "n_patients"] >= 10:
                assert row["n_changed_patients"] == str(changed) and row[measures].notna().all()
                shown += 1
        assert shown > 300 and (table["n_changed_patients"] == "<10").sum() > 300

    @pytest.mark.parametrize(("changed", "shown"), [((1, 0), False), ((9, 9), False), ((10, 1), True), ((0, 0), True)])
    def test_a_sum_over_cells_that_few_patients_changed_is_withheld(
        self, changed: tuple[int, int], shown: bool
    ) -> None:
        """The sum of one withheld cell is that cell's value."""
        label = {"model": "lstm", "mode": "ista", "direction": "0_to_1", "policy": "selected", "basis": "all"}
        cells = pd.DataFrame(label | {"variable": "ph", "hour": [0, 1], "n_changed_patients": changed})
        numbers = dict.fromkeys(("s", "s_low", "s_high", "s_q95", "s_q95_low", "s_q95_high"), 0.25)
        numbers |= {"n_stays": 40, "n_patients": 30, "n_cells": 2}
        ranks = dict.fromkeys(("rank", "rank_low", "rank_high"), 1)
        variables = pd.DataFrame([label | {"variable": "ph"} | numbers | ranks])
        (row,) = susceptibility.variables_table(variables, cells, load_variables()).to_dict("records")
        assert [pd.notna(row[name]) for name in ("s", "s_q95_high", "rank", "rank_s")] == [shown] * 4
        hours = pd.DataFrame([label | {"hour": hour} | numbers for hour in (0, 1)])
        table = susceptibility.hours_table(hours, cells)
        assert table["s"].notna().tolist() == [not 1 <= count <= 9 for count in changed]

    def test_summary(self, run: RunFiles) -> None:
        table = pd.read_csv(run.tables / "attack_summary.csv").set_index("direction")
        assert table.loc["0_to_1", "success_percent"] == pytest.approx(100 * 60 / 67, rel=1e-5)
        assert table.loc["1_to_0", "n_selected"] == "<10"
        assert table.loc["1_to_0", ["success_percent", "median_l1", "median_n_changed"]].isna().all()

    def test_variables_are_labelled_and_ranked_with_ties(self) -> None:
        rows = {"model": "lstm", "mode": "ista", "direction": "0_to_1", "variable": ["ph", "bun", "sbp"]}
        columns = {"n_stays": 40, "n_patients": 30, "s": [1.0, 3.0, 0.0], "s_q95": [0.5, 0.4, 0.0], "n_cells": 48}
        intervals = dict.fromkeys(("s_low", "s_q95_low"), 0.0) | dict.fromkeys(("s_high", "s_q95_high"), 1.0)
        ranks = {"rank": [1, 2, None], "rank_low": [1, 1, None], "rank_high": [2, 3, None]}
        frame = pd.DataFrame(rows | columns | intervals | ranks)
        parts = [frame.assign(policy="fixed", basis="all"), frame.assign(policy="selected", basis="all")]
        parts.append(frame.assign(policy="selected", basis="observed", n_stays=[20, 33, 9], n_patients=[20, 9, 9]))
        rows = pd.concat(parts, ignore_index=True)
        table = susceptibility.variables_table(rows, rows.assign(n_changed_patients=20), load_variables())
        assert table["policy"].tolist() == ["selected"] * 6 + ["fixed"] * 3
        first, observed = table.iloc[:3], table.iloc[3:6].set_index("variable")
        assert first["label"].tolist() == ["pH", "Urea nitrogen", "Systolic pressure"]
        assert first["rank"].tolist() == [1, 2, pd.NA] and first["rank_s"].tolist() == [2, 1, pd.NA], "S of 0: no rank"
        assert first["rank_high"].tolist() == [2, 3, pd.NA] and set(first["n_stays"]) == {"40"}
        assert observed.loc["ph", ["s", "rank", "n_stays", "n_patients"]].tolist() == [1.0, 1, "20", "20"]
        assert observed.loc["bun", ["s", "rank", "s_q95_low"]].isna().all(), "33 stays, but of 9 patients"
        assert observed.loc["bun", ["n_stays", "n_patients"]].tolist() == ["all but <10", "<10"]

    def test_cells_hide_small_numbers_of_observations(self, run: RunFiles) -> None:
        cells = read_frame(run.measure("lstm", "ista", "cells"))
        part = cells["hour"].where(cells["basis"] == "observed", cells["n_stays"])
        table = susceptibility.cells_table(
            cells.assign(n_stays=part, n_patients=part, n_changed_patients=12, gpp=0.5, s_q95_low=0.1)
        )
        assert set(table["policy"]) == {"selected"} and set(table["basis"]) == {"all", "observed"}
        large = table.query("direction == '0_to_1' and basis == 'observed'").set_index("hour")
        assert set(large.loc[1:9, "n_stays"]) == {"<10"} and large.loc[:9, ["gpp", "s_q95_low"]].isna().all(axis=None)
        assert set(large.loc[20, "n_stays"]) == {"20"} and set(large.loc[20, "gpp"]) == {0.5}

    def test_a_table_of_cells_can_be_carried_by_a_page(self, tmp_path: Path) -> None:
        scenario = MadeUpRun(stays=400, deaths=120, modes=("ista",), successes={"0_to_1": 150, "1_to_0": 100})
        files = scenario.write(tmp_path / "run")
        write_tables(files, scenario.profile)
        assert (files.tables / "susceptibility_cells_lstm_ista.csv").stat().st_size < 1_000_000

    def test_tradeoff_hides_small_numbers(self) -> None:
        rows = pd.DataFrame({"lambda": [0.1, 0.2, 0.3], "n_attacked": 60, "n_succeeded": [50, 20, 9]})
        rows = rows.assign(model="lstm", mode="ista", direction="0_to_1", n_patients=[40, 9, 9], n_selected=[44, 4, 12])
        rows = rows.assign(**{f"{m}_{q}": 0.5 for m in ("mp", "ap", "pp") for q in ("q25", "median", "q75")})
        table = susceptibility.tradeoff_table(rows)
        assert table["n_succeeded"].tolist() == ["50", "20", "<10"] and table["n_patients"].tolist() == [
            "40",
            "<10",
            "<10",
        ]
        assert table["n_selected"].tolist() == ["withheld", "<10", "12"]
        assert table["mp_median"].notna().tolist() == [True, False, False]


class TestAgreement:
    def test_a_verdict_on_few_patients_is_none(self, run: RunFiles) -> None:
        table = pd.read_csv(run.tables / "verdicts.csv", keep_default_na=False)
        few = table[table["direction"] == "1_to_0"].iloc[0]
        assert [few[name] for name in ("value", "low", "high", "n_stays", "n_patients")] == ["", "", "", "<10", "<10"]
        assert few["verdict"] == "cannot tell" and few["reason"] == agreement.FEW_PATIENTS
        assert set(table["claim"].astype(int)) == {1, 2, 3} and (table["verdict"] == "supported").sum() == 1

    def test_verdicts_without_counts_keep_their_numbers(self, run: RunFiles) -> None:
        rows = read_frame(run.agreement["verdicts"]).assign(n_stays=None, n_patients=None)
        table = agreement.verdicts_table(rows)
        assert table["value"].notna().all() and set(table["n_stays"]) == {""}

    def test_agreement_of_few_patients_is_hidden(self, run: RunFiles) -> None:
        table = pd.read_csv(run.tables / "stability.csv").set_index("across")
        assert table.loc["fold", "spearman"].notna().all()
        assert math.isnan(table.loc["seed", "spearman"]) and table.loc["seed", "n_patients"] == "<10"

    @pytest.mark.parametrize(("stays", "patients", "flipped", "shown"), [
        (50, 40, 30, True), (50, 40, 0, True), (50, 9, 30, False), (50, 40, 4, False), (9, 9, 9, False),
    ])  # fmt: skip
    def test_a_transfer_rate_gives_no_small_count_away(
        self, stays: int, patients: int, flipped: int, shown: bool
    ) -> None:
        row = {
            "n_stays": [stays],
            "n_patients": [patients],
            "n_flipped": [flipped],
            "rate": [0.5],
            "low": 0.4,
            "high": 0.6,
        }
        table = agreement.transfer_table(pd.DataFrame(row))
        assert table[["rate", "low", "high"]].notna().all(axis=None) == shown


class TestPublished:
    def test_ranks_average_ties(self) -> None:
        ranks = published_ranks("sun2018", "1_to_0", "clinical")
        assert ranks["creatinine"] == 1 and ranks["ph"] == ranks["albumin"] == 5.5

    @pytest.mark.parametrize(
        ("profile", "study", "shared"),
        [
            ("clinical", "sun2018", 19),
            ("clinical", "reproduction2023", 16),
            ("reproduction2023", "sun2018", 16),
            ("reproduction2023", "reproduction2023", 19),
        ],
    )
    def test_other_analytes_are_not_compared(self, profile: str, study: str, shared: int) -> None:
        ours = pd.Series({v.name: float(i) for i, v in enumerate(load_variables(profile))})
        n, spearman, kendall = rank_agreement(ours, published_scores(study, "0_to_1", profile))
        assert n == shared and abs(spearman) < 1 and abs(kendall) < 1

    def test_agreement_by_hand(self) -> None:
        ours = pd.Series({"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0, "only ours": 9.0})
        theirs = pd.Series({"a": 1.0, "b": 3.0, "c": 2.0, "d": 4.0, "only theirs": 0.0})
        n, spearman, kendall = rank_agreement(ours, theirs)
        assert (n, spearman, kendall) == (4, pytest.approx(0.8), pytest.approx(4 / 6))
        assert rank_agreement(ours, ours)[1:] == (pytest.approx(1.0), pytest.approx(1.0))
        assert math.isnan(rank_agreement(ours, theirs * 0)[1])

    def test_the_published_scores_of_a_run_agree_with_themselves(self) -> None:
        scores = published_scores("sun2018", "0_to_1", "clinical").rename("s").rename_axis("variable").reset_index()
        rows = scores.assign(
            model="lstm", mode="ista", direction="0_to_1", n_stays=50, n_patients=50, s_q95=scores["s"]
        )
        table = claims.ranks_table(rows, "clinical").set_index(["study", "measure"])
        assert table.loc[("sun2018", "s"), ["n_shared", "spearman", "kendall"]].tolist() == pytest.approx([19, 1, 1])

    def test_claims_by_hand(self) -> None:
        key = {"model": "lstm", "mode": "ista", "direction": "0_to_1", "n_stays": 40}
        hours = pd.DataFrame({"hour": range(8), "s": [0, 0, 0, 0, 1, 1, 2, 4], "s_q95": 1.0}).assign(**key)
        by_variable = pd.DataFrame({"variable": ["ph", "bun", "sbp", "dbp"], "s": [4.0, 3, 2, 1], "s_q95": 0.0})
        summary = pd.DataFrame([key | {"n_attacked": 50, "n_selected": 40, "median_n_changed": 8.0}])
        table = claims.claims_table(summary, by_variable.assign(**key), hours, load_variables(), "clinical")
        found = table.set_index(["quantity", "measure"])
        assert found.loc[(claims.LATE_SHARE, "s"), ["value", "even"]].tolist() == [0.75, 0.25]
        assert math.isnan(found.loc[(claims.HOUR_TREND, "s_q95"), "value"])
        assert found.loc[(claims.TOP_THREE, "s"), "value"] == pytest.approx(0.9)
        assert found.loc[(claims.LAB_SHARE, "s"), "value"] == pytest.approx(0.7)
        assert math.isnan(found.loc[(claims.LAB_SHARE, "s_q95"), "value"])
        assert found.loc[(claims.FLIPPED, ""), "value"] == 80.0
        assert found.loc[(claims.CHANGED, ""), "value"] == pytest.approx(100 * 8 / 32)

    def test_small_directions_make_no_claims(self, run: RunFiles) -> None:
        assert set(pd.read_csv(run.tables / "rank_comparison.csv")["direction"]) == {"0_to_1"}
        table = pd.read_csv(run.tables / "paper_claims.csv")
        assert table.loc[table["direction"] == "1_to_0", "value"].isna().all()


def test_every_named_table_is_written_and_no_other(run: RunFiles) -> None:
    assert {path.stem for path in run.tables.iterdir()} == set(names.all_tables(run.models, run.modes))


def test_no_identifier_in_any_table(run: RunFiles) -> None:
    text = "".join(path.read_text() for path in run.tables.iterdir())
    assert not [number for number in identifiers(run) if number in text]
