import csv

import numpy as np
import pytest

from ehr_attack.attacks.feasibility import OrderRule, Rules
from ehr_attack.errors import UserError
from ehr_attack.paths import RELATIONS_FILE, VARIABLES_FILE
from ehr_attack.preprocessing import Preprocessing
from ehr_attack.relations import Relation, load_relations
from ehr_attack.variables import load_variables

HEADER = "larger,smaller,margin\n"


def relations(tmp_path, *lines, variables=None):
    file = tmp_path / "relations.csv"
    file.write_text(HEADER + "\n".join(lines) + "\n")
    return load_relations(variables or load_variables(), file)


def test_those_of_the_run_s_variables_are_read_in_order():
    assert load_relations(load_variables()) == (Relation("sbp", "dbp", 0.0),)
    everything = load_relations(load_variables("all", "physionet2012"))
    assert everything == (Relation("sbp", "dbp", 0.0), Relation("sbp", "map", 0.0), Relation("map", "dbp", 0.0))


def test_every_name_of_the_file_is_a_variable():
    with VARIABLES_FILE.open(newline="") as lines:
        known = {row["variable"] for row in csv.DictReader(lines)}
    with RELATIONS_FILE.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert rows and {row[column] for row in rows for column in ("larger", "smaller")} <= known


def test_the_rules_of_a_fold_know_them_by_feature_number():
    variables = load_variables("all", "physionet2012")
    names = [variable.name for variable in variables]
    count = len(variables)
    preprocessing = Preprocessing.fit(np.random.default_rng(0).normal(size=(3, 4, count)), names, "forward")
    rules = Rules.of(preprocessing, variables)
    assert rules.relations[1] == OrderRule(names.index("sbp"), names.index("map"), 0.0)
    assert (rules.low_exclusive[names.index("gcs")], rules.high_inclusive[names.index("gcs")]) == (2, 15)


@pytest.mark.parametrize("line", ["sbp,dbp,wide", "sbp,sbp,0", "sbp,dbp", "sbp,dbp,nan"])
def test_a_malformed_row_is_named(tmp_path, line):
    with pytest.raises(UserError, match=r"relations\.csv: the row sbp,.* is malformed"):
        relations(tmp_path, line)


def test_variables_of_different_units_have_no_order(tmp_path):
    with pytest.raises(UserError, match=r"sbp \(mmHg\) and sodium \(mEq/L\) cannot be compared"):
        relations(tmp_path, "sbp,sodium,0")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"gone\.csv"):
        load_relations(load_variables(), tmp_path / "gone.csv")


def mutability(tmp_path, **cells):
    """Names of the variables of profile `all` that may change, with these cells in column `mutable`."""
    with VARIABLES_FILE.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    file = tmp_path / "variables.csv"
    with file.open("w", newline="") as lines:
        writer = csv.DictWriter(lines, rows[0].keys())
        writer.writeheader()
        writer.writerows(row | {"mutable": cells.get(row["variable"], row["mutable"])} for row in rows)
    return [variable.name for variable in load_variables("all", "physionet2012", file) if variable.mutable]


def test_all_but_demographic_variables_may_change_unless_the_table_says_no(tmp_path):
    names = [variable.name for variable in load_variables("all", "physionet2012")]
    assert mutability(tmp_path) == [name for name in names if name != "age"]
    assert "sbp" not in mutability(tmp_path, sbp="no") and "dbp" in mutability(tmp_path, sbp="no")
    assert "age" not in mutability(tmp_path, age="yes")
    with pytest.raises(UserError, match=r"variable 'sbp' is malformed.*yes, no or nothing in `mutable`"):
        mutability(tmp_path, sbp="perhaps")
