"""The estimate's arithmetic against numbers worked out by hand, its samples, and its words."""

import dataclasses
import gzip
import json
import os
import subprocess
import sys

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import mimic4_builder
from ehr_attack.errors import UserError
from ehr_attack.estimate import calibration as calibration_module
from ehr_attack.estimate import machine as machine_module
from ehr_attack.estimate import samples
from ehr_attack.estimate.calibration import AttackCost, Calibration, ModelCost, calibrate, endless_search
from ehr_attack.estimate.costs import make_plan, mean_updates
from ehr_attack.estimate.machine import Machine, this_machine
from ehr_attack.estimate.pilot import Measured, Pilot, run_pilot, scaled_seconds
from ehr_attack.estimate.plan import Plan, RuleEstimate
from ehr_attack.estimate.presentation import (
    Estimate,
    as_data,
    as_text,
    bytes_text,
    gpu_bytes,
    seconds_text,
    stays_text,
    warnings,
)
from ehr_attack.estimate.settings import configured, merged
from ehr_attack.estimate.workload import Workload
from ehr_attack.paths import PROJECT_DIR
from ehr_attack.synthetic import generate
from ehr_attack.variables import items_of, load_variables
from mimic3_builder import HEART_RATE, SODIUM, Records
from physionet2012_builder import write_set


@pytest.fixture(scope="module")
def config():
    """The config of config.yaml, without models on a null cohort, so that counts can be worked out by hand."""
    return changed(configured(PROJECT_DIR, []), susceptibility__null_cohort="none")


def changed(config, **values):
    """`config` with dotted keys replaced, as in changed(config, attack__steps=3)."""
    result = json.loads(json.dumps(config))
    for key, value in values.items():
        block, _, name = key.partition("__")
        result[block][name] = value
    return result


# --- config


_yaml_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
_blocks = st.dictionaries(st.sampled_from("abc"), _yaml_values, max_size=3)


def blocks_meet_blocks(base, overlay):
    """Whether no block is laid over something that is none, which the schema would refuse anyway."""
    shared = [(base[key], value) for key, value in overlay.items() if key in base and isinstance(value, dict)]
    return all(isinstance(below, dict) and blocks_meet_blocks(below, value) for below, value in shared)


@given(_blocks, _blocks)
def test_overlays_merge_as_snakemake_merges_them(base, overlay):
    from snakemake.utils import update_config

    assume(blocks_meet_blocks(base, overlay))
    expected = json.loads(json.dumps(base))
    update_config(expected, overlay)
    assert merged(base, overlay) == expected


def write_yaml(path, content):
    path.write_text(yaml.safe_dump(content))
    return path


def test_later_overlays_win_and_the_folders_own_config_replaces_the_projects(tmp_path):
    write_yaml(tmp_path / "config.yaml", {"run": {"name": "own"}, "attack": {"steps": 7, "rate": 0.5}})
    first = write_yaml(tmp_path / "first.yaml", {"attack": {"steps": 8}, "folds": {"count": 3}})
    second = write_yaml(tmp_path / "second.yaml", {"attack": {"steps": 9}})
    found = configured(tmp_path, [first, second])
    assert (found["run"]["name"], found["attack"]["steps"], found["attack"]["rate"]) == ("own", 9, 0.5)
    assert found["folds"]["count"] == 3
    assert configured(tmp_path / "..", [])["run"]["name"] == "synthetic"


def test_a_relative_source_path_is_meant_from_the_directory(tmp_path):
    overlay = write_yaml(tmp_path / "o.yaml", {"source": {"kind": "mimic3", "path": "tables"}})
    assert configured(tmp_path, [overlay])["source"]["path"] == str(tmp_path / "tables")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"overlay\.yaml: the configuration cannot be read \(No such file or directory\).*workflow/presets"),
        ("a: [", r"overlay\.yaml: not valid YAML"),
        ("- a list", r"overlay\.yaml: expected a YAML mapping"),
        ("attack: {step: 3}", r"config key attack\.step: there is no such key; did you mean attack\.steps\?"),
    ],
)
def test_a_bad_overlay_is_named(tmp_path, content, message):
    if content is not None:
        (tmp_path / "overlay.yaml").write_text(content)
    with pytest.raises(UserError, match=message):
        configured(tmp_path, [tmp_path / "overlay.yaml"])


def test_a_directory_that_is_none(tmp_path):
    with pytest.raises(UserError, match=r"--directory: .*nowhere is no folder"):
        configured(tmp_path / "nowhere", [])


# --- counting


def workload(config, stays=1000.0, deaths=100.0, variables=19, folds=None, sets=None):
    count = config["folds"]["count"]
    return Workload.of(
        config, stays=stays, deaths=deaths, variables=variables, folds=folds or count, sets=sets or count
    )


def test_stays_of_a_fold_worked_out_by_hand(config):
    """1000 stays, 5 folds: 200 held out, 800 others, of which an eighth (100) validates."""
    work = workload(changed(config, attack__max_stays=None))
    assert (work.held_out, work.trained_on, work.validated_on) == (200, 700, 100)
    assert work.cells == 48 * 19
    assert work.attacked() == 150  # three quarters of 200
    assert work.attack_rows() == 5 * 150 * 25


def test_max_stays_limits_the_attack(config):
    assert workload(changed(config, attack__max_stays=120)).attacked() == 120
    assert workload(changed(config, attack__max_stays=120), stays=400.0).attacked() == 60


def test_oversampling_draws_deaths_up_to_survivors(config):
    """With 10 % deaths, the 630 survivors among 700 stays are matched by as many draws of deaths."""
    work = workload(changed(config, training__class_balance="oversample"))
    assert work.trained_on == pytest.approx(2 * 630)


def test_one_held_out_set_of_three(config):
    work = workload(config, stays=1200.0, folds=1, sets=3)
    assert (work.trainings, work.held_out, work.trained_on + work.validated_on) == (1, 400, 800)


def test_seeds_models_and_modes_multiply_jobs(config):
    work = workload(changed(config, run__seeds=[0, 1, 2], attack__modes=["ista", "sun2018"], attack__shards=4))
    plan = make_plan(config, fake_pilot(), fake_calibration(), work, cores=2)
    jobs = {rule.rule: rule.jobs for rule in plan.rules}
    assert (jobs["train"], jobs["attack"], jobs["merge_attack"]) == (3 * 5, 2 * 3 * 5 * 4, 2 * 3 * 5)
    assert (jobs["susceptibility"], jobs["plot_attack"], jobs["evaluate"]) == (2, 2, 1)
    assert (jobs["audit"], jobs["plot_cohort"]) == (1, 1)


def test_a_model_on_the_null_cohort_costs_what_the_model_costs_with_the_first_mode(config):
    """Three seeds, five folds: 15 trainings and attacks more; it is not evaluated, and has no figures."""
    config = changed(config, run__seeds=[0, 1, 2], attack__modes=["ista", "sun2018"])

    def plan(which):
        changed_config = changed(config, susceptibility__null_cohort=which)
        made = make_plan(changed_config, fake_pilot(), fake_calibration(), workload(changed_config), cores=2)
        return {rule.rule: rule for rule in made.rules}

    without, with_null = plan("none"), plan("first")
    more = {
        name: with_null[name].jobs - without[name].jobs
        for name in without
        if with_null[name].jobs != without[name].jobs
    }
    assert more == {"train": 15, "attack": 15, "merge_attack": 15, "susceptibility": 1}
    assert set(with_null) - set(without) == {"null_cohort"}
    assert with_null["train"].seconds == pytest.approx(2 * without["train"].seconds)
    assert with_null["attack"].rows == pytest.approx(1.5 * without["attack"].rows)


@given(st.sampled_from(["synthetic", "physionet2012", "mimic3"]), st.integers(1, 1000))
def test_mean_updates_are_at_most_all_and_grow_with_patience(kind, steps):
    assert 0 < mean_updates(kind, steps) <= steps
    assert mean_updates(kind, steps) < mean_updates(kind, steps + 1)


def test_mean_updates_of_the_measured_runs():
    assert mean_updates("synthetic", 100) == 35.2
    assert mean_updates("physionet2012", 15) == pytest.approx((6.2 + 9.3) / 2)
    assert mean_updates("synthetic", 200) == pytest.approx(35.2 + 0.22 * 100)
    assert mean_updates("mimic3", 100) == 35.2


# --- the plan


def fake_calibration(start=0.0, train_device="cpu", attack_device="cpu", gpus=0) -> Calibration:
    """A training stay costs 1 ms, a prediction 0.1 ms, an update 0.2 ms, judging a row 1 ms."""
    modes = ("ista", "sun2018")
    return Calibration(
        start_seconds=start,
        models={"lstm": ModelCost(1e-3, 1e-4, 320_000, 400_000)},
        attacks={("lstm", mode): AttackCost(2e-4, 1e-3) for mode in modes},
        train_device=train_device,
        attack_device=attack_device,
        chunk_rows=64,
        gpus=gpus,
    )


def fake_pilot(stays=1000.0, factor=1.0) -> Pilot:
    """Stages of one second and one megabyte."""
    stage = Measured(rows=1000 * factor, seconds=1.0 * factor, bytes=1e6 * factor, sorted_rows=1000 * factor)
    return Pilot(
        source_stays=stays * 1.1, stays=stays, deaths=stays / 10, variables=19, sample="a sample", exact=False,
        synthetic=stage, stage=dataclasses.replace(stage, jobs=7, longest=0.5 * factor), audit=stage, extract=stage,
        features=stage,
    )  # fmt: skip


def plan_of(config, stays=1000.0, cores=2, **calibration) -> Plan:
    pilot = fake_pilot(stays, stays / 1000)
    return make_plan(config, pilot, fake_calibration(**calibration), workload(config, stays, stays / 10), cores=cores)


def rule_of(plan: Plan, name: str) -> RuleEstimate:
    return next(rule for rule in plan.rules if rule.rule == name)


def test_attack_time_worked_out_by_hand(config):
    """5 folds x 120 stays x 25 lambdas = 15,000 rows: 35.2 updates of 0.2 ms and 1 ms of judging each are 120.6 s,
    at most 100 updates; besides, each of 5 jobs loads 1000 x 48 x 19 cells at 0.3 us.
    """
    attack = rule_of(plan_of(config), "attack")
    load = 5 * 1000 * 48 * 19 * 3e-7
    assert (attack.rows, attack.most_rows) == (15_000, 15_000)
    assert attack.seconds == pytest.approx(15_000 * (35.2 * 2e-4 + 1e-3) + load)
    assert attack.most_seconds == pytest.approx(15_000 * (100 * 2e-4 + 1e-3) + load)
    assert attack.longest == pytest.approx(attack.seconds / 5)


def test_training_time_worked_out_by_hand(config):
    """25 epochs of 700 stays trained (1 ms) and 100 validated (0.1 ms), then 1000 predicted: 17.85 s a fold."""
    train = rule_of(plan_of(config), "train")
    load = 1000 * 48 * 19 * 3e-7
    assert train.seconds == pytest.approx(5 * (25 * (0.7 + 0.01) + 0.1 + load))
    assert train.rows == 5 * 1000


def test_every_job_pays_its_start(config):
    quick, slow = plan_of(config), plan_of(config, start=2.0)
    assert rule_of(slow, "attack").seconds - rule_of(quick, "attack").seconds == pytest.approx(5 * 1.1 * 2.0)
    assert all(rule_of(slow, rule.rule).seconds > rule.seconds for rule in quick.rules)


def estimate(jobs=5, seconds=50.0, longest=10.0, **more) -> RuleEstimate:
    return RuleEstimate(
        rule="attack", jobs=jobs, rows=0, seconds=seconds, longest=longest, memory_bytes=1e9, disk_bytes=0,
        most_rows=0, most_seconds=2 * seconds, most_longest=2 * longest, **more,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "cores", "gpus", "expected"),
    [
        pytest.param(estimate(), 2, 0, 25.0, id="work over cores"),
        pytest.param(estimate(), 1, 0, 50.0, id="one core"),
        pytest.param(estimate(), 16, 0, 10.0, id="not shorter than a job"),
        pytest.param(estimate(longest=40.0), 16, 0, 40.0, id="uneven jobs"),
        pytest.param(estimate(on_gpu=True), 16, 1, 50.0, id="one job a GPU"),
        pytest.param(estimate(on_gpu=True), 16, 2, 25.0, id="two GPUs"),
        pytest.param(estimate(threads=2), 4, 0, 12.5, id="two threads a job"),
        pytest.param(estimate(threads=2), 1, 0, 50.0, id="two threads on one core"),
    ],
)
def test_wall_time(rule, cores, gpus, expected):
    assert rule.wall_seconds(cores, gpus) == expected
    assert rule.wall_seconds(cores, gpus, most=True) == 2 * expected


def test_memory_is_that_of_all_jobs_side_by_side(config):
    one, four, many = (plan_of(config, cores=cores).memory_bytes for cores in (1, 4, 64))
    largest = max(rule.memory_bytes for rule in plan_of(config).rules)
    assert one == pytest.approx(350e6 + largest)
    assert one < four < many == plan_of(config, cores=128).memory_bytes  # there are five folds, and no more jobs


def test_a_gpu_takes_one_training_or_attack_at_a_time(config):
    plan = plan_of(config, cores=16, train_device="cuda", attack_device="cuda", gpus=1)
    assert {rule.rule for rule in plan.rules if rule.on_gpu} == {"train", "attack"}
    assert rule_of(plan, "train").jobs_at_once(16, 1) == 1


_MORE = {
    "training.epochs": st.integers(1, 60),
    "training.batch_size": st.sampled_from([16, 64, 256]),
    "run.seeds": st.integers(1, 4).map(lambda count: list(range(count))),
    "folds.count": st.integers(2, 12),
    "attack.steps": st.integers(1, 300),
    "attack.shards": st.integers(1, 5),
    "attack.max_stays": st.integers(1, 5000),
    "susceptibility.bootstrap": st.integers(20, 500),
    "features.window_hours": st.integers(2, 96),
    "plots.dpi": st.integers(30, 300),
}


@settings(max_examples=60)
@given(data=st.data())
def test_more_of_anything_never_costs_less(config, data):
    """Work, rows and disk; not wall time, since more folds are more jobs to run side by side."""
    key = data.draw(st.sampled_from(["stays", "lambdas", *_MORE]))
    less_stays = more_stays = data.draw(st.floats(50, 50_000))
    values = st.integers(2, 200) if key in ("stays", "lambdas") else _MORE[key]
    less, more = sorted(
        (data.draw(values), data.draw(values)), key=lambda value: len(value) if isinstance(value, list) else value
    )
    configs = [config, config]
    if key == "stays":
        less_stays, more_stays = 50.0 * less, 50.0 * more
    elif key == "lambdas":
        configs = [changed(config, attack__lambdas=config["attack"]["lambdas"] | {"count": n}) for n in (less, more)]
    else:
        configs = [changed(config, **{key.replace(".", "__"): value}) for value in (less, more)]
    small, large = (plan_of(one, stays) for one, stays in zip(configs, (less_stays, more_stays), strict=True))
    slack = 1 + 1e-9
    assert small.core_seconds <= large.core_seconds * slack
    assert small.disk_bytes <= large.disk_bytes * slack
    assert sum(rule.rows for rule in small.rules) <= sum(rule.rows for rule in large.rules) * slack
    assert sum(rule.most_seconds for rule in small.rules) <= sum(rule.most_seconds for rule in large.rules) * slack
    if key in ("stays", "lambdas", "training.epochs", "attack.steps"):
        assert small.wall_seconds() <= large.wall_seconds() * slack
        assert small.memory_bytes <= large.memory_bytes * slack


@given(stays=st.floats(20, 1e6), steps=st.integers(1, 500), lambdas=st.integers(1, 100))
@settings(max_examples=40)
def test_at_most_is_never_less_than_about(config, stays, steps, lambdas):
    overlay = changed(config, attack__steps=steps, attack__lambdas=config["attack"]["lambdas"] | {"count": lambdas})
    plan = plan_of(overlay, stays)
    assert plan.wall_seconds() <= plan.wall_seconds(most=True)
    for rule in plan.rules:
        assert rule.rows <= rule.most_rows and rule.seconds <= rule.most_seconds
        assert 0 < rule.longest <= rule.seconds * (1 + 1e-9) or not rule.seconds


@pytest.mark.parametrize(
    ("rule", "rows", "memory_mb", "memory", "spilled"),
    [
        # Of 600 MB a job, 350 are DuckDB's; 10 M rows of 120 bytes are 1.2 GB.
        pytest.param("stage", 10e6, 600, 260e6 + 350e6, 850e6, id="a table too large"),
        pytest.param("stage", 2e6, 600, 260e6 + 240e6, 0, id="a table that fits"),
        pytest.param("stage", 10e6, 1450, 260e6 + 1.2e9, 0, id="a larger limit"),
        # The audit groups what all tables keep, 205 bytes a row.
        pytest.param("audit", 10e6, 600, 260e6 + 350e6, 1700e6, id="an audit too large"),
        pytest.param("audit", 1e6, 600, 260e6 + 205e6, 0, id="an audit that fits"),
    ],
)
def test_what_duckdb_may_not_hold_needs_room_on_disk(config, rule, rows, memory_mb, memory, spilled):
    pilot = fake_pilot()
    pilot = dataclasses.replace(pilot, **{rule: dataclasses.replace(getattr(pilot, rule), sorted_rows=rows)})
    limited = changed(config, source__memory_mb=memory_mb)
    plan = make_plan(limited, pilot, fake_calibration(), workload(config), cores=2)
    assert rule_of(plan, rule).memory_bytes == pytest.approx(memory)
    assert plan.temporary_bytes == pytest.approx(spilled)


def test_figures_of_the_cohort_grow_with_their_resolution(config):
    """The flow is 90 kB at 150 dpi: half of it SVG, half PNG, which has four times the pixels at 300 dpi."""
    sizes = [rule_of(plan_of(changed(config, plots__dpi=dpi)), "plot_cohort").disk_bytes for dpi in (150, 300)]
    assert sizes == pytest.approx([90e3, 45e3 + 4 * 45e3])


def test_scaled_seconds_leaves_the_fixed_part_alone():
    assert scaled_seconds(1.2, 0.2, 10) == pytest.approx(10.2)
    assert scaled_seconds(0.1, 0.2, 10) == pytest.approx(0.1)


# --- samples and pilot


def test_a_pilot_of_all_synthetic_stays_is_exact(config):
    pilot = run_pilot(changed(config, synthetic__stays=60), {})
    assert pilot.exact and pilot.source_stays == 60 and 20 < pilot.stays <= 60
    assert pilot.features.rows == pilot.stays * 48
    assert pilot.stage.jobs == 7 and pilot.synthetic.rows == 60


def dictionary_rows(config, folder):
    """Rows of the generator's two dictionaries, header lines left out."""
    generate(folder, **changed(config, synthetic__stays=20)["synthetic"])
    return sum(len(gzip.open(folder / f"{name}.csv.gz").readlines()) - 1 for name in ("D_ITEMS", "D_LABITEMS"))


def test_a_pilot_of_some_synthetic_stays_is_scaled_by_their_number(config, tmp_path, monkeypatch):
    """All but the dictionaries and the audit's line a code, which are as long for any number of stays."""
    monkeypatch.setattr(samples, "SYNTHETIC_STAYS", 60)
    whole = run_pilot(changed(config, synthetic__stays=60), {})
    scaled = run_pilot(changed(config, synthetic__stays=600), {})
    assert not scaled.exact
    for name in ("stays", "deaths", "source_stays"):
        assert getattr(scaled, name) == pytest.approx(10 * getattr(whole, name))
    for name in ("synthetic", "extract", "features"):
        assert getattr(scaled, name).rows == pytest.approx(10 * getattr(whole, name).rows)
    for name in ("extract", "features"):
        assert getattr(scaled, name).bytes == pytest.approx(10 * getattr(whole, name).bytes, rel=1e-6)
    fixed = dictionary_rows(config, tmp_path)
    assert fixed > 50
    assert scaled.stage.rows - fixed == pytest.approx(10 * (whole.stage.rows - fixed))
    for name in ("synthetic", "stage"):
        assert 9 * getattr(whole, name).bytes < getattr(scaled, name).bytes < 10 * getattr(whole, name).bytes
    assert (scaled.audit.rows, scaled.audit.bytes) == (whole.audit.rows, whole.audit.bytes)
    assert scaled.audit.sorted_rows == scaled.stage.rows > 9 * whole.audit.sorted_rows


def test_the_audit_of_a_pilot_has_a_line_a_code_and_a_check(config):
    """A line an item id of the clinical profile, seven of rows read, and 19 checks (some come once an event table)."""
    pilot = run_pilot(changed(config, synthetic__stays=60), {})
    codes = sum(len(items_of(variable)) for variable in load_variables())
    assert (codes, pilot.audit.rows) == (37, 37 + 7 + 19)
    assert pilot.audit.seconds > 0


def test_a_sample_that_fails_its_audit_says_so_unless_acknowledged(config, tmp_path):
    """The extract would stop there too, and hours of reading later."""
    from ehr_attack.sources import find_tables

    folder = mimic3_folder(tmp_path / "tables")
    text = "itemid,label,fluid\n50983,Sodium,Urine\n"
    (folder / "D_LABITEMS.csv").write_text(text)
    mimic3 = changed(config, source__kind="mimic3", source__path=str(folder))
    with pytest.raises(UserError, match=r"item-id audit: .*\n  fluid:50983: .*Urine"):
        run_pilot(mimic3, find_tables("mimic3", folder))
    pilot = run_pilot(changed(mimic3, source__acknowledged=["fluid:50983"]), find_tables("mimic3", folder))
    assert (pilot.stays, pilot.stage.jobs) == (10, 6)


def test_a_sample_need_not_have_the_rows_of_a_full_release(config, tmp_path):
    from ehr_attack.sources import find_tables

    folder = mimic3_folder(tmp_path / "tables")
    mimic3 = changed(config, source__kind="mimic3", source__path=str(folder), source__full_release=True)
    assert run_pilot(mimic3, find_tables("mimic3", folder)).stays == 10


def lines_file(path, count, compressed):
    """A table of `count` lines of 20 bytes below a header of 20 bytes."""
    text = b"row_id,itemid,value\n" + b"".join(b"%08d,220045,%03d\n" % (i, i % 997) for i in range(count))
    path.write_bytes(gzip.compress(text) if compressed else text)
    return path


@pytest.mark.parametrize("compressed", [False, True])
def test_the_beginning_of_a_table_ends_with_a_whole_line(tmp_path, monkeypatch, compressed):
    monkeypatch.setattr(samples, "EVENT_BYTES", 400_011)
    file = lines_file(tmp_path / f"T.csv{'.gz' if compressed else ''}", 100_000, compressed)
    sample, factor = samples._beginning(file, tmp_path / "t.csv.gz")
    content = gzip.decompress(sample.read_bytes()) if compressed else sample.read_bytes()
    assert sample != file and content.endswith(b"\n") and len(content) == 400_000
    assert factor == pytest.approx(2_000_020 / 400_011, rel=0.25 if compressed else 1e-9)


def parts_folder(folder):
    """A table of 300 lines of 20 bytes in three parts, the second compressed; each has a header line of 20 bytes."""
    folder.mkdir()
    for number, suffix in enumerate((".csv", ".csv.gz", ".csv")):
        lines_file(folder / f"part-{number}{suffix}", 100, suffix.endswith("gz"))
    return folder


@pytest.mark.parametrize(
    ("count", "lines"),
    [(1000, [49]), (2020 + 1010, [100, 49]), (2 * 2020 + 15, [100, 100]), (2 * 2020 + 25, [100, 100, 0])],
)
def test_the_first_parts_of_a_folder_are_taken(tmp_path, monkeypatch, count, lines):
    """The last of them to a whole line, and not at all where that is not even its header."""
    monkeypatch.setattr(samples, "EVENT_BYTES", count)
    folder = parts_folder(tmp_path / "CHARTEVENTS")
    sample, factor = samples._beginning(folder, tmp_path / "chartevents.csv.gz")
    assert sample != folder and factor > 1
    files = sorted(sample.iterdir())
    found = [gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes() for file in files]
    assert [text.count(b"\n") - 1 for text in found] == lines
    assert all(text.startswith(b"row_id,") and text.endswith(b"\n") for text in found)


def test_a_small_folder_of_parts_is_taken_whole(tmp_path):
    folder = parts_folder(tmp_path / "CHARTEVENTS")
    assert samples._beginning(folder, tmp_path / "chartevents.csv.gz") == (folder, 1.0)


def test_a_small_table_is_taken_whole(tmp_path):
    file = lines_file(tmp_path / "T.csv.gz", 10, True)
    assert samples._beginning(file, tmp_path / "t.csv.gz") == (file, 1.0)


def test_a_damaged_table_is_named(tmp_path):
    file = tmp_path / "CHARTEVENTS.csv.gz"
    file.write_bytes(lines_file(tmp_path / "T.csv.gz", 1000, True).read_bytes()[:-50])
    with pytest.raises(UserError, match=r"CHARTEVENTS\.csv\.gz: the table cannot be read \(EOFError\)"):
        samples._beginning(file, tmp_path / "t.csv.gz")


def mimic3_folder(folder, patients=12):
    """Stays with a heart rate each hour and two sodium values; two patients are too young."""
    records = Records()
    for number in range(patients):
        stay = records.patient(born="2050-01-01" if number > 1 else "2105-01-01").stay(hours=72)
        for hour in range(48):
            stay.charted(HEART_RATE, 80 + number, hour=hour)
        stay.lab(SODIUM, 140, hour=2).lab(SODIUM, 141, hour=30)
    folder.mkdir()
    records.write(folder)
    return folder


def test_the_cohort_of_mimic3_is_counted_by_the_projects_own_rules(config, tmp_path):
    from ehr_attack.sources import find_tables

    folder = mimic3_folder(tmp_path / "tables")
    mimic3 = changed(config, source__kind="mimic3", source__path=str(folder))
    pilot = run_pilot(mimic3, find_tables("mimic3", folder))
    assert (pilot.source_stays, pilot.stays, pilot.exact) == (12, 10, True)
    assert pilot.extract.rows == 10 * (48 + 2)
    assert pilot.synthetic is None


def test_mimic4_is_sampled_from_its_folders_and_as_a_synthetic_shape(config, tmp_path):
    from ehr_attack.sources import find_tables

    records = mimic4_builder.Records()
    for number in range(12):
        mimic4_builder.a_usual_stay(records, anchor_age=17 if number < 2 else 60)
    folder = records.write(tmp_path / "tables")
    mimic4 = changed(config, source__kind="mimic4", source__path=str(folder))
    pilot = run_pilot(mimic4, find_tables("mimic4", folder))
    assert (pilot.source_stays, pilot.stays, pilot.extract.rows, pilot.exact) == (12, 10, 10, True)

    in_shape = [run_pilot(changed(config, synthetic__shape=shape), {}) for shape in ("mimic3", "mimic4")]
    assert in_shape[0].stays == in_shape[1].stays > 0
    assert in_shape[0].extract.rows == in_shape[1].extract.rows


def test_a_cut_event_table_keeps_the_cohort_and_scales_its_values(config, tmp_path, monkeypatch):
    from ehr_attack.sources import find_tables

    folder = mimic3_folder(tmp_path / "tables", patients=40)
    mimic3 = changed(config, source__kind="mimic3", source__path=str(folder))
    tables = find_tables("mimic3", folder)
    monkeypatch.setattr(samples, "EVENT_BYTES", 60_000)
    pilot = run_pilot(mimic3, tables)
    assert not pilot.exact
    assert (pilot.source_stays, pilot.stays) == (40, 38)
    assert pilot.extract.rows == pytest.approx(38 * 50, rel=0.35)


def test_a_table_in_parts_is_sampled_like_one_in_a_file(config, tmp_path, monkeypatch):
    from ehr_attack.sources import find_tables

    folder = mimic3_folder(tmp_path / "tables", patients=40)
    mimic3 = changed(config, source__kind="mimic3", source__path=str(folder))
    whole = run_pilot(mimic3, find_tables("mimic3", folder))
    head, *lines = (folder / "CHARTEVENTS.csv").read_text().splitlines(keepends=True)
    (folder / "CHARTEVENTS.csv").unlink()
    (folder / "CHARTEVENTS").mkdir()
    for number in range(4):
        (folder / "CHARTEVENTS" / f"part-{number}.csv").write_text("".join([head, *lines[number::4]]))
    in_parts = run_pilot(mimic3, find_tables("mimic3", folder))
    assert in_parts.exact and in_parts.extract.rows == whole.extract.rows
    monkeypatch.setattr(samples, "EVENT_BYTES", 60_000)
    sampled = run_pilot(mimic3, find_tables("mimic3", folder))
    assert not sampled.exact and sampled.stays == whole.stays
    assert sampled.extract.rows == pytest.approx(whole.extract.rows, rel=0.35)


def test_records_of_physionet2012_are_counted_by_their_outcomes(config, tmp_path, monkeypatch):
    from ehr_attack.sources import find_tables

    def record(number):
        return [f"{hour:02d}:00,HR,{70 + number % 30}" for hour in range(40)]

    write_set(tmp_path, "a", {100 + n: record(n) for n in range(30)}, deaths=range(100, 115), archive=True)
    write_set(tmp_path, "b", {200 + n: record(n) for n in range(20)}, deaths=range(200, 210))
    monkeypatch.setattr(samples, "PHYSIONET_RECORDS", 10)
    physionet2012 = changed(config, source__kind="physionet2012", source__path=str(tmp_path))
    pilot = run_pilot(physionet2012, find_tables("physionet2012", tmp_path))
    assert (pilot.source_stays, pilot.stays, pilot.extract.rows) == (50, 50, 50 * 40)
    assert pilot.variables == 18 and pilot.stage.jobs == 4
    assert "10 records of set a" in pilot.sample


def test_a_damaged_set_is_named(config, tmp_path):
    from ehr_attack.sources import find_tables

    write_set(tmp_path, "a", {n: ["00:07,HR,73"] for n in range(100, 400)}, archive=True)
    archive = tmp_path / "set-a.tar.gz"
    archive.write_bytes(archive.read_bytes()[:2000])
    physionet2012 = changed(config, source__kind="physionet2012", source__path=str(tmp_path))
    with pytest.raises(UserError, match=r"set-a\.tar\.gz: the archive is damaged .*download-physionet2012"):
        run_pilot(physionet2012, find_tables("physionet2012", tmp_path))


# --- calibration


@pytest.fixture(scope="module")
def real_calibration(config):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibration_module, "_SECONDS", 0.02)
        small = changed(config, features__window_hours=12, training__batch_size=8, attack__modes=["ista", "sun2018"])
        return small, calibrate(small, 5)


def test_the_calibration_measures_every_model_and_mode(real_calibration):
    _, found = real_calibration
    assert set(found.models) == {"lstm"}
    assert set(found.attacks) == {("lstm", "ista"), ("lstm", "sun2018")}
    assert found.start_seconds > 0
    assert all(min(cost.train_seconds, cost.predict_seconds) > 0 for cost in found.models.values())
    assert all(cost.step_seconds > 0 and cost.row_seconds > 0 for cost in found.attacks.values())


def test_weights_and_activations_are_those_of_the_model(real_calibration, config):
    """LSTM 5 -> 128, dense 32, logits 2: 4 x 128 x (5 + 128 + 2) + 128 x 32 + 32 + 32 x 2 + 2 float32 numbers."""
    _, found = real_calibration
    parameters = 4 * 128 * (5 + 128 + 2) + 128 * 32 + 32 + 32 * 2 + 2
    assert 0 <= found.models["lstm"].weight_bytes - 4 * parameters < 2_000
    # Of each hour at least the four gates, the cell and the hidden state are kept, 128 float32 numbers each.
    assert found.models["lstm"].activation_bytes > 12 * 6 * 128 * 4


def test_no_row_of_the_calibration_stops_early():
    import torch

    from ehr_attack.attacks import BASELINE, MODES, SINGLE, load_mode
    from ehr_attack.attacks.engine import search
    from ehr_attack.attacks.rows import Victims
    from ehr_attack.models import build_model
    from ehr_attack.progress import Progress

    torch.manual_seed(0)
    inputs = torch.rand(6, 10, 4)
    victims = Victims(inputs, torch.full((6,), 10), torch.arange(6) % 2, torch.ones_like(inputs, dtype=torch.bool))
    endless = endless_search(0.02, 16)
    for mode in (name for name, entry in MODES.items() if entry.kind not in (BASELINE, SINGLE)):
        with Progress("test", 1) as progress:
            rows = list(search(build_model("lstm", 4), victims, load_mode(mode), endless, progress))
        assert sum(len(block.steps) for block in rows) == 6 * len(endless.lambdas)
        for block in rows:
            assert (block.steps == endless.steps).all() and not block.flipped.any()
            assert block.point.any(dim=1).all()


def test_a_device_that_is_not_there_is_named(config):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(UserError, match=r"training\.device: cuda was asked for"):
        calibrate(changed(config, training__device="cuda"), 19)


# --- machine


def test_the_machine_tells_free_space_of_a_folder_yet_to_be_made(tmp_path):
    machine = this_machine(tmp_path / "results" / "run", None)
    assert machine.disk_bytes > 0 and machine.cores >= 1
    assert machine.memory_bytes is None or machine.memory_bytes > 0
    assert this_machine(tmp_path, 7).cores == 7


def test_a_container_limits_memory(tmp_path, monkeypatch):
    for name, text in {
        "MEMINFO": "MemTotal: 9 kB\nMemAvailable: 8000 kB\n",
        "CGROUP_LIMIT": "max",
        "CGROUP_USED": "500000",
    }.items():
        (tmp_path / name).write_text(text)
        monkeypatch.setattr(machine_module, f"_{name}", tmp_path / name)
    assert this_machine(tmp_path, 1).memory_bytes == 8_000 * 1024
    (tmp_path / "CGROUP_LIMIT").write_text("3000000\n")
    assert this_machine(tmp_path, 1).memory_bytes == 2_500_000
    monkeypatch.setattr(machine_module, "_MEMINFO", tmp_path / "none")
    assert this_machine(tmp_path, 1).memory_bytes is None


# --- words


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (59, "59 s"), (150, "2.5 min"), (1800, "30 min"), (9000, "2.5 h"), (86_400 * 3, "3.0 days")],
)
def test_durations(seconds, text):
    assert seconds_text(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 kB"), (2_500, "2 kB"), (1_500_000, "1.5 MB"), (25_000_000, "25 MB"), (3.04e9, "3 GB"), (1.2e13, "12 TB")],
)
def test_sizes(count, text):
    assert bytes_text(count) == text


def test_small_counts_are_not_told_apart():
    assert [stays_text(count) for count in (1, 9.4, 10, 12_345.6)] == [
        "fewer than 10", "fewer than 10", "10", "12,346",
    ]  # fmt: skip


def machine(**changes) -> Machine:
    return Machine(**({"cores": 2, "memory_bytes": 10**11, "disk_bytes": 10**12, "load": 0.1} | changes))


def test_enough_of_everything_warns_of_nothing(config):
    assert warnings(plan_of(config), machine(), workload(config)) == []


def test_too_small_a_disk_is_told(config):
    plan = plan_of(config)
    (text,) = warnings(plan, machine(disk_bytes=10**6), workload(config))
    assert text.startswith(f"Disk: about {bytes_text(plan.disk_bytes)} are needed") and "1 MB are free" in text


def test_too_little_memory_names_the_cores_that_fit(config):
    plan, memory = plan_of(config, cores=16), 2_500_000_000
    (text,) = warnings(plan, machine(memory_bytes=memory), workload(config))
    fitting = int(text.rpartition("--cores ")[2].split()[0])
    assert plan_of(config, cores=fitting).memory_bytes <= memory < plan_of(config, cores=fitting + 1).memory_bytes
    (text,) = warnings(plan, machine(memory_bytes=10**8), workload(config))
    assert "use a larger machine" in text


def test_a_long_job_a_busy_machine_and_a_small_cohort_are_told(config):
    long = changed(config, attack__max_stays=None)
    texts = warnings(plan_of(long, stays=500_000.0), machine(load=5.0), workload(config, stays=200.0))
    assert ["attack.shards" in texts[0], "busy (load 5.0" in texts[1], "40 stays a fold" in texts[2]] == [True] * 3


def test_text_and_data_tell_the_same(config):
    work, plan, calibration, pilot = workload(config), plan_of(config), fake_calibration(), fake_pilot()
    estimate = Estimate(config, pilot, calibration, work, plan, machine(disk_bytes=10**6))
    text, data = as_text(estimate), json.loads(json.dumps(as_data(estimate)))
    lines = {line.split()[0]: line for line in text.splitlines() if line}
    for rule in data["rules"]:
        assert f" {rule['jobs']} " in lines[rule["rule"]] and bytes_text(rule["disk_bytes"]) in lines[rule["rule"]]
    assert data["total"]["wall_seconds"] == pytest.approx(sum(rule["wall_seconds"] for rule in data["rules"]))
    assert data["total"]["disk_bytes"] == pytest.approx(sum(rule["disk_bytes"] for rule in data["rules"]))
    assert data["total"]["jobs"] == sum(rule["jobs"] for rule in data["rules"]) + 1
    assert f"about {seconds_text(data['total']['wall_seconds'])} (at most" in text
    assert " ".join(text.split()).endswith(data["warnings"][-1])
    assert all(" ".join(sentence.split()) in " ".join(text.split()) for sentence in data["assumptions"])
    assert max(map(len, text.splitlines()[1:])) <= 120


def test_gpu_memory_is_measured_or_worked_out(config):
    work = workload(config)
    guessed = gpu_bytes(fake_calibration(), work, config)
    assert not guessed["measured"]
    # 4096 rows at once keep 400 kB each, and half as much again is at work.
    assert guessed["attack"] == pytest.approx(600e6 + 4096 * 400_000 * 1.5 + 2 * 120 * 912 * 5)
    on_gpu = fake_calibration(train_device="cuda", attack_device="cuda", gpus=1)
    on_gpu = dataclasses.replace(
        on_gpu,
        models={"lstm": dataclasses.replace(on_gpu.models["lstm"], gpu_bytes=10**8)},
        attacks={pair: dataclasses.replace(cost, gpu_bytes=2 * 10**9) for pair, cost in on_gpu.attacks.items()},
    )
    found = gpu_bytes(on_gpu, work, config)
    assert found["measured"] and found["attack"] == pytest.approx(600e6 + 2e9 + 2 * 120 * 912 * 5)


# --- the command


def command(*arguments, folder):
    return subprocess.run(
        [sys.executable, "-m", "ehr_attack.cli", "estimate", *arguments],
        cwd=folder, env=os.environ | {"OMP_NUM_THREADS": "1", "EHR_ATTACK_VERBOSE": ""},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("overlay", "message"),
    [
        ({"attack": {"lambda": 3}}, "ehr-attack: config key attack.lambda: there is no such key"),
        ({"source": {"kind": "mimic3", "path": "nowhere"}}, "nowhere: no such folder"),
    ],
)
def test_mistakes_end_in_one_line(tmp_path, overlay, message):
    done = command("--configfile", str(write_yaml(tmp_path / "o.yaml", overlay)), folder=tmp_path)
    assert done.returncode == 1 and done.stdout == ""
    assert message in done.stderr and done.stderr.count("\n") == 1


def test_cores_must_be_a_number_of_at_least_one(tmp_path):
    done = command("--cores", "0", folder=tmp_path)
    assert done.returncode == 2 and "0 is not at least 1" in done.stderr


def test_a_json_file_that_cannot_be_written_leaves_nothing_behind(tmp_path, monkeypatch, capsys):
    from ehr_attack.cli import main

    monkeypatch.setattr(calibration_module, "_SECONDS", 0.01)
    overlay = write_yaml(tmp_path / "o.yaml", {"synthetic": {"stays": 60}, "features": {"window_hours": 6}})
    (tmp_path / "file").write_text("")
    arguments = ["estimate", "--directory", str(tmp_path), "--configfile", str(overlay)]
    assert main([*arguments, "--json", str(tmp_path / "file" / "estimate.json")]) == 1
    assert "cannot write here" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "o.yaml"]
