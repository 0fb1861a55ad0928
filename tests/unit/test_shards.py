"""The merged tables of an attack are the same to the byte however many shards it had, in every mode."""

from pathlib import Path

import pytest

from ehr_attack.attacks import MODES, is_baseline
from ehr_attack.storage import read_parquet
from small_run import SmallRun

TABLES = ("outcomes", "perturbations", "changes")
STAYS = 7
# No more stays than that are attacked: in the last case most shards are empty.
SHARDS = (2, 3, STAYS + 4)
SETTINGS = {"steps": 12, "lambdas": {"count": 3, "low": 0.0005, "high": 0.015}, "max_stays": STAYS, "prune": True}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    """Two models: one that attacks flip, and one with compiled gradients, which learnt too little for that."""
    made = SmallRun.of(tmp_path_factory.mktemp("run"), stays=120)
    made.train("logistic", epochs=20)
    made.train("lstm", epochs=2)
    made.attack_fold("logistic", "fmn_l1", made.folder / "matched", **SETTINGS)
    return made


@pytest.mark.parametrize("model", ["logistic", "lstm"])
@pytest.mark.parametrize("mode", MODES)
def test_the_number_of_shards_changes_no_byte(mode: str, model: str, run: SmallRun, tmp_path: Path) -> None:
    matched = run.folder / "matched" if is_baseline(mode) else None
    for shards in (1, *SHARDS):
        run.attack_fold(model, mode, tmp_path / str(shards), shards=shards, matched=matched, **SETTINGS)
    outcomes = read_parquet(tmp_path / "1" / "outcomes.parquet").to_pandas()
    attacked = outcomes["stay_id"].nunique()
    assert attacked == STAYS or (matched and attacked > 2)
    assert outcomes["flipped"].any() or model == "lstm" or matched
    for shards in SHARDS:
        parts = [tmp_path / str(shards) / "shards" / str(index) for index in range(shards)]
        rows = [read_parquet(part / "outcomes.parquet").num_rows for part in parts]
        assert sum(count > 0 for count in rows) == min(shards, attacked)
        for table in TABLES:
            whole, joined = (tmp_path / str(count) / f"{table}.parquet" for count in (1, shards))
            assert whole.read_bytes() == joined.read_bytes(), (shards, table)
