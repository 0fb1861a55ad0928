"""Attack modes of every kind in one run: recorded values, baselines, a user's own, and what an edit of one concerns."""

import pyarrow.parquet as pq
import pytest

OWN = """
from ehr_attack.attacks.mode import Mode


class Upwards(Mode):
    def update(self, state, seen):
        return {"point": state["point"] + 0.05}
"""
ADDED = ["ead", "measurement", "single", "random_cells", "own_modes:Upwards"]
LABELS = [name.rpartition(":")[2] for name in ADDED]
PRUNED = {"ead": {"prune": True, "lambdas": {"count": 6}}, "Upwards": {"steps": 3}}


@pytest.fixture
def with_modes(project):
    """The finished small run, whose modes are ista and sun2018, with the others added; nothing of them run yet."""
    (project.folder / "own_modes.py").write_text(OWN)
    project.edit_config("attack.modes", ["ista", "sun2018", *ADDED])
    project.edit_config("attack.overrides", PRUNED)
    return project


def table(project, mode, name, fold=0):
    return pq.read_table(
        project.folder / f"results/small/attacks/lstm/{mode}/seed_0/fold_{fold}/{name}.parquet"
    ).to_pandas()


def test_all_modes_attack_and_are_reported(with_modes):
    stale = with_modes.stale_rules()
    assert (stale["attack"], stale["merge_attack"]) == (2 * len(ADDED), 2 * len(ADDED)), "the others are done"
    with_modes.snakemake()
    attacked = {mode: set(table(with_modes, mode, "outcomes")["stay_id"]) for mode in ("ista", *LABELS)}
    for mode in LABELS[:3]:
        assert attacked[mode] == attacked["ista"], "every attack takes the same stays"
    for mode in ("measurement", "single", "Upwards"):
        outcomes = table(with_modes, mode, "outcomes")
        assert outcomes["lambda"].isna().all() and outcomes["stay_id"].is_unique
    ead = table(with_modes, "ead", "outcomes")
    assert ead["lambda"].nunique() == 6 and not (ead["pruned"] & ead["flipped"]).any()
    assert (table(with_modes, "Upwards", "outcomes")["steps"] <= 3).all()
    check_recorded_values(with_modes)
    check_baselines(with_modes)
    page = (with_modes.folder / "results/small/report/index.html").read_text()
    assert all(f"<code>{mode}</code>" in page for mode in ADDED)
    assert with_modes.stale_rules() == {}
    edits(with_modes)


def check_recorded_values(project):
    """What changed is a recorded value of the stay, and the cells say the same."""
    measurements = pq.read_table(project.folder / "results/small/extract/measurements.parquet").to_pandas()
    seen = 0
    for mode in ("measurement", "single"):
        for fold in (0, 1):
            changes, cells = (table(project, mode, name, fold) for name in ("changes", "perturbations"))
            outcomes = table(project, mode, "outcomes", fold).set_index("stay_id")
            recorded = changes.merge(
                measurements,
                left_on=["stay_id", "variable", "hours", "value_before"],
                right_on=["stay_id", "variable", "hours", "value"],
            )
            assert len(recorded) >= len(changes) and (changes["value_before"] != changes["value_after"]).all()
            assert cells["observed"].all()
            counted = changes.groupby("stay_id").size()
            if mode == "measurement":
                assert (outcomes.loc[counted.index, "n_edited"] == counted).all()
            assert (outcomes.loc[outcomes["feasible"], "n_edited"] >= 1).all()
            seen += len(changes)
    assert seen > 0


def check_baselines(project):
    """They change the stays that ista flipped, and as many cells by no larger magnitudes (the box may cut them)."""
    for fold in (0, 1):
        matched = table(project, "ista", "outcomes", fold).query("selected").set_index("stay_id")
        outcomes = table(project, "random_cells", "outcomes", fold).set_index("stay_id")
        assert sorted(outcomes.index) == sorted(matched.index)
        assert (outcomes["n_changed"] <= matched.loc[outcomes.index, "n_changed"]).all()
        assert (outcomes["l1"] <= matched.loc[outcomes.index, "l1"] * 1.01 + 0.05).all()


def edits(project):
    """An edit of one mode's code or settings concerns that mode; a baseline follows the attack it is matched to."""

    def jobs():
        return project.stale_rules().get("attack", 0)

    project.append("scripts/ehr_attack/attacks/single.py", "# edited\n")
    assert jobs() == 2 * 7  # fold.py knows it: every mode
    (project.folder / "scripts/ehr_attack/attacks/single.py").write_text(
        (project.folder / "scripts/ehr_attack/attacks/single.py").read_text().removesuffix("# edited\n")
    )
    assert jobs() == 0
    project.append("scripts/ehr_attack/attacks/sigma_zero.py", "# edited\n")
    assert jobs() == 2  # measurement
    project.append("own_modes.py", "# edited\n")
    assert jobs() == 2 * 2
    project.edit_config("attack.levels", 4)
    assert jobs() == 2 * 3  # single
    project.edit_config("attack.overrides", PRUNED | {"ista": {"steps": 8}})
    assert jobs() == 2 * 5  # ista, and the baseline


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("attack.modes", ["istas"], "config key attack.modes: found 'istas'; expected sun2018, ista"),
        ("attack.modes", ["random_cells"], "random_cells is a baseline and needs an attack to match"),
        ("attack.modes", ["nowhere:Mode"], "there is no module nowhere"),
        ("attack.overrides", {"istas": {"steps": 3}}, "config key attack.overrides.istas: there is no such mode"),
        ("attack.overrides", {"ista": {"shards": 3}}, "config key attack.overrides.ista"),
        ("attack.path", "fast", "config key attack.path: found 'fast'; expected one of auto, autograd, manual, fused"),
    ],
)
def test_what_cannot_be_attacked_is_said_before_anything_runs(project, key, value, message):
    project.edit_config(key, value)
    done = project.snakemake("--dry-run", check=False)
    assert done.returncode != 0 and message in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
