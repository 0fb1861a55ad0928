"""The paper's protocol beside a run's configuration."""

import csv
from pathlib import Path

import pytest
import yaml

from ehr_attack.config import validated_config
from ehr_attack.protocol import DIFFERS, NOT_TOLD, PROTOCOL_FILE, SAME, protocol_config, protocol_rows


def overlaid(*presets, **changes):
    """The shipped configuration under presets and single changes (`block__key=value`)."""
    folder = Path(__file__).parents[2]
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    for preset in presets:
        overlay = yaml.safe_load((folder / f"workflow/presets/{preset}.yaml").read_text(encoding="utf-8"))
        for block, keys in overlay.items():
            config[block] |= keys
    for key, value in changes.items():
        block, _, name = key.partition("__")
        config[block][name] = value
    return validated_config(config)


def statuses(config):
    return {row["key"]: row["status"] for row in protocol_rows(config) if row["key"]}


def test_the_preset_differs_only_where_it_must(monkeypatch, tmp_path):
    """All that is told is done, but for the choice of admissions by their outcome."""
    monkeypatch.setenv("MIMIC3_DIR", str(tmp_path))
    differing = {key for key, status in statuses(overlaid("mimic3", "sun2018")).items() if status == DIFFERS}
    assert differing == {"cohort.first_stay_only"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("training__epochs", 24),
        ("training__models", ["lstm", "gru"]),
        ("training__class_balance", "none"),
        ("training__weight_decay", 0.01),
        ("attack__lambdas", {"count": 24, "low": 0.0005, "high": 0.015}),
        ("attack__max_stays", 100),
        ("features__window_hours", 24),
    ],
)
def test_every_change_is_noticed(monkeypatch, tmp_path, key, value):
    monkeypatch.setenv("MIMIC3_DIR", str(tmp_path))
    found = statuses(overlaid("mimic3", "sun2018", **{key: value}))
    assert found[key.replace("__", ".")] == DIFFERS


def test_what_the_paper_does_not_tell_is_said_so_with_what_the_run_does():
    rows = {row["key"]: row for row in protocol_rows(overlaid(training__lr=0.005))}
    assert (rows["training.lr"]["paper"], rows["training.lr"]["status"]) == (NOT_TOLD, NOT_TOLD)
    assert rows["training.lr"]["this_run"] == "0.005"
    assert rows["training.weight_decay"]["status"] == SAME and rows["training.weight_decay"]["this_run"] == "(null)"


def test_every_row_is_whole_and_every_key_exists():
    config = overlaid()
    rows = protocol_rows(config)
    assert all(row["aspect"] and row["paper"] and row["this_run"] for row in rows)
    assert {row["status"] for row in rows} <= {SAME, DIFFERS, NOT_TOLD}
    part = protocol_config(config)
    assert protocol_rows(part) == rows
    with PROTOCOL_FILE.open(encoding="utf-8") as file:
        assert all(len(line) == 7 for line in csv.reader(file))
