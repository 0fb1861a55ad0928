import json
import os

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ehr_attack import storage
from ehr_attack.errors import UserError

SCHEMA = pa.schema({"a": pa.int32(), "b": pa.float64()})


def test_an_error_leaves_the_old_file_and_no_other(tmp_path):
    target = tmp_path / "table.csv"
    target.write_text("old")
    with pytest.raises(RuntimeError), storage.atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["table.csv"]


def test_the_folder_is_made_and_the_suffix_kept(tmp_path):
    with storage.atomic_path(tmp_path / "new" / "table.csv.gz") as temporary:
        assert temporary.name == "table.csv.gz"
        temporary.write_text("x")
    assert (tmp_path / "new" / "table.csv.gz").read_text() == "x"


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match=r"file: cannot write here"),
        storage.atomic_path(tmp_path / "file" / "x"),
    ):
        pass


def test_parquet_bytes_depend_on_content_only(tmp_path):
    frame = pd.DataFrame({"b": [0.5, np.nan], "a": [1, 2], "c": ["x", "y"]}, index=[7, 3])
    storage.write_frame(frame, tmp_path / "one.parquet", SCHEMA)
    storage.write_frame(frame.reset_index(drop=True), tmp_path / "two.parquet", SCHEMA)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    table = storage.read_parquet(tmp_path / "one.parquet")
    assert table.schema == SCHEMA
    assert table["b"].null_count == 0, "NaN in a float column stays NaN"


def test_files_that_are_missing_or_damaged_are_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.parquet: no such file"):
        storage.read_parquet(tmp_path / "none.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(UserError, match=r"bad\.parquet: not a readable Parquet file"):
        storage.read_frame(tmp_path / "bad.parquet")
    storage.write_frame(pd.DataFrame({"a": [1], "b": [1.0]}), tmp_path / "good.parquet", SCHEMA)
    with pytest.raises(UserError, match=r"good\.parquet: not a readable"):
        storage.read_parquet(tmp_path / "good.parquet", ["zzz"])
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(UserError, match=r"bad\.json: not a readable JSON"):
        storage.read_json(tmp_path / "bad.json")


def test_json_is_sorted_and_refuses_nan(tmp_path):
    storage.write_json({"b": 1, "a": [1.5]}, tmp_path / "x.json")
    assert (tmp_path / "x.json").read_text().index('"a"') < (tmp_path / "x.json").read_text().index('"b"')
    assert json.loads((tmp_path / "x.json").read_text()) == storage.read_json(tmp_path / "x.json")
    with pytest.raises(ValueError):
        storage.write_json({"a": float("nan")}, tmp_path / "y.json")
    assert not (tmp_path / "y.json").exists()
