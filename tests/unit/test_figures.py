"""Figures: all are written, the same bytes twice, nobody is named, and odd inputs end in plain words."""

import io
import re
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from ehr_attack.errors import UserError
from ehr_attack.figures import (
    agreement,
    concentration,
    maps,
    models,
    names,
    patient,
    ranks,
    susceptibility,
    tradeoff,
)
from ehr_attack.figures.mistakes import plot_mistakes
from ehr_attack.figures.saving import save_figure
from ehr_attack.figures.style import new_figure, use_style
from ehr_attack.figures.subgroups import subgroups_figure
from ehr_attack.headline import headline
from ehr_attack.storage import read_frame
from ehr_attack.variables import load_variables
from report_builder import MadeUpRun, RunFiles, draw_figures, identifiers

VARIABLES = load_variables()
DPI = 50


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> RunFiles:
    """A run with one large and one small direction, and all its figures."""
    scenario = MadeUpRun(stays=120, deaths=40, modes=("ista",), successes={"0_to_1": 60, "1_to_0": 6})
    files = scenario.write(tmp_path_factory.mktemp("figures") / "run")
    draw_figures(files, scenario.profile, dpi=DPI)
    return files


def words(figure: Figure) -> str:
    """The text of a figure, line by line, as the SVG keeps it beside its glyphs."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg")
    return comments(buffer.getvalue())


def comments(svg: str) -> str:
    """The comments of an SVG: every text of the figure."""
    return "\n".join(re.findall(r"<!-- (.*?) -->", svg))


class TestNames:
    def test_stems_are_those_of_the_files(self, drawn: RunFiles) -> None:
        stems = {
            *names.COHORT_FIGURES,
            *names.AGREEMENT_FIGURES,
            *names.model_figures("lstm"),
            *names.attack_figures("lstm", "ista"),
        }
        assert {path.name for path in drawn.figures.iterdir()} == {f"{s}.{e}" for s in stems for e in ("svg", "png")}
        stems = set(names.patient_figures("lstm", "ista"))
        assert {path.name for path in drawn.private.iterdir()} == {f"{s}.{e}" for s in stems for e in ("svg", "png")}

    def test_each_has_a_caption_for_the_report_of_snakemake(self, project_dir: Path) -> None:
        stems = {*names.COHORT_FIGURES, *names.AGREEMENT_FIGURES, *names.MISTAKE_FIGURES, *names.tuning_figures("lstm")}
        stems |= {*names.model_figures("lstm"), *names.attack_figures("lstm", "ista")}
        kinds = {stem.partition("_")[0] for stem in stems}
        captions = {kind: project_dir / f"workflow/report/{kind}.rst" for kind in kinds}
        assert len(kinds) > 15 and all(len(path.read_text(encoding="utf-8")) > 60 for path in captions.values())

    def test_the_snakefile_can_import_them_without_heavy_packages(self, project_dir: Path) -> None:
        code = (
            "import sys, ehr_attack.figures.names; "
            "print({'matplotlib', 'numpy', 'pandas', 'pyarrow'} & set(sys.modules))"
        )
        environment = {"PYTHONPATH": str(project_dir / "scripts")}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "set()"


class TestFiles:
    def test_same_bytes_twice(self, drawn: RunFiles, tmp_path: Path) -> None:
        cells = read_frame(drawn.measure("lstm", "ista", "cells"))
        stem = "susceptibility_lstm_ista_0_to_1"
        with use_style("paper"):
            figure = maps.susceptibility_figure(headline(cells), "0_to_1", VARIABLES)
            title = "Susceptibility by hour and variable, 0_to_1, model lstm, attack ista"
            save_figure(figure, tmp_path, stem, dpi=DPI, title=title)
        for suffix in (".svg", ".png"):
            assert (tmp_path / stem).with_suffix(suffix).read_bytes() == (drawn.figures / stem).with_suffix(
                suffix
            ).read_bytes()

    def test_svg_has_a_title_but_no_date_and_no_long_digit_runs(self, drawn: RunFiles) -> None:
        for path in drawn.figures.glob("*.svg"):
            svg = path.read_text()
            assert "<title>" in svg and "dc:date" not in svg and len(svg) < 300_000, path.name
            without_images = re.sub(r'base64,[^"]*|[#"][A-Za-z0-9_]+"|url\(#\w+\)', "", svg)
            assert set(re.findall(r"\d{6,}", without_images)) <= {"015625"}, path.name  # 1/64, the glyphs' scale

    def test_png_resolution(self, drawn: RunFiles) -> None:
        with Image.open(drawn.figures / "hours_lstm_ista.png") as image:
            assert image.size == (round(7.0 * DPI), round(2.9 * DPI))
            assert "Software" not in image.info

    def test_nobody_is_named(self, drawn: RunFiles) -> None:
        numbers = identifiers(drawn)
        for path in [*drawn.figures.iterdir(), *drawn.private.iterdir()]:
            content = path.read_bytes().decode("latin-1")
            assert not [number for number in numbers if number in content], path.name
            assert "2150" not in comments(content), path.name

    def test_patient_figures_are_for_their_owner_only(self, drawn: RunFiles) -> None:
        assert stat.S_IMODE(drawn.private.stat().st_mode) == 0o700
        assert {stat.S_IMODE(path.stat().st_mode) for path in drawn.private.iterdir()} == {0o600}

    def test_unknown_style_is_named(self) -> None:
        with pytest.raises(UserError, match=r"plots\.style.*poster.*paper, talk"), use_style("poster"):
            pass

    def test_talk_is_larger_and_leaves_no_trace(self) -> None:
        with use_style("paper"):
            paper = new_figure(2.0)
            with use_style("talk"):
                talk = new_figure(2.0)
            again = new_figure(2.0)
        assert talk.get_figwidth() > paper.get_figwidth() == again.get_figwidth()


class TestMaps:
    def test_grid_by_hand(self) -> None:
        rows = pd.DataFrame({"variable": ["ph", "sbp", "ph"], "hour": [0, 2, 1], "s": [0.1, 0.2, np.nan]})
        grid = maps.as_grid(rows, "s", VARIABLES)
        place = [v.name for v in VARIABLES]
        assert grid.shape == (19, 3)
        assert grid[place.index("ph"), 0] == 0.1 and grid[place.index("sbp"), 2] == 0.2
        assert np.isfinite(grid).sum() == 2

    def test_groups_are_set_apart_once(self) -> None:
        assert maps.group_edges(VARIABLES) == [5.5]

    @pytest.mark.parametrize("draw", [maps.susceptibility_figure, maps.measures_figure])
    def test_small_empty_and_absent_directions_say_so(self, drawn: RunFiles, draw) -> None:
        cells = headline(read_frame(drawn.measure("lstm", "ista", "cells")))
        with use_style("paper"):
            assert "n = 60 stays" in words(draw(cells, "0_to_1", VARIABLES))
            small = words(draw(cells, "1_to_0", VARIABLES))
            assert "Fewer than 10 stays" in small and "Heart rate" not in small
            few = draw(cells.assign(n_patients=9), "0_to_1", VARIABLES)
            assert "stays or patients" in words(few)
            nobody = draw(cells.assign(n_stays=0), "0_to_1", VARIABLES)
            assert "No attack succeeded" in words(nobody)
            assert "No attack succeeded" in words(draw(cells[:0], "0_to_1", VARIABLES))

    def test_zero_and_missing_values(self, drawn: RunFiles) -> None:
        cells = headline(read_frame(drawn.measure("lstm", "ista", "cells"))).assign(s_q95=0.0)
        with use_style("paper"):
            assert "every value is zero" in words(maps.susceptibility_figure(cells, "0_to_1", VARIABLES))
            words(maps.susceptibility_figure(cells.assign(s_q95=np.nan), "0_to_1", VARIABLES))

    @pytest.mark.parametrize("draw", [maps.susceptibility_figure, maps.measures_figure])
    def test_cells_that_few_patients_changed_are_grey(self, drawn: RunFiles, draw) -> None:
        cells = headline(read_frame(drawn.measure("lstm", "ista", "cells"))).query("direction == '0_to_1'")
        counts = maps.as_grid(cells, "n_changed_patients", VARIABLES)
        few = (counts >= 1) & (counts <= 9)
        assert few.any() and not few.all()
        with use_style("paper"):
            figure = draw(cells, "0_to_1", VARIABLES)
            assert maps.FEW_WORDS in words(figure)
            assert maps.FEW_WORDS not in words(draw(cells.assign(n_changed_patients=10), "0_to_1", VARIABLES))
        drawn_maps = [axes for axes in figure.axes if len(axes.images) == 2]
        assert len(drawn_maps) == (1 if draw is maps.susceptibility_figure else 4)
        for axes in drawn_maps:
            values, grey = (image.get_array() for image in axes.images)
            assert (np.ma.getmaskarray(values) == few).all() and (np.ma.getmaskarray(grey) == ~few).all()
            assert values.max() <= axes.images[0].get_clim()[1], "the scale is of what is shown"
            assert axes.images[0].get_clim()[1] in (1.0, pytest.approx(values.max()))

    def test_sums_hold_what_is_grey(self, drawn: RunFiles) -> None:
        cells = headline(read_frame(drawn.measure("lstm", "ista", "cells"))).query("direction == '0_to_1'")
        with use_style("paper"):
            figure = maps.susceptibility_figure(cells, "0_to_1", VARIABLES)
        bars = [bar.get_height() for axes in figure.axes for bar in axes.patches if bar.get_width() == 0.8]
        hours = cells.groupby("hour")
        few = hours["n_changed_patients"].max().between(1, 9)
        assert few.any() and (hours["n_changed_patients"].max() >= 10).any()
        assert bars == pytest.approx(hours["s_q95"].sum().where(~few).tolist(), nan_ok=True)

    def test_labels_have_units(self, drawn: RunFiles) -> None:
        cells = headline(read_frame(drawn.measure("lstm", "ista", "cells")))
        with use_style("paper"):
            text = words(maps.susceptibility_figure(cells, "0_to_1", VARIABLES)).splitlines()
        assert {"Temperature [°C]", "Creatinine [mg/dL]", "pH", "Hour since ICU admission"} <= set(text)


class TestAttackFigures:
    def test_bars_are_sorted_and_carry_the_papers_ranks(self) -> None:
        rows = pd.DataFrame({"variable": ["ph", "sodium"], "s": [1.0, 2.0], "s_q95": [0.4, 0.6]})
        rows = rows.assign(direction="0_to_1", n_stays=50, s_q95_low=[np.nan, 0.5], s_q95_high=[np.nan, 0.9])
        rows = rows.assign(policy="selected", basis="all", n_patients=40)
        observed = rows.assign(basis="observed", s_q95=[0.1, 0.2], n_patients=[40, 9])
        other = rows.assign(policy="fixed", s_q95=9.0)
        rows = pd.concat([rows, observed, other])
        with use_style("paper"):
            plain = susceptibility.variables_figure(rows, VARIABLES, None)
            ranked = susceptibility.variables_figure(rows, VARIABLES, "clinical")
        labels = [text.get_text() for text in plain.axes[0].get_yticklabels()]
        assert labels == ["Sodium", "pH"]
        assert [bar.get_width() for bar in plain.axes[0].patches] == [0.6, 0.4]
        (triangles,) = (
            line.get_xdata() for line in plain.axes[0].lines[2:] if line.get_marker() == ">" and len(line.get_xdata())
        )
        assert np.isnan(triangles[0]) and triangles[1] == 0.1, (
            "of the 9 patients with a recorded sodium nothing is drawn"
        )
        assert "rank in" not in words(plain) and "rank in" in words(ranked)
        shown = [text.get_text() for text in ranked.axes[0].texts]
        assert shown[:2] == ["1", "12"]

    def test_one_direction_without_intervals(self, drawn: RunFiles) -> None:
        hours = read_frame(drawn.measure("lstm", "ista", "hours")).query("direction == '0_to_1'")
        hours = hours.assign(s_q95_low=np.nan, s_q95_high=np.nan)
        curves = read_frame(drawn.measure("lstm", "ista", "curves")).query("direction == '0_to_1'")
        with use_style("paper"):
            assert "1→0, death to survivor: none flipped" in words(susceptibility.hours_figure(hours))
            assert "n = 67 attacked" in words(susceptibility.success_figure(curves))

    def test_small_directions_are_not_drawn(self, drawn: RunFiles) -> None:
        hours = read_frame(drawn.measure("lstm", "ista", "hours"))
        with use_style("paper"):
            figure = susceptibility.hours_figure(hours)
        assert "fewer than 10 stays" in words(figure)
        assert [sum(len(line.get_xdata()) > 0 for line in axes.lines) for axes in figure.axes] == [1, 1]

    def test_success_of_few_stays_is_not_drawn(self) -> None:
        """Of 60 attacked 1, 9, 10 and 30 are flipped: the curve starts at 10, and one that ends at 9 is not there."""
        rows = pd.DataFrame({"allowed": [0.1, 0.2, 0.3, 0.4], "success_rate": [1 / 60, 9 / 60, 10 / 60, 30 / 60]})
        rows = pd.concat([rows.assign(budget=budget) for budget in ("linf", "share")]).assign(n_attacked=60)
        late = rows.assign(direction="0_to_1")
        for other, label in ((rows[rows["allowed"] < 0.25], "fewer than 10 of 60 flipped"),
                             (rows.assign(success_rate=0.0), "n = 60 attacked")):  # fmt: skip
            with use_style("paper"):
                figure = susceptibility.success_figure(pd.concat([late, other.assign(direction="1_to_0")]))
                assert f"1→0, death to survivor: {label}" in words(figure) or f"({label})" in words(figure)
            first, second = (line for line in figure.axes[0].lines)
            assert first.get_xdata().tolist() == [0.3, 0.4]
            assert first.get_ydata().tolist() == pytest.approx([100 / 6, 50])
            assert list(second.get_ydata()) == ([] if "fewer" in label else [0.0] * 4)

    def test_sums_over_cells_that_few_patients_changed_are_not_drawn(self, drawn: RunFiles, tmp_path: Path) -> None:
        files = {kind: drawn.measure("lstm", "ista", kind) for kind in ("variables", "hours", "curves", "tradeoff")}
        path = drawn.measure("lstm", "ista", "cells")
        cells = read_frame(path)
        cells["n_changed_patients"] = cells["n_changed_patients"].mask(cells["variable"] == "ph", 9)
        sums = susceptibility._without_few(read_frame(files["variables"]), cells, "variable").set_index("variable")
        assert sums.loc["ph", ["s", "s_q95", "s_high", "rank"]].isna().all(axis=None)
        most = cells.groupby("variable")["n_changed_patients"].max()
        assert sums.loc[most.idxmax(), "s"].notna().any()

    def test_nothing_at_all(self, drawn: RunFiles) -> None:
        kinds = ("variables", "hours", "curves")
        none = {kind: read_frame(drawn.measure("lstm", "ista", kind))[:0] for kind in kinds}
        with use_style("paper"):
            assert "No attack succeeded" in words(
                susceptibility.variables_figure(none["variables"], VARIABLES, "clinical")
            )
            words(susceptibility.hours_figure(none["hours"]))
            words(susceptibility.success_figure(none["curves"]))

    def test_hours_with_the_null_beside_them(self, drawn: RunFiles) -> None:
        hours = read_frame(drawn.measure("lstm", "ista", "hours"))
        with use_style("paper"):
            figure = susceptibility.hours_figure(hours, hours.assign(s_q95=0.25))
        assert "hours exchangeable" in words(figure)
        for axes, basis in zip(figure.axes, ("all", "observed"), strict=True):
            rows = headline(hours, basis=basis).query("direction == '0_to_1'").sort_values("hour")
            own, null = (line.get_ydata() for line in axes.lines if len(line.get_ydata()))
            known = rows["n_patients"] >= 10
            assert np.asarray(own)[known].tolist() == rows.loc[known, "s_q95"].tolist()
            assert np.isnan(np.asarray(own)[~known]).all()
            assert (np.asarray(null)[known] == 0.25).all() and np.isnan(np.asarray(null)[~known]).all()

    def test_a_null_of_few_patients_is_not_drawn(self, drawn: RunFiles) -> None:
        hours = read_frame(drawn.measure("lstm", "ista", "hours"))
        null = hours.assign(s_q95=0.25, n_patients=np.where(hours["hour"] < 20, 9, 40))
        with use_style("paper"):
            line = susceptibility.hours_figure(hours, null).axes[0].lines[1]
        assert np.isnan(np.asarray(line.get_ydata())).tolist() == [hour < 20 for hour in range(48)]


class TestConcentration:
    def test_shares_by_hand(self) -> None:
        rows = pd.DataFrame({"hour": [0, 0, 1, 1], "s_q95": [0.0, 1.0, 2.0, np.nan]})
        by_cell, by_hour = concentration.concentration(rows)
        assert by_cell.to_dict() == pytest.approx({0: 0, 25: 2 / 3, 50: 1, 75: 1, 100: 1})
        assert by_hour.to_dict() == pytest.approx({-0.5: 0, 0.5: 1 / 3, 1.5: 1})

    def test_a_direction_a_line_a_basis(self, drawn: RunFiles) -> None:
        cells = read_frame(drawn.measure("lstm", "ista", "cells"))
        with use_style("paper"):
            text = words(concentration.cumulative_figure(cells))
            assert "0→1, survivor to death: observed cells only" in text and "1→0" not in text
            assert "Fewer than 10 stays" in words(concentration.cumulative_figure(cells.assign(n_patients=4)))


class TestRanks:
    ROWS = pd.DataFrame(
        {"variable": ["ph", "sodium", "bun"], "s_q95": [0.4, 0.6, 0.4], "s": [1.0, 2.0, 3.0],
         "rank_low": [1, 1, 2], "rank_high": [3, 2, 3], "direction": "0_to_1", "n_stays": 50, "n_patients": 40}
    )  # fmt: skip

    def test_ours_and_theirs_by_hand(self) -> None:
        theirs = pd.Series({"ph": 7.0, "sodium": 2.0, "bun": 7.0})
        table = ranks.compared_ranks(self.ROWS, theirs)
        assert table["variable"].tolist() == ["sodium", "bun", "ph"]
        assert table["ours"].tolist() == [1, 2, 2] and table["theirs"].tolist() == [1, 2.5, 2.5]
        assert table["low"].tolist() == [1, 2, 1] and table["high"].tolist() == [2, 3, 3]

    def test_among_others_there_is_no_interval(self) -> None:
        table = ranks.compared_ranks(self.ROWS, pd.Series({"ph": 1.0, "sodium": 2.0}))
        assert table["variable"].tolist() == ["sodium", "ph"] and table["theirs"].tolist() == [2, 1]
        assert table[["low", "high"]].isna().all(axis=None)

    def test_a_small_direction_says_so(self, drawn: RunFiles) -> None:
        table = headline(read_frame(drawn.measure("lstm", "ista", "variables")))
        with use_style("paper"):
            figure = ranks.ranks_figure(table, VARIABLES, "clinical")
            text = words(figure)
        assert "Fewer than 10 stays or patients" in text and "laboratory: 95 % interval of the rank" in text
        large = table[table["direction"] == "0_to_1"]
        assert len(figure.axes[1].lines) == 2 * (large["s_q95"] > 0).sum() and not figure.axes[3].lines
        assert text.count("no rank") == (large["s_q95"] == 0).sum() > 0

    def test_a_variable_that_nothing_changes_has_no_rank(self) -> None:
        rows = self.ROWS.assign(s_q95=[0.0, 0.6, 0.0], rank_low=[None, 1, None], rank_high=[None, 2, None])
        table = ranks.compared_ranks(rows, pd.Series({"ph": 7.0, "sodium": 2.0, "bun": 7.0}))
        assert table["variable"].tolist() == ["sodium", "bun", "ph"] and table["theirs"].tolist() == [1, 2.5, 2.5]
        assert table["ours"].iloc[0] == 1 and table.loc[1:, ["ours", "low", "high"]].isna().all(axis=None)


class TestTradeoff:
    def test_points_quartiles_and_rings(self) -> None:
        rows = pd.DataFrame({"lambda": [0.1, 0.3, 0.2], "n_succeeded": [50, 30, 9], "n_patients": [40, 25, 9]})
        sizes = {"mp_q25": [0.1, 0.2, 0.9], "mp_median": [0.2, 0.3, 0.9], "mp_q75": [0.3, 0.6, 0.9]}
        shares = {"pp_q25": 0.01, "pp_median": [0.04, 0.02, 0.9], "pp_q75": 0.05}
        rows = rows.assign(**sizes, **shares, n_selected=[46, 0, 4], direction="0_to_1")
        with use_style("paper"):
            figure = tradeoff.tradeoff_figure(rows)
            text = words(figure)
        path, *others = figure.axes[0].lines
        assert path.get_xdata().tolist() == pytest.approx([4, 2]) and path.get_ydata().tolist() == [0.2, 0.3]
        rings = [line for line in others if line.get_markersize() > 8 and len(line.get_xdata()) == 1]
        assert [ring.get_ydata()[0] for ring in rings] == [0.2], "fewer than ten selected stays have no ring"
        assert "λ = 0.1" in text and "λ = 0.2" not in text and "No attack succeeded" in text

    def test_a_mode_without_lambda_is_a_point(self) -> None:
        row = {"lambda": [np.nan], "n_succeeded": 50, "n_patients": 40, "n_selected": 50, "direction": "0_to_1"}
        sizes = {f"{name}_{part}": 0.1 for name in ("mp", "ap", "pp") for part in ("q25", "median", "q75")}
        with use_style("paper"):
            figure = tradeoff.tradeoff_figure(pd.DataFrame(row | sizes))
            assert "λ = " not in words(figure) and len(figure.axes[0].lines[0].get_xdata()) == 1


class TestAgreement:
    def test_pairs_stand_both_ways_round(self, drawn: RunFiles) -> None:
        table = read_frame(drawn.agreement["stability"])
        with use_style("paper"):
            figure = agreement.agreement_figure(table)
            text = words(figure)
        matrix = np.asarray(figure.axes[0].images[0].get_array())
        assert matrix == pytest.approx(np.array([[1, 0.9, 0.9], [0.9, 1, 0.8], [0.9, 0.8, 1]]))
        assert "Across folds: hours" in text and "seeds" not in text and "0.12" not in text

    def test_transfer_of_few_is_not_drawn(self, drawn: RunFiles) -> None:
        table = read_frame(drawn.agreement["transfer"])
        with use_style("paper"):
            figure = agreement.transfer_figure(table)
            text = words(figure)
        assert text.count("60%") == 2 and "57%" not in text and "lstm, seed 2" in text
        assert np.ma.getmaskarray(figure.axes[1].images[0].get_array()).all(), "the small direction"

    def test_nothing_to_compare_is_said(self, drawn: RunFiles) -> None:
        with use_style("paper"):
            nothing = agreement.agreement_figure(read_frame(drawn.agreement["stability"])[:0])
            assert "Nothing to compare" in words(nothing)
            assert "Nothing to transfer" in words(
                agreement.transfer_figure(read_frame(drawn.agreement["transfer"])[:0])
            )


class TestModelFigures:
    def test_scores_with_and_without_interval(self, drawn: RunFiles) -> None:
        curves, metrics = read_frame(drawn.model_curves("lstm")), read_frame(drawn.metrics("lstm"))
        with use_style("paper"):
            assert "AUROC 0.86 (0.83 to 0.89)" in words(models.roc_figure(curves, metrics))
            bare = words(models.pr_figure(curves, metrics.assign(low=np.nan, high=np.nan)))
            assert "AUPRC 0.51" in bare and "0.51 (" not in bare
            calibration = words(models.calibration_figure(curves, metrics))
            assert "Brier score 0.10" in calibration and "recalibrated: Brier score 0.09" in calibration
            once = curves[curves["curve"] != "recalibrated"]
            assert "recalibrated" not in words(models.calibration_figure(once, metrics))

    def test_subgroups_are_named_and_small_ones_not_drawn(self, drawn: RunFiles) -> None:
        table = read_frame(drawn.subgroups("lstm"))
        with use_style("paper"):
            figure = subgroups_figure(table)
            text = words(figure)
            assert "Sex: F" in text and "Care unit: CCU" in text and "TSICU" in text and "withheld" in text
            (line,) = figure.axes[0].containers[0].lines[:1]
            assert np.isfinite(line.get_xdata()).sum() < len(line.get_xdata())
            assert "Undefined or withheld" in words(subgroups_figure(table.assign(n_deaths=3)))

    @pytest.mark.parametrize(("deaths", "text"), [(0, "one outcome only"), (4, "withheld"), (116, "withheld")])
    def test_few_deaths_or_survivors_are_withheld(self, drawn: RunFiles, deaths: int, text: str) -> None:
        curves, metrics = read_frame(drawn.model_curves("lstm")), read_frame(drawn.metrics("lstm"))
        with use_style("paper"):
            for draw in (models.roc_figure, models.pr_figure, models.calibration_figure):
                assert text in words(draw(curves, metrics.assign(n_deaths=deaths)))

    def test_training_without_epochs_and_without_auroc(self, drawn: RunFiles) -> None:
        history = read_frame(drawn.histories("lstm")[0])
        with use_style("paper"):
            assert "not trained in epochs" in words(models.training_figure(pd.DataFrame()))
            assert "AUROC undefined" in words(models.training_figure(history.assign(validation_auroc=np.nan)))


class TestMistakes:
    def test_a_line_a_run_and_wrong_ones_are_called_so(self, drawn: RunFiles, tmp_path: Path) -> None:
        files = [drawn.measure("lstm", "ista", "hours")] * 3
        made = ["", "control", "transposed_axis"]
        plot_mistakes(hours=files, mistakes=made, out_dir=tmp_path, dpi=DPI, style="paper")
        text = comments((tmp_path / "mistakes_hours.svg").read_text(encoding="utf-8"))
        assert "right run, another seed" in text and "WRONG: transposed axis" in text
        assert (tmp_path / "mistakes_hours.png").is_file()


class TestPatient:
    PLAIN = {"model": "lstm", "mode": "ista", "profile": "clinical", "dpi": DPI, "style": "paper"}  # noqa: RUF012

    def test_median_attack(self) -> None:
        attacks = pd.DataFrame(
            {
                "direction": "0_to_1",
                "n_changed": [9, 2, 5, 5, 40],
                "l1": [1.0, 1, 3, 2, 1],
                "seed": 1,
                "stay_id": range(5),
            }
        )
        assert patient.median_attack(attacks, "0_to_1")["stay_id"] == 2
        assert patient.median_attack(attacks[:4], "0_to_1")["stay_id"] == 3
        assert patient.median_attack(attacks, "1_to_0") is None

    def test_changes_in_clinical_units(self) -> None:
        record = pd.DataFrame({"hour": [-1, 0, 1]} | {v.name: np.nan for v in VARIABLES})
        record["creatinine"] = [9.9, np.nan, 1.1]
        changes = pd.DataFrame(
            {
                "hour": [0, 1, 1],
                "variable": ["creatinine", "creatinine", "ph"],
                "delta_scaled": [0.1, 0.4, -0.2],
                "delta_clinical": [0.2, 0.54, -0.031],
            }
        )
        attack = pd.Series({"direction": "0_to_1", "p_clean": 0.2, "p_adversarial": 0.51})
        sizes = {"lambda": [0.015, 0.001], "linf": [0.4, 0.2], "n_changed": [3, 8], "selected": [True, False]}
        with use_style("paper"):
            figure = patient.patient_figure(attack, changes, record, pd.DataFrame(sizes), VARIABLES)
            text = words(figure)
        path, chosen = figure.axes[1].lines
        assert path.get_xdata().tolist() == pytest.approx([800 / 38, 300 / 38]) and path.get_ydata().tolist() == [
            0.2,
            0.4,
        ]
        assert chosen.get_ydata().tolist() == [0.4]
        assert "λ = 0.015" in text and "Changed cells, PP [% of all]" in text
        assert "h 1: 1.1 → 1.6 mg/dL" in text
        assert "h 1: −0.031 (imputed)" in text  # noqa: RUF001
        assert "3 of 38 cells changed" in text and "20% to 51%" in text

    def test_direction_without_success_says_so(self, tmp_path: Path) -> None:
        scenario = MadeUpRun(stays=40, deaths=12, modes=("ista",), successes={"0_to_1": 0, "1_to_0": 0}, hours=6)
        files = scenario.write(tmp_path / "run")
        tables = {name: files.attacks("lstm", "ista", name) for name in ("outcomes", "perturbations")}
        patient.plot_patient(**self.PLAIN, **tables, features=files.features, out_dir=files.private)
        assert "No attack succeeded" in (files.private / "patient_lstm_ista_0_to_1.svg").read_text()

    def test_missing_table_is_named(self, tmp_path: Path) -> None:
        absent = {"outcomes": [tmp_path / "absent.parquet"], "perturbations": [], "features": tmp_path}
        with pytest.raises(UserError, match=r"absent\.parquet"):
            patient.plot_patient(**self.PLAIN, **absent, out_dir=tmp_path)
