"""A run's results as a page of text: the numbers of its tables, nothing of single patients, and only of a whole run."""

import os
import re
import subprocess
import sys

import pandas as pd
import pytest

RESULTS = "results/small"


def publish(project, page):
    return subprocess.run(
        [sys.executable, "-m", "ehr_attack.cli", "publish", RESULTS, "--to", str(page)],
        cwd=project.folder,
        env=os.environ | {"PYTHONPATH": str(project.folder / "scripts")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def page(finished, tmp_path_factory):
    page = tmp_path_factory.mktemp("published") / "page.md"
    done = publish(finished, page)
    assert done.returncode == 0, done.stderr
    return page


def rows_below(text: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    lines = text.split(f"{heading}\n")[1].splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("| ---")) + 1
    table = lines[start : next(place for place in range(start, len(lines)) if not lines[place].startswith("|"))]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def test_the_numbers_are_those_of_the_tables(finished, page):
    tables = finished.folder / RESULTS / "tables"
    cohort = pd.read_csv(tables / "cohort.csv", dtype=str).set_index("characteristic")["count"]
    assert f"\n{cohort['ICU stays']} ICU stays of {cohort['Patients']} patients, " in page.read_text()
    (model,) = rows_below(page.read_text(), "## Models")
    metrics = pd.read_csv(tables / "model_metrics.csv").query("scope == 'pooled'").set_index("metric")
    assert model[2].startswith(f"{metrics.loc['auroc', 'value']:.3f} (")
    attacks = pd.read_csv(tables / "attack_summary.csv", dtype=str)
    told = [(row[3], row[5], row[6]) for row in rows_below(page.read_text(), "## Attacks")]
    assert told == list(
        zip(*(attacks[f"n_{name}"] for name in ("attacked", "flipped_float64", "feasible")), strict=True)
    )
    tested = pd.read_csv(tables / "verdicts.csv", dtype=str).query("effect == 'attacked stays that are flipped, %'")
    patients = tested.set_index(["mode", "direction"])["n_patients"]
    for row in rows_below(page.read_text(), "## Attacks"):
        assert row[4] == patients[row[1].strip("`"), row[2].replace("→", "_to_")]
    verdicts = pd.read_csv(tables / "verdicts.csv").query("claim == 1 and value == value")
    told = rows_below(page.read_text(), "### 1. The model predicts death as well as published")
    assert [row[-1] for row in told] == verdicts["verdict"].tolist()


def test_nothing_of_single_patients_and_no_path(finished, page):
    text = page.read_text()
    stays = pd.read_parquet(finished.folder / RESULTS / "extract/stays.parquet")
    numbers = set(map(int, re.findall(r"\b\d{5,}\b", text)))
    assert not numbers & set(stays[["stay_id", "subject_id", "hadm_id"]].to_numpy().ravel())
    assert str(finished.folder) not in text and str(page.parent) not in text
    assert "&" not in text.split("<details>")[0] and "nan" not in text.split("<details>")[0]


def test_every_figure_is_there_and_small(page):
    figures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", page.read_text())
    assert len(figures) == 4
    for figure in figures:
        svg = (page.parent / figure).read_text()
        assert svg.rstrip().endswith("</svg>") and len(svg) < 150_000


def test_the_same_run_gives_the_same_bytes(finished, page, tmp_path):
    again = tmp_path / "page.md"
    assert publish(finished, again).returncode == 0
    assert again.read_bytes() == page.read_bytes()


def test_a_changed_result_is_not_published(project, tmp_path):
    table = project.folder / RESULTS / "tables/verdicts.csv"
    table.write_text(table.read_text().replace("cannot tell", "supported"))
    done = publish(project, tmp_path / "page.md")
    assert done.returncode == 1
    # The table itself, and the report that was made from it.
    assert done.stderr.startswith(f"ehr-attack: {RESULTS}: 2 results do not hold.")
    assert not (tmp_path / "page.md").exists()


def test_what_is_no_finished_run_is_told(finished, tmp_path):
    done = publish(finished, tmp_path / "page.html")
    assert done.returncode == 1 and "expected the name of a .md file" in done.stderr
