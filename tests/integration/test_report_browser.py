"""The report in headless Chromium: no console message, no request, figures with a size, dark, narrow."""

import json
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ehr_attack.variables import load_variables
from real_parts import skip_or_fail
from report_builder import MadeUpRun, make_report, place_figures, write_tables

_BINARIES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *(
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-extensions",
    ),
)
_PROBE = Path(__file__).with_name("report_probe.js")
_SORTED_TABLE = "Susceptibility of variables, attack ista on lstm, 0→1"
_SORTED_COLUMNS = ("Variable", "S, all cells", "Rank (interval)")


@pytest.fixture(scope="module")
def browser() -> str:
    found = next(filter(None, map(shutil.which, _BINARIES)), None)
    if found is None:
        skip_or_fail("no Chromium here (Debian: apt-get install chromium)")
    return str(found)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scenario = MadeUpRun(stays=120, deaths=40, modes=("ista",), successes={"0_to_1": 60, "1_to_0": 40})
    files = scenario.write(tmp_path_factory.mktemp("browser") / "run")
    write_tables(files, scenario.profile)
    place_figures(files)
    make_report(files)
    return files.report


def visit(browser: str, page: Path, profile: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [browser, *_OPTIONS, f"--user-data-dir={profile}", *options, "--dump-dom", page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)


def probe(browser: str, report: Path, folder: Path, *options: str) -> dict[str, Any]:
    """Open a copy of the report that measures itself (its policy, which forbids other scripts, taken out)."""
    text = report.read_text(encoding="utf-8")
    copy = folder / "probe.html"
    wanted = f"const CAPTION = {json.dumps(_SORTED_TABLE)}, NAMES = {json.dumps(_SORTED_COLUMNS)};"
    script = f"<script>{wanted}\n{_PROBE.read_text(encoding='utf-8')}</script>"
    head, _, end = re.sub(r"<meta http-equiv=[^>]*>", "", text).rpartition("</body>")
    copy.write_text(f"{head}{script}</body>{end}", encoding="utf-8")
    dom = visit(browser, copy, folder / "profile", "--virtual-time-budget=60000", *options).stdout
    found = re.search(r"<title>probe:(.*?)</title>", dom, flags=re.S)
    assert found, "the page did not load"
    return json.loads(found.group(1).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))


@pytest.fixture(scope="module")
def light(browser: str, report: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the page says of itself on a wide, light screen."""
    folder = tmp_path_factory.mktemp("light")
    return probe(browser, report, folder, "--window-size=1280,900", "--blink-settings=preferredColorScheme=1")


@pytest.fixture(scope="module")
def dark(browser: str, report: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The same on a narrow, dark screen."""
    folder = tmp_path_factory.mktemp("dark")
    return probe(browser, report, folder, "--window-size=500,900", "--blink-settings=preferredColorScheme=0")


def test_it_opens_without_a_word_in_the_console(browser: str, report: Path, tmp_path: Path) -> None:
    options = ("--enable-logging=stderr", "--v=0", "--virtual-time-budget=20000")
    done = visit(browser, report, tmp_path / "profile", *options)
    assert "Where would a small error flip the model?" in done.stdout
    assert "CONSOLE" not in done.stderr
    assert done.stdout.count('class="main-svg"') >= 2, "plotly runs under the page's own policy"


def test_another_script_is_refused(browser: str, report: Path, tmp_path: Path) -> None:
    """The policy works: a script that the page does not know does not run."""
    copy = tmp_path / "foreign.html"
    page = report.read_text(encoding="utf-8")
    copy.write_text(page.replace("</main>", "<script>document.title = 'foreign'</script></main>"), encoding="utf-8")
    done = visit(browser, copy, tmp_path / "profile", "--enable-logging=stderr", "--v=0")
    assert "<title>foreign" not in done.stdout and "Content Security Policy" in done.stderr


def test_figures_have_a_size_and_nothing_is_fetched(light: dict[str, Any], dark: dict[str, Any]) -> None:
    for found in (light, dark):
        assert found["requests"] == []
        assert found["images"] and all(natural > 0 and shown > 100 for natural, shown in found["images"])
        assert found["hidden"] == len(found["maps"]) == 2, "only the still pictures of the maps"


def test_no_part_is_wider_than_the_screen(light: dict[str, Any], dark: dict[str, Any]) -> None:
    assert light["overflow"] <= 0 and dark["overflow"] <= 0


def test_every_link_resolves_and_headings_are_in_order(light: dict[str, Any]) -> None:
    assert light["unresolved"] == []
    levels = light["headings"]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(below - above <= 1 for above, below in pairwise(levels))


def test_light_and_dark(light: dict[str, Any], dark: dict[str, Any]) -> None:
    assert (light["background"], dark["background"]) == ("rgb(251, 250, 248)", "rgb(21, 24, 28)")
    assert light["color"] != dark["color"] and light["maps"][0]["ink"] != dark["maps"][0]["ink"]
    assert min(light["contrast"], dark["contrast"]) >= 4.5


def test_maps_tell_their_numbers(light: dict[str, Any], report: Path) -> None:
    table = pd.read_csv(report.parents[1] / "tables/susceptibility_cells_lstm_ista.csv")
    labels = {variable.label: variable.name for variable in load_variables()}
    for drawn, direction in zip(light["maps"], ("0_to_1", "1_to_0"), strict=True):
        assert drawn["width"] > 500 and drawn["height"] > 500
        hover = drawn["hover"]
        text = hover["text"]
        stays = {"0_to_1": 60, "1_to_0": 40}[direction]
        assert f"{hover['label']}, hour {hover['hour']}" in text and f"of {stays} stays" in text
        rows = table[(table["direction"] == direction) & (table["basis"] == "all") & (table["hour"] == hover["hour"])]
        (row,) = rows[rows["variable"] == labels[hover["label"]]].to_dict("records")
        assert hover["value"] == pytest.approx(row["s_q95"], rel=6e-3)
        assert f"{100 * row['gpp']:.1f}%" in text
        assert max(value for value in drawn["after"] if value is not None) == pytest.approx(
            table.loc[(table["direction"] == direction) & (table["basis"] == "all"), "gpp"].max(), rel=6e-3
        )


def test_cells_that_few_patients_changed_tell_no_number(light: dict[str, Any], report: Path) -> None:
    table = pd.read_csv(report.parents[1] / "tables/susceptibility_cells_lstm_ista.csv").query("basis == 'all'")
    few = table[table["n_changed_patients"] == "<10"]
    assert few["s_q95"].isna().all() and few["gpp"].isna().all()
    for drawn, direction in zip(light["maps"], ("0_to_1", "1_to_0"), strict=True):
        grey = drawn["grey"]
        text = f"{grey['label']}, hour {grey['hour']}changed by fewer than ten patients: withheld"
        assert grey["text"].replace("\n", "") == text
        assert sum(value == 1 for value in drawn["greyAfter"]) == (few["direction"] == direction).sum() > 0


@pytest.mark.parametrize("column", _SORTED_COLUMNS)
def test_tables_sort(light: dict[str, Any], column: str) -> None:
    before, up, down = light["sorting"]["found"][column]
    assert (before["state"], up["state"], down["state"]) == (None, "ascending", "descending")
    assert len(before["cells"]) == 19 and sorted(before["cells"]) == sorted(up["cells"]) == sorted(down["cells"])

    def value(text: str) -> Any:
        return text.lower() if column == "Variable" else float(text.split(maxsplit=1)[0])

    values = [value(text) for text in up["cells"] if text != "\N{EN DASH}"]
    assert values == sorted(values) and len(set(values)) > 3
    assert [value(text) for text in down["cells"][: len(values)]] == sorted(values, reverse=True)
    missing = ["\N{EN DASH}"] * (19 - len(values))
    assert up["cells"][len(values) :] == down["cells"][len(values) :] == missing, "what is missing comes last"
    assert bool(missing) == (column != "Variable"), "a rank of some variable is withheld, or there is none"
    assert light["sorting"]["sortable"] > 30


def test_it_prints_with_still_pictures(browser: str, report: Path, tmp_path: Path) -> None:
    target = tmp_path / "report.pdf"
    visit(browser, report, tmp_path / "profile", f"--print-to-pdf={target}", "--virtual-time-budget=20000")
    content = target.read_bytes()
    assert content.startswith(b"%PDF") and len(content) > 100_000
