"""The report: self-contained, the same bytes twice, nobody named, and honest about small numbers."""

import base64
import gzip
import hashlib
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ehr_attack import findings, page
from ehr_attack.directions import DIRECTIONS
from ehr_attack.errors import UserError
from ehr_attack.figures import names
from ehr_attack.figures.saving import save_figure
from ehr_attack.figures.style import SEQUENTIAL, new_figure, use_style
from ehr_attack.provenance import provenance
from ehr_attack.public_config import public_config
from ehr_attack.schemas.susceptibility import CELLS, HOURS, TRADEOFF, VARIABLES
from ehr_attack.storage import read_frame, write_csv, write_frame
from ehr_attack.summaries import mistakes
from ehr_attack.summaries.claims import LATE_SHARE
from report_builder import MadeUpRun, RunFiles, identifiers, make_report, place_figures, write_tables


def tables_of(scenario: MadeUpRun, folder: Path) -> RunFiles:
    """The run with its tables and drawings in the place of figures."""
    files = scenario.write(folder / "run")
    write_tables(files, scenario.profile)
    place_figures(files)
    return files


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFiles:
    """A run with one large and one small direction."""
    scenario = MadeUpRun(stays=120, deaths=40, successes={"0_to_1": 60, "1_to_0": 6})
    return tables_of(scenario, tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def html(run: RunFiles) -> str:
    return make_report(run)


class Page(HTMLParser):
    """What the tests ask of a page: its ids, links, images, tables and words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.tags: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append(tag)
        self.ids += [found["id"]] if found.get("id") else []
        self.links += [found[name] for name in ("href", "src") if found.get(name)]
        self.images += [found] if tag == "img" else []

    def handle_data(self, data: str) -> None:
        self.words += " ".join(data.split()) + " "


class TestPage:
    def test_it_needs_nothing_from_outside(self, html: str) -> None:
        parsed = Page(html)
        assert all(link.startswith(("#", "data:")) for link in parsed.links)
        without_scripts = re.sub(r"<script.*?</script>", "", html, flags=re.S)
        assert "url(" not in without_scripts and "@import" not in without_scripts
        assert "default-src 'none'" in html and "unsafe-eval" not in html

    def test_only_its_own_script_and_that_of_plotly_may_run(self, html: str) -> None:
        policy = re.search(r"script-src ([^;]*);", html)
        assert policy
        allowed = set(policy[1].split())
        (own,) = re.findall(r"<script>(.*?)</script>", html, flags=re.S)
        (packed,) = re.findall(r'<script type="text/plain" id="plotly">data:[^,]*,(.*?)</script>', html)
        plotly = gzip.decompress(base64.b64decode(packed))
        digests = [hashlib.sha256(script).digest() for script in (own.encode(), plotly)]
        assert allowed == {f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests}
        assert "onclick" not in html and b"plotly.js v" in plotly[:200]

    def test_every_link_resolves_and_ids_are_unique(self, html: str) -> None:
        parsed = Page(html)
        assert {link[1:] for link in parsed.links if link.startswith("#")} <= set(parsed.ids)
        assert len(parsed.ids) == len(set(parsed.ids))

    def test_every_section_is_in_the_contents(self, html: str) -> None:
        sections = re.findall(r'<section id="([a-z]+)"', html)
        assert sections[0] == "brief" and {"cohort", "model", "attack", "susceptibility", "paper"} < set(sections)
        assert {f"#{name}" for name in sections} <= set(re.findall(r'<a href="(#[a-z]+)"', html))

    def test_figures_have_alternative_texts_and_sizes(self, run: RunFiles, html: str) -> None:
        images = Page(html).images
        stems = [
            *names.COHORT_FIGURES,
            *names.AGREEMENT_FIGURES,
            *names.model_figures("lstm"),
            *(s for mode in run.modes for s in names.attack_figures("lstm", mode)),
        ]
        withheld = len(run.modes)  # the measures of the small direction
        assert len(images) == len(stems) - withheld + 2 * len(run.modes)
        for image in images:
            assert len(str(image["alt"])) > 20 and (image["width"], image["height"]) == ("672", "360")

    def test_tables_have_captions_and_head_cells(self, html: str) -> None:
        tables = re.findall(r"<table>(.*?)</table>", html, flags=re.S)
        assert len(tables) > 10
        assert all("<caption>" in table and "<th scope" in table for table in tables)

    def test_same_bytes_twice(self, run: RunFiles, html: str) -> None:
        assert make_report(run) == html

    def test_nobody_is_named(self, run: RunFiles, html: str) -> None:
        embedded = [base64.b64decode(data) for data in re.findall(r"base64,([A-Za-z0-9+/=]+)", html)]
        embedded = [gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data for data in embedded]
        text = "\n".join([html, *(data.decode("latin-1") for data in embedded)])
        assert not [number for number in identifiers(run) if number in text]

    def test_downloads_are_the_tables(self, run: RunFiles, html: str) -> None:
        found = dict(re.findall(r'download="([^"]+)" href="data:[a-z/]+;base64,([^"]+)"', html))
        assert {name.removesuffix(".gz") for name in found} == {
            f"{stem}.csv" for stem in names.all_tables(run.models, run.modes)
        }
        for name, data in found.items():
            content, table = base64.b64decode(data), (run.tables / name.removesuffix(".gz")).read_bytes()
            assert name.endswith(".gz") == (len(table) > page.PACKED_BYTES)
            assert (gzip.decompress(content) if name.endswith(".gz") else content) == table
        assert "susceptibility_cells_lstm_ista.csv.gz" in found and "verdicts.csv" in found

    def test_words_of_the_config_are_escaped(self, run: RunFiles) -> None:
        text = make_report(run, run__name="<b>bold & brave</b>")
        assert "<b>bold" not in text and "&lt;b&gt;bold &amp; brave" in text

    def test_missing_inputs_are_named(self, run: RunFiles, tmp_path: Path) -> None:
        files = RunFiles(tmp_path, run.models, run.modes, run.folds, run.seeds)
        with pytest.raises(UserError, match=r"cohort_flow\.csv"):
            make_report(files)
        write_from = [(path, files.tables / path.name) for path in run.tables.iterdir()]
        files.tables.mkdir()
        for source, target in write_from:
            target.write_bytes(source.read_bytes())
        with pytest.raises(UserError, match=r"\.svg: the figure is missing"):
            make_report(files)


class TestContent:
    def test_numbers_of_the_tables_are_on_the_page(self, html: str) -> None:
        words = Page(html).words
        for text in ("0.86 (0.83 to 0.89)", "33.3%", "89.6%", "Sun et al. 2018", "0.91", "Python 3.11.9"):
            assert text in words, text

    def test_calibration_is_shown_before_and_after(self, html: str) -> None:
        words = Page(html).words
        assert "Calibration of the model's own probabilities" in words and "\N{MINUS SIGN}1.21" in words
        assert "Calibration after recalibration on validation patients" in words and "\N{MINUS SIGN}0.04" in words

    def test_decisions_at_a_half_are_told_apart(self, html: str) -> None:
        words = Page(html).words
        at_half = words.partition("Decisions at probability 0.5, as the attack takes them")[2]
        assert "0.81" in at_half.partition("Calibration")[0] and "best F1 (Score1) on validation patients" in words

    def test_small_subgroups_are_withheld(self, html: str) -> None:
        subgroups = html.partition(", by subgroup")[2]
        row = re.search(r"Care unit: TSICU</th>(.*?)</tr>", subgroups, re.DOTALL)
        assert row and "&lt;10" in row[1] and "0.86" not in row[1]
        row = re.search(r"Sex: F</th>(.*?)</tr>", subgroups, re.DOTALL)
        assert row and "0.86" in row[1]

    def test_small_directions_are_withheld(self, html: str) -> None:
        words = Page(html).words
        assert "Fewer than ten stays of this direction were attacked." in words
        assert "1→0 (deaths predicted to survive): fewer than ten stays were flipped. The map is withheld." in words

    def test_single_patients_come_under_a_banner_or_not_at_all(self, run: RunFiles) -> None:
        shown = make_report(run)
        assert "Single records, synthetic." in shown
        real = make_report(run, source__kind="mimic3")
        assert "data use agreement may forbid" in real
        hidden = make_report(run, patients=False)
        assert "Single patients" not in hidden and 'id="patients"' not in hidden

    @pytest.mark.parametrize(
        ("kind", "notice"),
        [
            ("synthetic", "contain nothing from real patients"),
            ("mimic3", "Open Database License (ODbL) v1.0"),
            ("mimic3", "Credentialed Health Data Use Agreement"),
            ("mimic4", "Credentialed Health Data Use Agreement"),
            ("physionet2012", "Open Data Commons Attribution License"),
        ],
    )
    def test_each_source_has_its_licence_notice(self, run: RunFiles, kind: str, notice: str) -> None:
        words = Page(make_report(run, source__kind=kind)).words
        assert notice in words
        assert ("Synthetic records." in words) == (kind == "synthetic")

    def test_the_records_are_named_by_source_and_shape(self, run: RunFiles) -> None:
        def shown(**changes: str) -> str:
            return Page(make_report(run, **changes)).words

        assert "synthetic, MIMIC-III-shaped; variable profile" in shown()
        assert "synthetic, MIMIC-IV-shaped; variable profile" in shown(synthetic__shape="mimic4")
        real = shown(source__kind="mimic4", source__version="3.1", synthetic__shape="mimic3")
        assert "MIMIC-IV tables, release 3.1; variable profile" in real

    def test_a_run_with_no_success_at_all(self, tmp_path: Path) -> None:
        scenario = MadeUpRun(stays=60, deaths=6, successes={"0_to_1": 0, "1_to_0": 0}, modes=("ista",), hours=6)
        words = Page(make_report(tables_of(scenario, tmp_path))).words
        assert "The cohort holds only <10 deaths." in words
        assert "Fewer than ten stays were flipped in every direction: nothing can be ranked." in words

    def test_one_direction_one_fold_no_intervals(self, tmp_path: Path) -> None:
        odd = {
            "folds": 1,
            "intervals": False,
            "zero_map": True,
            "profile": "reproduction2023",
            "seeds": (1, 2),
        }
        scenario = MadeUpRun(stays=60, deaths=20, successes={"0_to_1": 30}, modes=("ista",), hours=6, **odd)
        words = Page(make_report(tables_of(scenario, tmp_path), run__seeds=[1, 2])).words
        assert "the interval of the held-out AUROC is not above 0.5" in words
        assert "One training seed" not in words

    def test_the_page_stays_small(self, html: str) -> None:
        assert len(html) < 3_500_000


class TestVerdicts:
    @staticmethod
    def section(html: str, name: str) -> str:
        return html.partition(f'<section id="{name}">')[2].partition("</section>")[0]

    def test_each_test_has_its_verdict_effect_interval_and_sentence(self, html: str) -> None:
        section = self.section(html, "verdicts")
        assert html.index('<section id="verdicts">') < html.index('<section id="run">')
        (row,) = [
            row for row in re.findall(r"<tr>.*?</tr>", section, flags=re.S) if "Slope above" in row and "0→1" in row
        ]
        for text in (
            '<span class="badge yes">supported</span>',
            "0.80 <span>(0.20 to 1.40)</span>",
            "0→1, all",
            "for the data at hand",
        ):
            assert text in row, text

    def test_a_test_on_few_patients_has_no_numbers(self, html: str) -> None:
        section = self.section(html, "verdicts")
        (row,) = [row for row in re.findall(r"<tr>.*?</tr>", section, flags=re.S) if "1→0" in row]
        assert "cannot tell" in row and "Fewer than ten stays or patients" in row and "0.10" not in row

    def test_verdicts_are_counted_by_claim(self, html: str) -> None:
        rows = re.findall(r"<tr><th scope=\"row\">2\. Later hours.*?</tr>", self.section(html, "verdicts"))
        assert re.findall(r'<td class="num">(\d+)</td>', rows[0]) == ["1", "0", "1"]

    def test_stability_and_transfer(self, html: str) -> None:
        words = Page(self.section(html, "agreement")).words
        assert "folds variables 6" in words, "pairs of three folds in two directions"
        assert "lstm, seed 1 lstm, seed 2 50 30 0.60 (0.30 to 0.90)" in words
        assert "0.12" not in words, "the pair of few patients"
        assert "<10 <10 \N{EN DASH}" in words


class TestMaps:
    """Maps that show numbers on hovering."""

    @staticmethod
    def maps(html: str) -> dict[str, dict[str, Any]]:
        found = re.findall(r'<script type="application/json" id="map-(\w+)-figure">(.*?)</script>', html, flags=re.S)
        return {name: json.loads(text) for name, text in found}

    def test_one_a_direction_with_enough_stays(self, run: RunFiles, html: str) -> None:
        assert set(self.maps(html)) == {f"lstm_{mode}_0_to_1" for mode in run.modes}

    def test_numbers_are_those_of_the_table(self, run: RunFiles, html: str) -> None:
        table = pd.read_csv(run.tables / "susceptibility_cells_lstm_ista.csv")
        labels = pd.read_csv(run.tables / "missingness.csv").set_index("variable")["label"]
        cells = table[(table["direction"] == "0_to_1") & table["s_q95"].notna()]
        figure = self.maps(html)["lstm_ista_0_to_1"]
        for trace, basis in zip(figure["data"][:2], ("all", "observed"), strict=True):
            rows = cells[cells["basis"] == basis]
            assert len(rows) > 250
            shown = [value for line in trace["z"] for value in line if value is not None]
            assert len(shown) == len(rows)
            for _, row in rows.sample(40, random_state=0).iterrows():
                line = trace["y"].index(labels[row["variable"]])
                custom = trace["customdata"][line][row["hour"]]
                expected = [row[name] for name in ("s_q95", "s", "gmp", "gap", "gpp", "s_q95_low", "s_q95_high")]
                assert custom[:7] == pytest.approx(expected, rel=6e-3)
                assert custom[7] == row["n_stays"].replace("all but <10", "nearly all")

    def test_cells_of_few_stays_are_gaps(self, html: str) -> None:
        observed = self.maps(html)["lstm_ista_0_to_1"]["data"][1]
        cells = [cell for line in observed["customdata"] for cell in line]
        few = [cell for cell in cells if cell[7] is None]
        assert few and all(set(cell) == {None} for cell in few)
        assert min(int(cell[7]) for cell in cells if cell[7] not in {None, "nearly all"}) >= 10

    def test_cells_that_few_patients_changed_are_grey_and_have_no_numbers(self, run: RunFiles, html: str) -> None:
        table = pd.read_csv(run.tables / "susceptibility_cells_lstm_ista.csv").query("direction == '0_to_1'")
        labels = pd.read_csv(run.tables / "missingness.csv").set_index("variable")["label"]
        data = self.maps(html)["lstm_ista_0_to_1"]["data"]
        for values, grey, basis in zip(data[:2], data[2:], ("all", "observed"), strict=True):
            assert "fewer than ten patients" in grey["hovertemplate"] and "customdata" not in grey
            rows = table[(table["basis"] == basis) & (table["n_changed_patients"] == "<10")]
            rows = rows[~rows["n_patients"].isin(["<10", "0"])]
            wanted = {(labels[name], hour) for name, hour in zip(rows["variable"], rows["hour"], strict=True)}
            found = {
                (grey["y"][line], hour)
                for line, marks in enumerate(grey["z"]) for hour, mark in enumerate(marks) if mark is not None
            }  # fmt: skip
            assert found == wanted and len(found) > 50
            shown = [values["customdata"][grey["y"].index(label)][hour] for label, hour in found]
            assert all(set(cell) == {None} for cell in shown)

    def test_without_maps_plotly_stays_out(self, tmp_path: Path) -> None:
        scenario = MadeUpRun(stays=60, deaths=6, successes={"0_to_1": 6, "1_to_0": 0}, modes=("ista",), hours=6)
        html = make_report(tables_of(scenario, tmp_path))
        assert 'id="plotly"' not in html and len(html) < 1_000_000


class TestModesWithoutLambda:
    def test_they_have_one_policy_and_one_point_of_the_bargain(self, tmp_path: Path) -> None:
        scenario = MadeUpRun(stays=120, deaths=50, successes={"0_to_1": 60, "1_to_0": 40}, modes=("fmn_l1",), hours=6)
        files = scenario.write(tmp_path / "run")
        for name, schema in (("cells", CELLS), ("variables", VARIABLES), ("hours", HOURS)):
            path = files.measure("lstm", "fmn_l1", name)
            write_frame(read_frame(path).query("policy == 'selected'"), path, schema)
        path = files.measure("lstm", "fmn_l1", "tradeoff")
        write_frame(read_frame(path).iloc[[1, 4]].assign(**{"lambda": np.nan}), path, TRADEOFF)
        write_tables(files, scenario.profile)
        place_figures(files)
        section = make_report(files).partition('<section id="susceptibility">')[2].partition("</section>")[0]
        row = re.search(r"<tr><td class=\"num\"><b>1 \(1 to \d+\)</b>.*?</tr>", section, flags=re.S)
        assert row and row[0].count(f'<td class="num">{page.NOTHING}</td>') == 2, "no rank of another policy"
        tradeoff = pd.read_csv(files.tables / "susceptibility_tradeoff_lstm_fmn_l1.csv")
        assert tradeoff["lambda"].isna().all() and tradeoff["mp_median"].notna().all()


class TestDownloads:
    def test_a_page_carries_no_more_than_it_can(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        paths = [tmp_path / name for name in ("a.csv", "large.csv", "b.csv", "c.csv")]
        for path, size in zip(paths, (400, 1000, 500, 200), strict=True):
            path.write_text("x" * size)
        monkeypatch.setattr(page, "MAX_DOWNLOAD_BYTES", 1000)
        monkeypatch.setattr(page, "MAX_DOWNLOADS_BYTES", 950)
        assert [bool(file.uri) for file in page.embed_tables(paths)] == [True, False, True, False]
        with pytest.raises(UserError, match=r"absent\.csv: the table is missing"):
            page.embed_tables([tmp_path / "absent.csv"])


class TestPictures:
    def test_a_compact_picture_has_the_same_size_and_look_in_fewer_bytes(self, tmp_path: Path) -> None:
        with use_style("paper"):
            figure = new_figure(2.0)
            axes = figure.subplots()
            axes.imshow(np.arange(400).reshape(20, 20), cmap=SEQUENTIAL)
            axes.set_title("The quick brown fox jumps over the lazy dog, 0123456789 times")  # glyphs make an SVG large
            save_figure(figure, tmp_path, "map", dpi=100, title="A map")
        sharp, compact = (
            page.embed_figure(tmp_path, "map", "alt", "caption", compact=small) for small in (False, True)
        )
        assert sharp.uri.startswith("data:image/svg+xml") and compact.uri.startswith("data:image/png")
        assert (sharp.width, sharp.height) == (compact.width, compact.height) == (672, 192)
        content = base64.b64decode(compact.uri.partition(",")[2])
        with Image.open(io.BytesIO(content)) as shown, Image.open(tmp_path / "map.png") as original:
            assert shown.mode == "P" and len(content) < (tmp_path / "map.png").stat().st_size
            difference = np.abs(np.asarray(shown.convert("RGB"), int) - np.asarray(original.convert("RGB"), int))
        assert difference.mean() < 2

    def test_a_dense_svg_is_the_same_drawing(self, tmp_path: Path) -> None:
        with use_style("paper"):
            figure = new_figure(2.0)
            figure.subplots().plot([1, 2], [3, 4], label="x")
            save_figure(figure, tmp_path, "line", dpi=100, title="A line")
        original = ElementTree.parse(tmp_path / "line.svg").getroot()
        carried = base64.b64decode(page.embed_figure(tmp_path, "line", "alt", "c").uri.partition(",")[2])
        assert len(carried) < (tmp_path / "line.svg").stat().st_size

        def drawn(root: ElementTree.Element) -> list[tuple[str, dict[str, str]]]:
            return [(part.tag, {key: " ".join(value.split()) for key, value in part.items()}) for part in root.iter()]

        assert drawn(ElementTree.fromstring(carried)) == drawn(original)


class TestMethods:
    def test_numbers_are_those_of_the_configuration(self, run: RunFiles) -> None:
        changes = {"attack__rate": 0.0317, "susceptibility__bootstrap": 417, "training__models": ["gru"]}
        section = make_report(run, attack__modes=["ead"], **changes).partition('<section id="methods">')[2]
        words = Page(section.partition("</section>")[0]).words
        for text in ("rate 0.0317", "417 bootstrap", "gru: Cho et al. 2014", "EAD: elastic-net", "Sun M, Tang F"):
            assert text in words, text
        assert "Hochreiter" not in words and "Pintor" not in words


class TestProvenance:
    CONFIG = {"run": {"seeds": [1]}, "folds": {"seed": 0}, "source": {"kind": "mimic3", "path": "/x/demo"}}  # noqa: RUF012

    def sections(self, **changes: Any) -> dict[str, Any]:
        digests = {"source": {"tables": "made by rule synthetic"}, "code": {"train": {"scripts/train.py": "ab12"}}}
        return provenance(self.CONFIG | changes, [], digests)

    def test_digests_tell_configurations_and_code_apart(self) -> None:
        told = self.sections()
        assert told["digests of the source"] == {"tables": "made by rule synthetic"}
        assert re.fullmatch(r"([0-9a-f]{4}-){7}[0-9a-f]{4}", told["digests of the code"]["train"])
        assert told["configuration"] != self.sections(folds={"seed": 1})["configuration"]
        elsewhere = self.sections(source={"kind": "mimic3", "path": "/elsewhere/demo"})
        assert told["configuration"] == elsewhere["configuration"], "the folder's place is no part of it"


class TestMistakes:
    """The section on mistakes made on purpose; there is none without them."""

    @staticmethod
    def rows(mistake: str, auroc: float, late: float) -> list[dict[str, object]]:
        common = {"mistake": mistake, "in_words": f"Words of {mistake}.", "low": None, "high": None, "text": ""}
        metrics = [common | {"seed": "0", "direction": "", "quantity": q, "value": auroc} for q in mistakes.METRICS]
        shares = [
            common | {"seed": "all", "direction": direction, "quantity": LATE_SHARE, "value": late}
            for direction in DIRECTIONS
        ]
        top = common | {"seed": "all", "direction": "0_to_1", "quantity": mistakes.TOP_VARIABLES, "text": "bun, ph"}
        return [*metrics, *shares, top]

    def test_wrong_numbers_stand_under_a_banner_and_are_called_so(self, tmp_path: Path) -> None:
        files = tables_of(MadeUpRun(stays=60, deaths=20), tmp_path)
        made = {"right_run": (0.812, 0.71), "control": (0.809, 0.69), "transposed_axis": (0.777, 0.2345)}
        table = pd.DataFrame([row for name, values in made.items() for row in self.rows(name, *values)])
        write_csv(table, files.tables / "audit_of_mistakes.csv")
        (files.figures / "mistakes_hours.svg").write_bytes((files.figures / "flow.svg").read_bytes())
        html = make_report(files, audit__mistakes=["transposed_axis"])
        section = html.partition('<section id="mistakes">')[2].partition("</section>")[0]
        words = Page(section).words
        assert "Wrong on purpose." in words and '<p class="banner strong">' in section
        assert words.count("WRONG: Transposed axis") == 3 and "WRONG: Right" not in words
        assert "0.777" in words and "0.23" in words and "bun, ph" in words
        assert "0.777" not in Page(html.replace(section, "")).words
        assert '<a href="#mistakes">' in html

    def test_a_run_without_them_says_nothing_of_them(self, html: str) -> None:
        assert "Wrong on purpose" not in html and "audit_of_mistakes" not in html


class TestHyperparameterSearch:
    def test_its_figure_stands_with_the_model_where_there_was_a_search(self, html: str, tmp_path: Path) -> None:
        files = tables_of(MadeUpRun(stays=60, deaths=20), tmp_path)
        with pytest.raises(UserError, match=r"tuning_lstm\.svg"):
            make_report(files, training__tune=True)
        (files.figures / "tuning_lstm.svg").write_bytes((files.figures / "flow.svg").read_bytes())
        tuned = make_report(files, training__tune=True)
        section = tuned.partition('<section id="model">')[2].partition("</section>")[0]
        assert section.count("<figcaption>Hyperparameter search") == 1
        assert "Hyperparameter search inside" not in html


class TestFindings:
    SUMMARY = pd.Series(
        {"n_attacked": "40", "n_selected": "30", "success_percent": 75.0, "median_n_changed": 9.0,
         "median_linf": 0.1234, "median_share_observed": 0.25}
    )  # fmt: skip

    def test_sentences_of_an_attack(self) -> None:
        variables = pd.DataFrame({"label": ["pH", "Lactate"], "s_q95": [0.5, 0.2], "rank": [1, 2]})
        none = pd.DataFrame({"quantity": [], "measure": [], "value": []})
        text = " ".join(findings.attack_findings(self.SUMMARY, variables, none, 912))
        assert "75.0% of 40 attacked stays" in text and "9 of 912 cells (1.0%)" in text
        assert "0.12 of its variable's range" in text and "Most susceptible: pH and lactate." in text

    def test_success_never_reveals_a_small_count(self) -> None:
        nothing = float("nan")
        assert findings.success_text(self.SUMMARY) == "75.0%"
        few = self.SUMMARY.to_dict() | {"n_selected": "<10", "success_percent": nothing}
        assert findings.success_text(pd.Series(few)) == "under 25%"
        assert findings.success_text(pd.Series(few | {"n_attacked": "<10"})) == "withheld"

    @pytest.mark.parametrize(("low", "warned"), [(0.51, False), (0.5, True), (float("nan"), True)])
    def test_a_model_at_chance_is_called_so(self, low: float, warned: bool) -> None:
        row = {"model": "lstm", "seed": 1, "metric": "auroc", "scope": "pooled", "value": low + 0.1, "low": low}
        metrics = pd.DataFrame([row])
        attacks = pd.DataFrame([self.SUMMARY.to_dict() | {"model": "lstm", "mode": "ista", "direction": "0_to_1"}])
        found = findings.caveats(kind="mimic3", deaths="200", metrics=metrics, attacks=attacks, seeds=[1, 2])
        assert any("told from noise" in sentence for sentence in found) == warned
        assert any("fewer than 50 stays" in sentence for sentence in found)

    def test_a_model_that_is_too_good_or_below_the_baseline_is_called_so(self) -> None:
        scores = {"logistic": 0.790, "lstm": 0.784, "gru": 0.786, "leaky": 0.93}
        row = {"seed": 1, "metric": "auroc", "scope": "pooled", "low": 0.7}
        metrics = pd.DataFrame([row | {"model": model, "value": value} for model, value in scores.items()])
        attacks = pd.DataFrame([self.SUMMARY.to_dict() | {"model": "lstm", "mode": "ista", "direction": "0_to_1"}])
        found = findings.caveats(kind="mimic3", deaths="200", metrics=metrics, attacks=attacks, seeds=[1, 2])
        assert [sentence.split()[1].rstrip(",") for sentence in found if "leak" in sentence] == ["leaky"]
        assert [sentence.split()[1].rstrip(",") for sentence in found if "baseline" in sentence] == ["lstm"]


class TestPublicConfig:
    def test_credentials_and_folders_go(self) -> None:
        config = {
            "source": {"path": "/home/ann/mimic/demo", "database": "postgresql://ann:secret@host:5432/mimic"},
            "run": {"seeds": [0, 1], "name": "a/b"},
        }
        shown = public_config(config)
        assert shown["source"] == {"path": "…/demo", "database": "postgresql://…@host:5432/mimic"}
        assert shown["run"] == config["run"]
        folders = [r"C:\Users\ann\mimic", "~/mimic", "results/x"]
        assert public_config(folders) == ["…/mimic", "…/mimic", "results/x"]

    def test_numbers_as_text(self) -> None:
        assert page.fixed(0.126) == "0.13" and page.fixed(-0.5) == "\N{MINUS SIGN}0.50"
        assert page.fixed(None) == page.fixed(float("nan")) == page.NOTHING
        assert page.thousands("12345") == "12,345" and page.thousands("<10") == "<10"
        assert page.interval(0.5, float("nan"), 0.6) == "0.50"
