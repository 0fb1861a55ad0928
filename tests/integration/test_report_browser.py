"""The report in headless Chromium: no console message, no request, figures with a size, dark, narrow."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

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
_PROBE = """<script>addEventListener("load", () => {
  const style = getComputedStyle(document.body), root = document.documentElement;
  document.querySelectorAll("details").forEach(part => part.open = true);
  const found = {
    background: style.backgroundColor, color: style.color,
    overflow: root.scrollWidth - root.clientWidth,
    images: [...document.images].map(image => [image.naturalWidth, image.getBoundingClientRect().width]),
    requests: performance.getEntriesByType("resource").map(entry => entry.name)
      .filter(name => !name.startsWith("data:")),
  };
  document.title = "probe:" + JSON.stringify(found);
});</script>"""


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


def probe(browser: str, report: Path, folder: Path, *options: str) -> dict[str, object]:
    """Open a copy of the report that measures itself (its policy, which forbids scripts, taken out)."""
    text = report.read_text(encoding="utf-8")
    copy = folder / "probe.html"
    copy.write_text(
        re.sub(r"<meta http-equiv=[^>]*>", "", text).replace("</body>", f"{_PROBE}</body>"), encoding="utf-8"
    )
    dom = visit(browser, copy, folder / "profile", *options).stdout
    found = re.search(r"<title>probe:(.*?)</title>", dom, flags=re.S)
    assert found, "the page did not load"
    return json.loads(found.group(1).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))


def test_it_opens_without_a_word_in_the_console(browser: str, report: Path, tmp_path: Path) -> None:
    done = visit(browser, report, tmp_path / "profile", "--enable-logging=stderr", "--v=0")
    assert "Where would a small error flip the model?" in done.stdout
    assert "CONSOLE" not in done.stderr


def test_figures_have_a_size_and_nothing_is_fetched(browser: str, report: Path, tmp_path: Path) -> None:
    found = probe(browser, report, tmp_path, "--window-size=1280,900")
    assert found["requests"] == []
    assert found["images"] and all(natural > 0 and shown > 100 for natural, shown in found["images"])


@pytest.mark.parametrize("width", [1280, 500])
def test_no_part_is_wider_than_the_screen(browser: str, report: Path, tmp_path: Path, width: int) -> None:
    assert probe(browser, report, tmp_path, f"--window-size={width},900")["overflow"] <= 0


def test_light_and_dark(browser: str, report: Path, tmp_path: Path) -> None:
    light = probe(browser, report, tmp_path, "--blink-settings=preferredColorScheme=1")
    dark = probe(browser, report, tmp_path, "--blink-settings=preferredColorScheme=0")
    assert (light["background"], dark["background"]) == ("rgb(251, 250, 248)", "rgb(21, 24, 28)")
    assert light["color"] != dark["color"]
