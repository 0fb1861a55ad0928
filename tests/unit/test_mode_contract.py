"""A user's own attack mode that cannot work is refused with the reason, before it attacks anything."""

import pytest
import torch

from ehr_attack.attacks import BASELINE, MODES, SINGLE, load_mode
from ehr_attack.attacks.contract import check_mode
from ehr_attack.attacks.mode import Mode
from ehr_attack.errors import UserError
from ehr_attack.paths import CONFIG_SCHEMA_FILE


class Unwritten(Mode):
    pass


class OneRow(Mode):
    def update(self, state, seen):
        return {"point": state["point"][:1]}


class NoPoint(Mode):
    def update(self, state, seen):
        return {"moved": state["point"]}


class NoState(Mode):
    def update(self, state, seen):
        return state["point"]


class Loose(Mode):
    def update(self, state, seen):
        return {"point": state["point"], "step": torch.tensor(3.0)}


class Endless(Mode):
    def update(self, state, seen):
        return {"point": state["point"] / 0.0}


class Together(Mode):
    def update(self, state, seen):
        return {"point": state["point"] - seen.gradient.mean(dim=0, keepdim=True).expand_as(state["point"])}


class Failing(Mode):
    def update(self, state, seen):
        return {"point": state["velocity"]}


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Unwritten, "fails on 3 rows of 5 numbers: NotImplementedError"),
        (OneRow, r"gives 'point' of 3 rows as a tensor of shape \(1, 5\)"),
        (NoPoint, "gives a state without `point`"),
        (NoState, "gives a state without `point`"),
        (Loose, r"gives 'step' of 3 rows as a tensor of shape \(\)"),
        (Endless, r"gives `point` as a tensor of shape \(3, 5\); expected finite numbers"),
        (Together, "moves a row otherwise when others are beside it"),
        (Failing, "fails on 3 rows of 5 numbers: KeyError: 'velocity'"),
    ],
)
def test_what_is_not_kept_is_said(kind, message):
    with pytest.raises(UserError, match=rf"attack\.modes: 'mine:Own' {message}"):
        check_mode(kind(), "mine:Own")


@pytest.mark.parametrize("mode", [name for name, entry in MODES.items() if entry.kind not in (BASELINE, SINGLE)])
def test_the_modes_of_this_project_keep_it(mode):
    check_mode(load_mode(mode), mode)


def test_a_mode_of_ones_own_is_checked_when_it_is_loaded(tmp_path, monkeypatch):
    (tmp_path / "unfinished.py").write_text(
        "from ehr_attack.attacks.mode import Mode\n\n\nclass Own(Mode):\n    pass\n\n\n"
        "class Asking(Mode):\n    def __init__(self, rate):\n        pass\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError, match="'unfinished:Own' fails on 3 rows"):
        load_mode("unfinished:Own")
    with pytest.raises(UserError, match="'unfinished:Asking' cannot be made: TypeError"):
        load_mode("unfinished:Asking")


def test_the_schema_names_the_modes_of_the_registry():
    schema = CONFIG_SCHEMA_FILE.read_text(encoding="utf-8")
    listed = schema.partition("Attack modes to run")[2].partition("- description")[0]
    assert [line.strip(" -") for line in listed.splitlines() if line.startswith(" " * 16 + "- ")] == list(MODES)
