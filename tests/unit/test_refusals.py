"""What a user gets wrong seldom, and what they are told: each ends in one message that names it."""

from pathlib import Path

import pandas as pd
import pytest
from torch import nn

from ehr_attack.attacks import load_mode
from ehr_attack.attacks.gradients import gradient_path
from ehr_attack.errors import UserError
from ehr_attack.screening.description import read_description
from ehr_attack.screening.records import read_records
from ehr_attack.sources.postgresql_loading import load_tables
from mimic3_builder import Records, a_usual_stay
from screen_builder import describe


def test_a_gradient_path_that_does_not_exist():
    with pytest.raises(UserError, match=r"attack\.path: 'fastest' is not known; expected auto, .*autograd"):
        gradient_path(nn.Linear(2, 2), "fastest")


@pytest.mark.parametrize(
    ("number", "text", "told"),
    [
        (1, "1 / 0", r"importing {module} failed: ZeroDivisionError: division by zero\. Mend it"),
        (
            2,
            "import no_such_package",
            "importing {module} failed: ModuleNotFoundError: No module named",
        ),
        (3, "class Other: ...", r"has no attribute 'Own'\. Expected the name of a class after the colon"),
    ],
)
def test_an_attack_of_ones_own_that_cannot_be_imported(tmp_path: Path, monkeypatch, number: int, text: str, told: str):
    module = f"refused_{number}"  # each its own: a module that can be imported stays so for the tests behind it
    (tmp_path / f"{module}.py").write_text(text + "\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError, match=rf"attack\.modes: '{module}:Own': .*{told.format(module=module)}"):
        load_mode(f"{module}:Own")


def test_new_records_with_a_column_twice(tmp_path: Path):
    """Blanks around a column's name do not count, so that `value` and `value ` are one."""
    describe(tmp_path, "lstm", 2, "forward")
    columns = {"stay_id": [7], "hours": [0.5], "variable": ["ph"], "value": [7.3], "value ": [7.4]}
    pd.DataFrame(columns).to_csv(tmp_path / "new.csv", index=False)
    with pytest.raises(UserError, match=r"new\.csv: a column stands there twice; expected stay_id, hours, variable"):
        read_records(tmp_path / "new.csv", read_description(tmp_path))


def test_a_table_to_load_that_the_folder_has_not(tmp_path: Path):
    """Told before a server is asked for anything."""
    records = Records()
    a_usual_stay(records)
    records.write(tmp_path)
    with pytest.raises(UserError, match=r"--tables: .* holds no table ADMISIONS; found .*admissions"):
        load_tables("mimic3", tmp_path, tables=["ADMISIONS"])
