"""New records: what is refused and how it is said, and that what is read is what the run's own stages make of it."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from ehr_attack.attacks.gradients.autograd import AutogradPath
from ehr_attack.cli import main
from ehr_attack.errors import UserError
from ehr_attack.feature_tensor import load_tensor
from ehr_attack.inputs import model_inputs
from ehr_attack.screening.description import read_description
from ehr_attack.screening.records import read_records
from ehr_attack.screening.stays import NEW_RECORDS, open_source
from ehr_attack.storage import read_frame
from screen_builder import CARRY_IN, HOURS, NAMES, VARIABLES, SmallRun, describe, judged, make_run

ROWS = pd.DataFrame(
    {
        "stay_id": [7, 7, 8, 8],
        "hours": [0.5, 3.25, 1.0, 1.0],
        "variable": ["lactate", "sodium", "ph", "ph"],
        "value": [2.1, 140.0, 7.31, 7.31],
    }
)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    return make_run(tmp_path_factory.mktemp("records"), stays=60, epochs=4)


@pytest.fixture
def described(tmp_path):
    describe(tmp_path, "lstm", 2, "forward")
    return read_description(tmp_path)


def refused(frame: pd.DataFrame, described, tmp_path: Path, suffix: str = "csv") -> str:
    path = tmp_path / f"new.{suffix}"
    frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
    with pytest.raises(UserError) as error:
        read_records(path, described)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    return message


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("column", ["stay_id", "hours", "variable", "value"])
def test_a_missing_column_is_named(described, tmp_path, column, suffix):
    message = refused(ROWS.drop(columns=column), described, tmp_path, suffix)
    assert f"no column {column};" in message and "stay_id, hours, variable, value" in message


@pytest.mark.parametrize(
    ("variable", "value", "wanted"),
    [
        ("creatinine", 66.1, "creatinine: 1 (above 0, up to 66 mg/dL)"),
        ("creatinine", 0.0, "creatinine: 1 (above 0, up to 66 mg/dL)"),
        ("temperature", 98.6, "temperature: 1 (above 25, up to 46 degC)"),
        ("ph", 6.3, "ph: 1 (above 6.3, up to 8.4 pH)"),
    ],
)
def test_a_value_out_of_range_is_refused_without_being_quoted(described, tmp_path, variable, value, wanted):
    row = pd.DataFrame({"stay_id": [71234567], "hours": [2.0], "variable": [variable], "value": [value]})
    message = refused(pd.concat([ROWS, row]), described, tmp_path)
    assert wanted in message
    assert "71234567" not in message
    if value not in (0.0, 6.3):
        assert str(value) not in message


@pytest.mark.parametrize(("variable", "value"), [("creatinine", 66.0), ("ph", 6.31), ("spo2", 100.0)])
def test_the_ends_of_the_range_count_as_documented(described, tmp_path, variable, value):
    row = pd.DataFrame({"stay_id": [9], "hours": [2.0], "variable": [variable], "value": [value]})
    row.to_csv(tmp_path / "new.csv", index=False)
    assert len(read_records(tmp_path / "new.csv", described).rows) == 1


@pytest.mark.parametrize(
    ("column", "cell", "wanted"),
    [
        ("value", None, "column value: 1 row (the first: row 2) is no finite number"),
        ("value", "high", "column value: 1 row (the first: row 2) is no finite number"),
        ("value", "inf", "column value: 1 row (the first: row 2) is no finite number"),
        ("hours", "", "column hours: 1 row (the first: row 2) is no finite number"),
        ("stay_id", "7.5", "column stay_id: 1 row (the first: row 2) is no whole number"),
        ("stay_id", "A17", "column stay_id: 1 row (the first: row 2) is no whole number"),
        ("stay_id", "99999999999999999999", "column stay_id: 1 row (the first: row 2) is no whole number"),
        ("variable", "Kreatinin", "column variable: 1 row (the first: row 2) is not one of this run's variables"),
        ("variable", None, "column variable: 1 row (the first: row 2) is not one of this run's variables"),
    ],
)
def test_a_cell_of_the_wrong_kind_is_counted_and_placed(described, tmp_path, column, cell, wanted):
    frame = ROWS.astype(object)
    frame.loc[1, column] = cell
    message = refused(frame, described, tmp_path)
    assert wanted in message
    if column == "variable":
        assert "creatinine [mg/dL]" in message and "Kreatinin" not in message


def test_units_are_checked_where_they_are_told(described, tmp_path):
    units = ROWS.assign(unit=["mmol/L", "mEq/L", "pH", "pH"])
    units.to_csv(tmp_path / "right.csv", index=False)
    assert len(read_records(tmp_path / "right.csv", described).rows) == 4
    units.loc[0, "unit"] = "mg/dL"
    assert "lactate: 1 row (the first: row 1) is in another unit or none; expected mmol/L" in refused(
        units, described, tmp_path
    )


@pytest.mark.parametrize(
    ("lengths", "wanted"),
    [
        ([5, 5, 0, 0], "column hours_observable: 2 rows (the first: row 3) are below 1"),
        ([5, 6, 4, 4], "column hours_observable: 1 stays have more than one"),
        ([5, 5, 4.5, 4.5], "column hours_observable: 2 rows (the first: row 3) are no whole number"),
    ],
)
def test_lengths_are_checked(described, tmp_path, lengths, wanted):
    assert wanted in refused(ROWS.assign(hours_observable=lengths), described, tmp_path)


def test_other_files_are_refused(described, tmp_path):
    assert "no rows" in refused(ROWS[:0], described, tmp_path)
    with pytest.raises(UserError, match="no such file"):
        read_records(tmp_path / "none.csv", described)
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(UserError, match="not readable as Parquet"):
        read_records(tmp_path / "broken.parquet", described)
    ROWS.to_csv(tmp_path / "whole.csv.gz", index=False)
    (tmp_path / "cut.csv.gz").write_bytes((tmp_path / "whole.csv.gz").read_bytes()[:-30])
    with pytest.raises(UserError, match="not readable as CSV"):
        read_records(tmp_path / "cut.csv.gz", described)


def test_a_stay_without_a_value_in_the_window_is_refused(described, tmp_path):
    late = ROWS.assign(hours=[0.5, 3.25, 60.0, 61.0])
    assert "1 of 2 stays have no value in the hours 0 to 12" in refused(late, described, tmp_path)
    ended = ROWS.assign(hours=[0.5, 3.25, 5.0, 6.0], hours_observable=[12, 12, 4, 4])
    assert "1 of 2 stays have no value" in refused(ended, described, tmp_path)


def test_what_lies_outside_the_window_is_left_out_and_told(described, tmp_path, caplog):
    outside = pd.DataFrame({"stay_id": 7, "hours": [-6.1, 12.0, 300.0], "variable": "ph", "value": 7.4})
    pd.concat([ROWS, outside]).to_csv(tmp_path / "new.csv", index=False)
    with caplog.at_level("WARNING"):
        records = read_records(tmp_path / "new.csv", described)
    assert len(records.rows) == 4
    assert "3 of 7 values lie outside the hours that the models know (-6 to 12" in caplog.text


def test_records_become_what_the_stages_make_of_them(small, described, tmp_path):
    """Hourly means, what is carried in, and lengths: to the last bit those of the run's own SQL."""
    shuffled = small.measurements.sample(frac=1.0, random_state=3)
    lengths = small.stays.set_index("stay_id")["hours_observable"]
    shuffled.assign(hours_observable=shuffled["stay_id"].map(lengths)).to_parquet(tmp_path / "new.parquet")
    records = read_records(tmp_path / "new.parquet", described)
    tensor = load_tensor(small.folder / "features/features.parquet", NAMES, HOURS)
    np.testing.assert_array_equal(records.stay_ids, tensor.stay_ids)
    np.testing.assert_array_equal(records.n_hours, tensor.n_hours)
    np.testing.assert_array_equal(records.carry_in, tensor.carry_in)
    np.testing.assert_array_equal(records.events.means().astype(np.float32), tensor.values)
    assert CARRY_IN and not np.isnan(tensor.carry_in).all()


def predicted(small: SmallRun, out: Path, *arguments: str) -> pd.DataFrame:
    assert main(["predict", "--run", str(small.folder), "--device", "cpu", "--out", str(out), *arguments]) == 0
    return pd.read_parquet(out) if out.suffix == ".parquet" else pd.read_csv(out)


def test_predictions_of_held_out_stays_are_those_of_training(small, tmp_path):
    frame = predicted(small, tmp_path / "p.parquet", "--all-held-out")
    parts = [read_frame(path) for path in (small.folder / "models/lstm/seed_0").glob("fold_*/predictions.parquet")]
    wanted = pd.concat(parts).query("split == 'test'").sort_values("stay_id", ignore_index=True)
    assert frame["stay_id"].tolist() == wanted["stay_id"].tolist()
    assert frame["fold"].tolist() == wanted["fold"].tolist()
    np.testing.assert_allclose(frame["p_death"], wanted["p_death"], atol=1e-6)
    assert (tmp_path / "p.parquet").stat().st_mode & 0o777 == 0o600


def test_predictions_of_new_records_are_the_mean_logit_and_each_fold(small, tmp_path):
    lengths = small.stays.set_index("stay_id")["hours_observable"]
    rows = small.measurements.assign(hours_observable=small.measurements["stay_id"].map(lengths))
    rows.to_csv(tmp_path / "new.csv", index=False)
    frame = predicted(small, tmp_path / "p.csv", "--records", str(tmp_path / "new.csv"))
    ids, logits = judged(small, small.measurements, tmp_path)
    assert frame["stay_id"].tolist() == ids
    np.testing.assert_allclose(frame["p_death"], 1 / (1 + np.exp(-logits.mean(axis=0))), atol=2e-5)
    for fold, own in enumerate(logits):
        np.testing.assert_allclose(frame[f"p_death_fold_{fold}"], 1 / (1 + np.exp(-own)), atol=2e-5)


def test_the_template_is_accepted(small, tmp_path, capsys):
    path = tmp_path / "example.csv"
    assert main(["predict", "--run", str(small.folder), "--template", str(path)]) == 0
    assert set(pd.read_csv(path)["variable"]) == set(NAMES)
    assert main(["predict", "--run", str(small.folder), "--records", str(path), "--device", "cpu"]) == 0
    assert re.match(r"stay_id,p_death,p_death_fold_0,p_death_fold_1\n1,0\.\d+,", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--stay", "5", "6"], "--stay: 2 of 2 ids are of no stay of this run; expected stay_id's of its 60 stays"),
        (["--stay", "73140060"], "--stay: 1 of 1 stays were held out by no fold"),
        (["--all-held-out", "--model", "grud"], "--model grud: the run has no such model; expected one of lstm."),
        (["--all-held-out", "--seed", "4"], "--seed 4: the run has no models of this seed; expected one of 0."),
        (["--records", "nowhere.csv"], "nowhere.csv: no such file."),
    ],
)
def test_what_the_run_has_not_is_said(small, arguments, wanted, capsys):
    for command in ("predict", "screen"):
        assert main([command, "--run", str(small.folder), "--device", "cpu", *arguments]) == 1
        assert wanted in capsys.readouterr().err


def test_folders_that_are_no_finished_run(small, tmp_path, capsys):
    assert main(["predict", "--run", str(tmp_path / "none"), "--all-held-out"]) == 1
    assert "no such folder" in capsys.readouterr().err
    assert main(["predict", "--run", str(tmp_path), "--all-held-out"]) == 1
    assert "run.json: no such file" in capsys.readouterr().err
    describe(tmp_path, "lstm", 2, "forward")
    assert main(["predict", "--run", str(tmp_path), "--stay", "1"]) == 1
    assert "features.parquet" in capsys.readouterr().err
    ROWS.to_csv(tmp_path / "new.csv", index=False)
    assert main(["predict", "--run", str(tmp_path), "--records", str(tmp_path / "new.csv")]) == 1
    assert "no trained model here. Expected the models of 2 folds" in capsys.readouterr().err
    (tmp_path / "run.json").write_text(json.dumps({"version": 2}))
    assert main(["predict", "--run", str(tmp_path), "--all-held-out"]) == 1
    assert "not a description of a run by this version" in capsys.readouterr().err


@pytest.mark.parametrize("identity", ["99999999999999999999", "-3", "x"])
def test_an_id_that_no_stay_can_have_is_wrong_usage(small, identity, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["predict", "--run", str(small.folder), f"--stay={identity}"])
    assert ended.value.code == 2 and "--stay" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change", [{"window_hours": "x"}, {"folds": 0}, {"attack": {}}, {"models": []}, {"seeds": ["0"]}]
)
def test_a_description_with_a_wrong_part_ends_in_one_message(small, tmp_path, change, capsys):
    described = json.loads((small.folder / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps(described | change))
    assert main(["predict", "--run", str(tmp_path), "--all-held-out"]) == 1
    assert "not a description of a run by this version" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "key"), [({"imputation": "linear"}, "features.imputation"), ({"carry_in_hours": 0}, "carry_in_hours")]
)
def test_a_description_of_other_settings_than_the_models_is_refused(small, tmp_path, change, key, capsys):
    """As after `snakemake run.json` with a config that has been changed since the training."""
    shutil.copytree(small.folder, tmp_path / "run")
    described = json.loads((small.folder / "run.json").read_text())
    (tmp_path / "run/run.json").write_text(json.dumps(described | change))
    ROWS.to_csv(tmp_path / "new.csv", index=False)
    assert main(["predict", "--run", str(tmp_path / "run"), "--records", str(tmp_path / "new.csv")]) == 1
    told = capsys.readouterr().err
    assert key in told and "is of another config than the models" in told


def test_a_folder_that_cannot_be_written_to_is_told_before_the_work(small, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    arguments = ["screen", "--run", str(small.folder), "--all-held-out", "--device", "cpu", "--out"]
    assert main([*arguments, str(tmp_path / "file")]) == 1
    told = capsys.readouterr().err
    assert "cannot be made or written to" in told and "screen:" not in told.replace("ehr-attack", "")


def test_a_module_named_by_a_file_alone_is_not_imported(small, tmp_path, capsys, monkeypatch):
    """A run's folder may come from somebody else; what it names is imported by the user's word only."""
    (tmp_path / "own_model.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.chdir(tmp_path)
    describe(tmp_path, "own_model:Own", 1, "forward")
    ROWS.to_csv(tmp_path / "new.csv", index=False)
    assert main(["predict", "--run", str(tmp_path), "--records", str(tmp_path / "new.csv")]) == 1
    assert "--model own_model:Own" in capsys.readouterr().err


@pytest.mark.parametrize(("model", "imputation"), [("lstm", "forward"), ("grud", "linear")])
def test_the_joint_space_is_each_models_own_preprocessing(model, imputation, tmp_path):
    """Features at a random change, margins and gradients of the joint model: against each model by itself."""
    from ehr_attack.screening import engine
    from ehr_attack.screening.joint import joint_preprocessing

    run = make_run(tmp_path, stays=24, folds=2, model=model, imputation=imputation, epochs=2)
    description = read_description(run.folder)
    rows = run.measurements[run.measurements["stay_id"] < 73_140_009]
    rows.to_parquet(tmp_path / "new.parquet")
    source = open_source(
        run.folder, description, stays=None, all_held_out=False, records=tmp_path / "new.parquet", model=None, seed=None
    )
    assert source.kind == NEW_RECORDS
    (batch,) = source.batches(64, with_events=True)
    settings = engine.ScreenSettings(description.attack, 3, 1)
    screening = engine._Screening(batch, VARIABLES, settings, torch.device("cpu"))
    scale = joint_preprocessing([checkpoint.preprocessing for checkpoint in batch.checkpoints.values()]).scale
    random = np.random.default_rng(1)
    events = batch.events
    point = np.where((random.random(events.value.shape) < 0.2) & events.real, random.normal(size=events.value.shape), 0)
    edited = events.means(events.value + point * scale[events.feature])
    stays = torch.arange(len(batch.stay_ids))
    found = screening._space.features(stays, torch.from_numpy(point)).numpy()
    wanted = [
        model_inputs(c.preprocessing, c.inputs, edited, batch.carry_in, batch.n_hours)
        for c in batch.checkpoints.values()
    ]
    n = len(NAMES)
    np.testing.assert_allclose(found, np.concatenate([part[..., :n] for part in wanted], axis=-1), atol=2e-6)
    seen = screening._victims.seen(stays, torch.from_numpy(found).float())
    lengths = screening._victims.lengths
    for number, checkpoint in enumerate(batch.checkpoints.values()):
        own = checkpoint.model(torch.from_numpy(wanted[number]), lengths)
        torch.testing.assert_close(screening._model.each(seen, lengths)[number], own, atol=1e-5, rtol=0)
    labels = screening._victims.labels
    margin, gradient = screening._path(seen, lengths, labels)
    margin_slow, gradient_slow = AutogradPath(screening._model)(seen, lengths, labels)
    torch.testing.assert_close(margin, margin_slow, atol=1e-5, rtol=0)
    torch.testing.assert_close(gradient[..., : 2 * n], gradient_slow[..., : 2 * n], atol=1e-5, rtol=1e-4)
