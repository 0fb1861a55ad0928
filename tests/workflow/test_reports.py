"""What the two reports of a finished run hold: our page's digests of the code, and Snakemake's own report."""

import html
import json
import re
from pathlib import Path

import pytest

from ehr_attack.attacks import module_of as attack_module
from ehr_attack.digests import code_digest
from ehr_attack.models import module_of as model_module
from ehr_attack.paths import DATA_DIR, KERNEL_FILES, RELATIONS_FILE, SQL_DIR, VARIABLES_FILE
from ehr_attack.provenance import short_digest

STAGES = {
    "features": ("features.py", [], [SQL_DIR / "common" / "features.sql", VARIABLES_FILE]),
    "train": ("train.py", [model_module("lstm")], [VARIABLES_FILE]),
    "attack": (
        "attack.py",
        [model_module("lstm"), attack_module("sun2018"), attack_module("ista")],
        [VARIABLES_FILE, RELATIONS_FILE, *KERNEL_FILES],
    ),
    "verdicts": (
        "verdicts.py",
        [],
        [DATA_DIR / "published_prediction_metrics.csv", DATA_DIR / "published_susceptibility.csv", VARIABLES_FILE],
    ),
}
"""Of some stages, what decides their results: script, modules chosen by name, and files."""


@pytest.mark.parametrize("stage", STAGES)
def test_our_page_tells_digests_of_all_that_decides_a_stage(finished, project_dir, stage):
    script, modules, files = STAGES[stage]
    page = (finished.folder / "results/small/report/index.html").read_text(encoding="utf-8")
    section = page.partition("Digests of the code</span>")[2].partition("</table>")[0]
    told = dict(re.findall(r'<th scope="row">(.*?)</th><td>(.*?)</td>', section))
    digest = code_digest(project_dir / "scripts" / script, modules, files)
    assert told[stage] == short_digest(digest)
    for file in (*files, *(f"{module.replace('.', '/')}.py" for module in modules)):
        assert any(name.endswith(Path(file).name) for name in digest), file


def results_of(text: str) -> dict[str, dict]:
    """The results that Snakemake's report carries, by path."""
    start = re.search(r"var results = (?=\{)", text)
    assert start, "the report carries no result"
    found: dict[str, dict] = json.JSONDecoder().raw_decode(text, start.end())[0]
    return found


def test_snakemakes_own_report_holds_figures_and_tables_with_captions(finished, tmp_path):
    target = tmp_path / "report.html"
    finished.snakemake("--report", str(target))
    results = results_of(target.read_text(encoding="utf-8"))
    wanted = {
        **{f"figures/susceptibility_lstm_ista_{way}.svg": "95th percentile over stays" for way in ("0_to_1", "1_to_0")},
        "figures/measures_lstm_sun2018_0_to_1.svg": "GMP",
        "figures/hours_lstm_ista.svg": "hour",
        "figures/flow.svg": "cohort",
        "figures/roc_lstm.svg": "held-out",
        "tables/verdicts.csv": "claim",
        "tables/attack_summary.csv": "stays",
    }
    for path, words in wanted.items():
        result = results[f"results/small/{path}"]
        caption = html.unescape(re.sub(r"<[^>]+>", "", result["caption"]))
        assert words.lower() in caption.lower(), (path, caption)
        assert result["data_uri"].startswith("data:") and len(result["data_uri"]) > 500, path
    figures = finished.folder / "results/small/figures"
    everything = {f"results/small/figures/{path.name}" for path in figures.glob("*.svg")}
    assert everything <= set(results), "every figure of the run is there"
    assert all(result["caption"] for result in results.values())
    assert not [path for path in results if "/private/" in path], "single patients stay out"
