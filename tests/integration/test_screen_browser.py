"""The page of `ehr-attack screen` in headless Chromium, and who may read what it writes."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from test_report_browser import browser, visit

from ehr_attack.cli import main
from screen_builder import FIRST_ID, HOURS, SmallRun, describe, make_run

__all__ = ["browser"]

_PROBE = """<script>addEventListener("load", () => {
  const root = document.documentElement;
  const links = [...document.querySelectorAll("a[href^='#']")].map(link => link.getAttribute("href").slice(1));
  document.querySelectorAll("article").forEach(part => part.style.contentVisibility = "visible");
  const found = {
    background: getComputedStyle(document.body).backgroundColor,
    overflow: root.scrollWidth - root.clientWidth,
    requests: performance.getEntriesByType("resource").map(entry => entry.name)
      .filter(name => !name.startsWith("data:")),
    unresolved: links.filter(name => !document.getElementById(name)),
    links: links.length,
    traces: [...document.querySelectorAll("svg.trace")].map(trace => trace.getBoundingClientRect().width),
    outside: [...document.querySelectorAll("svg.trace circle")].filter(dot => {
      const inner = dot.getBoundingClientRect(), outer = dot.ownerSVGElement.getBoundingClientRect();
      return inner.left < outer.left || inner.right > outer.right
        || inner.top < outer.top || inner.bottom > outer.bottom;
    }).length,
  };
  document.title = "probe:" + JSON.stringify(found);
});</script>"""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    return make_run(tmp_path_factory.mktemp("screen"), stays=24, epochs=8)


@pytest.fixture(scope="module")
def written(small: SmallRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that a screening of 16 stays as new records writes."""
    folder = tmp_path_factory.mktemp("new")
    rows = small.measurements[small.measurements["stay_id"] < FIRST_ID + 16]
    rows.to_parquet(folder / "new.parquet")
    out = folder / "deeper" / "out"
    options = ["--records", str(folder / "new.parquet"), "--device", "cpu", "--out", str(out)]
    assert main(["screen", "--run", str(small.folder), *options]) == 0
    return out


def probed(browser: str, page: Path, folder: Path, *options: str) -> dict[str, Any]:
    """What a copy of the page (its policy, which forbids scripts, taken out) says of itself."""
    copy = folder / "probe.html"
    text = re.sub(r"<meta http-equiv=[^>]*>", "", page.read_text(encoding="utf-8"))
    copy.write_text(text.replace("</body>", f"{_PROBE}</body>"), encoding="utf-8")
    found = re.search(
        r"<title>probe:(.*?)</title>", visit(browser, copy, folder / "profile", *options).stdout, flags=re.S
    )
    assert found, "the page did not load"
    return json.loads(found.group(1).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))


def test_it_opens_without_a_word_in_the_console(browser: str, written: Path, tmp_path: Path) -> None:
    done = visit(browser, written / "screen.html", tmp_path / "profile", "--enable-logging=stderr", "--v=0")
    assert "Which entries deserve a second look?" in done.stdout
    assert "CONSOLE" not in done.stderr


@pytest.mark.parametrize(
    ("width", "scheme", "background"), [(1280, 1, "rgb(251, 250, 248)"), (500, 0, "rgb(21, 24, 28)")]
)
def test_it_fits_every_screen_and_fetches_nothing(
    browser: str, written: Path, tmp_path: Path, width: int, scheme: int, background: str
) -> None:
    page = written / "screen.html"
    found = probed(
        browser, page, tmp_path, f"--window-size={width},900", f"--blink-settings=preferredColorScheme={scheme}"
    )
    assert found["requests"] == [] and found["unresolved"] == [] and found["links"] >= 32
    assert found["overflow"] <= 0 and found["outside"] == 0
    assert found["traces"] and min(found["traces"]) > 300
    assert found["background"] == background


def test_the_page_says_what_the_file_says(written: Path) -> None:
    data = json.loads((written / "screen.json").read_text(encoding="utf-8"))
    text = (written / "screen.html").read_text(encoding="utf-8")
    assert "Patient-level data: do not share." in text and "not a medical device" in text
    order = [int(stay) for stay in re.findall(r'<article class="stay" id="stay-(\d+)">', text)]
    assert order == [stay["stay_id"] for stay in data["stays"]] and len(order) == 16
    labels = {variable["name"]: variable["label"] for variable in data["variables"]}
    for stay in data["stays"]:
        article = text[text.index(f'id="stay-{stay["stay_id"]}"') :].partition("</article>")[0]
        for flip in filter(None, [stay["smallest"], *stay["single"]]):
            assert f"{flip['folds_that_flip']} of 2 folds then predict the other outcome" in article
            for change in flip["changes"]:
                minutes = round(change["hours"] * 60)
                wanted = f"{labels[change['variable']]} at {minutes // 60} h {minutes % 60:02d} min: "
                printed = re.findall(re.escape(wanted) + r"([\d.]+) \N{RIGHTWARDS ARROW} ([\d.]+)", article)
                assert change["value_after"] in [float(after) for _, after in printed]


def test_only_the_owner_may_read(written: Path) -> None:
    assert written.stat().st_mode & 0o777 == 0o700
    assert {path.name: path.stat().st_mode & 0o777 for path in written.iterdir()} == {
        "screen.json": 0o600, "screen.html": 0o600,
    }  # fmt: skip


def test_a_folder_that_is_there_keeps_its_mode(
    small: SmallRun, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    stay = ["--stay", str(FIRST_ID), "--alternatives", "0", "--device", "cpu"]
    with caplog.at_level("WARNING"):
        assert main(["screen", "--run", str(small.folder), *stay, "--out", str(shared)]) == 0
    assert shared.stat().st_mode & 0o777 == 0o755 and "open to other users" in caplog.text
    assert (shared / "screen.json").stat().st_mode & 0o777 == 0o600


def test_logs_and_the_description_hold_nothing_of_a_patient(
    small: SmallRun, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG"):
        stay = str(FIRST_ID + 1)
        assert (
            main(
                ["screen", "--run", str(small.folder), "--stay", stay, "--out", str(tmp_path / "o"), "--device", "cpu"]
            )
            == 0
        )
    assert caplog.records and not re.search(r"\b7314\d{4}\b", caplog.text)
    assert str(HOURS) in (small.folder / "run.json").read_text()
    assert "7314" not in (small.folder / "run.json").read_text()


def test_a_stay_without_a_flip_is_shown_as_such(small: SmallRun, tmp_path: Path) -> None:
    """One whose values may not change enough."""
    (tmp_path / "new.csv").write_text("stay_id,hours,variable,value\n2,5.0,sodium,138\n", encoding="utf-8")
    describe(small.folder, "lstm", 2, "forward", attack={
        "steps": 5, "rate": 0.02, "kappa": 50.0, "mutable": "all", "mutable_hours": None,
    })  # fmt: skip
    try:
        options = ["--records", str(tmp_path / "new.csv"), "--out", str(tmp_path / "o"), "--device", "cpu"]
        assert main(["screen", "--run", str(small.folder), *options]) == 0
    finally:
        describe(small.folder, "lstm", 2, "forward")
    data = json.loads((tmp_path / "o" / "screen.json").read_text(encoding="utf-8"))
    assert [(stay["stay_id"], stay["n_values"], stay["smallest"], stay["single"]) for stay in data["stays"]] == [
        (2, 1, None, []),
    ]  # fmt: skip
    text = (tmp_path / "o" / "screen.html").read_text(encoding="utf-8")
    assert "No feasible change of recorded values" in text
