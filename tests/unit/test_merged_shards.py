"""Shards' tables end to end: by stay and lambda whatever the order of the shards, cells in the order of their row."""

from pathlib import Path

import pandas as pd
import pytest

from ehr_attack.attacks.selection import merge_shards
from ehr_attack.schemas.attacks import CHANGES, OUTCOMES, PERTURBATIONS
from ehr_attack.storage import read_frame, write_frame

SCHEMAS = {"outcomes": OUTCOMES, "perturbations": PERTURBATIONS, "changes": CHANGES}
KEY = {"model": "lstm", "mode": "ista", "seed": 0, "fold": 0}


def filled(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """The rest of the table's columns, of no matter here; shards have no `selected` yet."""
    rest = [field for field in SCHEMAS[name] if field.name not in frame and field.name != "selected"]
    fill = {field.name: "" if str(field.type) == "string" else 0 for field in rest}
    bools = [field.name for field in rest if str(field.type) == "bool"]
    return frame.assign(**(fill | KEY)).astype(dict.fromkeys(bools, bool))


def write_shard(folder: Path, rows: list[tuple[int, float, float]], cells: list[tuple[int, float, int]]) -> None:
    """rows: stay, lambda, largest change; cells: stay, lambda, hour."""
    outcomes = pd.DataFrame(rows, columns=["stay_id", "lambda", "linf"]).assign(n_changed=1, feasible=True)
    places = pd.DataFrame(cells, columns=["stay_id", "lambda", "hour"])
    schema = OUTCOMES.remove(OUTCOMES.get_field_index("selected"))
    write_frame(filled(outcomes, "outcomes"), folder / "outcomes.parquet", schema)
    write_frame(filled(places.assign(variable="ph"), "perturbations"), folder / "perturbations.parquet", PERTURBATIONS)
    moments = places.rename(columns={"hour": "hours"})
    write_frame(filled(moments, "changes"), folder / "changes.parquet", CHANGES)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_rows_are_sorted_and_the_smallest_of_each_stay_is_marked(tmp_path, order):
    """Stays 5 and 9 in the first shard, 7 in the second; cells of a row are in no order of their own."""
    shards = [tmp_path / "0", tmp_path / "1"]
    write_shard(
        shards[0],
        [(5, 0.1, 0.4), (5, 0.2, 0.3), (9, 0.1, 0.2), (9, 0.2, 0.6)],
        [(5, 0.1, 3), (5, 0.1, 1), (5, 0.2, 2), (9, 0.1, 8), (9, 0.2, 7)],
    )
    write_shard(shards[1], [(7, 0.1, 0.5), (7, 0.2, 0.1)], [(7, 0.1, 6), (7, 0.1, 4), (7, 0.2, 5)])
    out = {name: str(tmp_path / f"{name}.parquet") for name in SCHEMAS}
    merge_shards(
        *([str(shards[place] / f"{name}.parquet") for place in order] for name in SCHEMAS),
        n_cells=10, weight=0.5, **{f"out_{name}": path for name, path in out.items()},
    )  # fmt: skip
    outcomes, perturbations, changes = (read_frame(out[name]) for name in SCHEMAS)
    rows = list(zip(outcomes["stay_id"], outcomes["lambda"], outcomes["selected"], strict=True))
    assert rows == [
        (5, 0.1, False), (5, 0.2, True), (7, 0.1, False), (7, 0.2, True), (9, 0.1, True), (9, 0.2, False),
    ]  # fmt: skip
    assert perturbations["stay_id"].tolist() == [5, 5, 5, 7, 7, 7, 9, 9]
    assert perturbations["hour"].tolist() == [3, 1, 2, 6, 4, 5, 8, 7] == changes["hours"].tolist()
