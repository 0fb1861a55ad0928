"""A user's own variable: the line that the README shows, added to variables.csv, is a feature of the next run."""

import csv
import gzip
import re
from collections import defaultdict
from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest

CHLORIDE = "50902"


def line_of_the_readme(project_dir: Path) -> str:
    return re.search(r"^chloride,.*$", (project_dir / "README.md").read_text(), flags=re.MULTILINE)[0]


def raw_means(source: Path, stays: pd.DataFrame) -> dict[tuple[int, int], float]:
    """Stay and hour -> mean of its chloride values above 60 up to 150, from the raw rows alone."""
    intimes = defaultdict(list)
    for stay in stays.itertuples():
        intimes[str(stay.subject_id)].append((stay.stay_id, stay.intime))
    found = defaultdict(list)
    with gzip.open(source / "LABEVENTS.csv.gz", "rt", newline="") as lines:
        for row in csv.DictReader(lines):
            if row["ITEMID"] != CHLORIDE or not row["VALUENUM"] or not 60 < float(row["VALUENUM"]) <= 150:
                continue
            for stay_id, intime in intimes[row["SUBJECT_ID"]]:
                hour = (datetime.fromisoformat(row["CHARTTIME"]) - intime).total_seconds() // 3600
                if 0 <= hour < 48:
                    found[stay_id, int(hour)].append(float(row["VALUENUM"]))
    return {place: sum(values) / len(values) for place, values in found.items()}


def test_one_line_adds_a_variable(project, project_dir):
    project.append("scripts/ehr_attack/data/variables.csv", line_of_the_readme(project_dir) + "\n")
    assert {"stage", "audit", "extract", "features", "train", "attack", "report"} <= set(project.stale_rules())
    results = project.folder / "results" / "small"
    before = pd.read_parquet(results / "features/features.parquet")
    project.snakemake(*(f"results/small/{name}.parquet" for name in ("features/features", "audit/items")))

    features = pd.read_parquet(results / "features/features.parquet")
    assert [*before.columns, "chloride"] == features.columns.tolist()
    pd.testing.assert_frame_equal(features[before.columns], before)
    cells = features[features["chloride"].notna()].set_index(["stay_id", "hour"])["chloride"]
    expected = raw_means(results / "source", pd.read_parquet(results / "extract/stays.parquet"))
    assert len(expected) > 100
    assert cells.to_dict() == pytest.approx(expected, rel=1e-6)

    audited = pd.read_parquet(results / "audit/items.parquet").set_index("code").loc[CHLORIDE]
    assert (audited["variable"], audited["label"], audited["fluid"]) == ("chloride", "Chloride", "Blood")
    assert (audited["findings"], audited["n_rows"] > 100) == ("", True)
