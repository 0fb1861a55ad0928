"""Every kind of bad input ends in one clear message, a non-zero status, and nothing half-written.

The message is the last that a user sees. It names the file or the key, says what was expected, and what to do.
"""

import re
import shutil
from dataclasses import dataclass
from pathlib import PurePath

import pytest

from ehr_attack.lineage.records import GATHERED
from ehr_attack.synthetic import generate
from mimic3_builder import truncated
from workflow.bad_input import (
    TABLES,
    Damage,
    config_text,
    content,
    files_below,
    fill,
    only_deaths,
    read_only,
    rows,
    settings,
    small_device,
    with_header,
    without,
)
from workflow.conftest import Project, copy_project

RESULTS = "results/small"
LABS = "extract/staged/labevents.parquet"
STAGED_LABS = (LABS, "extract/staged/labevents.rows.json")
STAGED_ADMISSIONS = ("extract/staged/admissions.parquet", "extract/staged/admissions.rows.json")
AUDIT = ("audit/items.parquet", "audit/integrity.parquet")
EXTRACTS = ("extract/stays.parquet", "extract/measurements.parquet", "extract/cohort_flow.json")
FEATURES, FOLDS = "features/features.parquet", "folds/folds.parquet"
CHECKPOINT = ("model.safetensors", "model.json", "history.parquet", "predictions.parquet")
TRAINED = tuple(f"models/lstm/seed_0/fold_0/{file}" for file in CHECKPOINT)
LAB_FILE = "LABEVENTS.csv.gz"
RECORD = "1,1000001,2000001,50983,2150-01-01 10:00:00,140,140,mEq/L,"
WEB_PAGE = b"<!DOCTYPE html><html><head><title>Sign in</title></head></html>"


@dataclass(frozen=True)
class Case:
    """A kind of bad input: the target asked for, and the words in which the message must put it.

    unmade: the outputs of the rule that fails; without any, nothing may start at all. remade: outputs of the rules
    before it, which the damage made stale.
    """

    damage: Damage
    names: str
    expected: str
    advice: str
    unmade: tuple[str, ...] = ()
    remade: tuple[str, ...] = ()


CASES = {
    "wrong folder": Case(
        settings(source__path="elsewhere"),
        names="elsewhere: no such folder",
        expected="Expected a folder with the MIMIC-III tables as CSV files",
        advice="set source.path to the folder that you downloaded them to",
    ),
    "missing table": Case(
        without("ICUSTAYS.csv.gz"),
        names="tables: no file for ICUSTAYS",
        expected="Expected ADMISSIONS, PATIENTS, ICUSTAYS, CHARTEVENTS and LABEVENTS",
        advice="Download what is missing into this folder",
    ),
    "missing column": Case(
        with_header(LAB_FILE, lambda header: header.replace("VALUENUM", "NUMBER")),
        names="tables/LABEVENTS.csv.gz: no column valuenum",
        expected="Expected comma-separated columns named as the source names them",
        advice="restore the original header line",
        unmade=STAGED_LABS,
    ),
    "no header line": Case(
        with_header(LAB_FILE, lambda _: RECORD),
        names="tables/LABEVENTS.csv.gz: no column subject_id, itemid, charttime, valuenum in the header line",
        expected="Expected comma-separated columns named as the source names them",
        advice="restore the original header line",
        unmade=STAGED_LABS,
    ),
    "header only": Case(
        rows(LAB_FILE, lambda _: []),
        names="tables/LABEVENTS.csv.gz: the table has no rows",
        expected="Expected a header line and at least one row",
        advice="make this file again",
        unmade=STAGED_LABS,
    ),
    "truncated .gz": Case(
        content(LAB_FILE, lambda packed: truncated(packed, 0.5)),
        names="tables/LABEVENTS.csv.gz: the gzip file is cut short",
        expected="Expected a whole gzip file.",
        advice="Download it again and compare it with the published checksum (SHA256SUMS.txt)",
        unmade=STAGED_LABS,
    ),
    "not a .gz at all": Case(
        content(LAB_FILE, lambda _: WEB_PAGE),
        names="tables/LABEVENTS.csv.gz: the gzip file is cut short, damaged or not compressed at all",
        expected="Expected a whole gzip file.",
        advice="a file that is not compressed must end in .csv",
        unmade=STAGED_LABS,
    ),
    "empty cohort": Case(
        settings(cohort__min_age_years=120),
        names="cohort: of the 160 ICU stays in the source none is left",
        expected="age below 120 years or unknown: 160 excluded",
        advice="Relax cohort.min_age_years",
        unmade=EXTRACTS,
    ),
    "one-class fold": Case(
        only_deaths(2),
        names="folds.count: fold ",
        expected="of 2 would hold only survivors; a fold needs deaths and survivors",
        advice="Lower folds.count, try another folds.seed, or widen the cohort",
        unmade=(FOLDS,),
        remade=(*STAGED_ADMISSIONS, *AUDIT, *EXTRACTS),
    ),
    "too few deaths": Case(
        settings(folds__count=100),
        names="folds.count: the cohort's stays hold ",
        expected="too few to spread over 100 parts",
        advice="Lower folds.count or widen the cohort",
        unmade=(FOLDS,),
    ),
    "fewer patients than folds": Case(
        settings(folds__count=100, cohort__min_age_years=70),
        names="folds.count: 100 folds need at least 100 patients",
        expected="but the cohort has ",
        advice="Lower folds.count or widen the cohort",
        unmade=(FOLDS,),
        remade=EXTRACTS,
    ),
    "unknown config key": Case(
        settings(training__epoch=3),
        names="config key training.epoch: there is no such key",
        expected="did you mean",
        advice="training.epochs?",
    ),
    "wrong type": Case(
        config_text(lambda text: text.replace("lr: null", "lr: 1e-3")),
        names="config key training.lr: found '1e-3' (a text, not a number",
        expected="expected a number",
        advice="YAML wants 0.001 without quotes",
    ),
    "config.yaml with a tab": Case(
        config_text(lambda text: text.replace("  lr: ", "\tlr: ")),
        names="config.yaml: not valid YAML (line ",
        expected="Expected UTF-8 text, keys indented by spaces (no tabs)",
        advice="mend that line",
    ),
    "config.yaml without keys": Case(
        config_text(lambda _: "- quick\n"),
        names="config.yaml: expected a YAML mapping",
        expected="of config blocks (run, source, ...)",
        advice="Begin each block at the start of a line with its name and a colon",
    ),
    "results is a file": Case(
        lambda project: (shutil.rmtree(project.folder / "results"), (project.folder / "results").touch()),
        names="results: cannot write here (not a folder, nor a link to one)",
        expected="Expected a folder that this user may write to",
        advice="choose another folder with `snakemake --directory <folder>`",
    ),
}


@pytest.fixture(scope="module")
def prepared(project_dir, tmp_path_factory) -> Project:
    """A project that reads a folder of MIMIC-III-shaped tables, run up to its features and folds."""
    project = copy_project(project_dir, tmp_path_factory.mktemp("bad_input") / "project")
    generate(project.folder / TABLES, stays=160, seed=1, signal="late")
    settings(source__kind="mimic3", source__path=TABLES)(project)
    project.snakemake(f"{RESULTS}/{FEATURES}", f"{RESULTS}/{FOLDS}")
    return project


@pytest.fixture
def project(prepared, tmp_path) -> Project:
    """A copy of the prepared project to spoil."""
    shutil.copytree(prepared.folder, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project")


def refused(project: Project, target: str) -> str:
    """Ask for `target`, which must fail, and return the one message; it must be the last thing printed."""
    done = project.snakemake(f"{RESULTS}/{target}", check=False)
    assert done.returncode != 0
    assert done.stdout == ""
    noise, _, message = done.stderr.partition("\nehr-attack: ")
    assert message, f"no message in:\n{noise}"
    assert "ehr-attack: " not in message and "Error" not in message and "Complete log" not in message
    assert noise.count(" ERROR ") <= 1, "a job says it once"
    assert "Traceback" not in noise and "Logging error" not in noise
    assert not [log for log in (project.folder / RESULTS).glob("logs/*.log") if "Traceback" in log.read_text()]
    assert not list((project.folder / "results").rglob(".*")), "a temporary file or folder is left"
    return message


@pytest.mark.parametrize("kind", CASES)
def test_bad_input_ends_in_one_clear_message(kind, project):
    case = CASES[kind]
    case.damage(project)
    before = files_below(project.folder / RESULTS)
    message = refused(project, (*case.unmade, FEATURES)[0])
    assert case.names in message
    assert case.expected in message
    assert case.advice in message
    assert not [field for field in RECORD.split(",")[1:5] if field in message], "a record is quoted"
    after = files_below(project.folder / RESULTS)
    assert [file for file in case.unmade if file in after] == []
    retold = {str(PurePath(file).with_name(GATHERED)) for file in case.remade}
    made_anew = {*case.unmade, *case.remade, *retold}
    assert unlike(before, after, made_anew) == {}


def unlike(before: dict, after: dict, made_anew: set[str]) -> dict:
    """The files, but for those of `made_anew`, that are there only once or were written again."""
    differ = {file for file in before.keys() | after.keys() if before.get(file) != after.get(file)}
    return {file: (before.get(file), after.get(file)) for file in sorted(differ - made_anew)}


def test_mending_the_input_is_all_it_takes(project):
    lab_file = project.folder / TABLES / LAB_FILE
    intact, staged = lab_file.read_bytes(), (project.folder / RESULTS / LABS).read_bytes()
    CASES["truncated .gz"].damage(project)
    refused(project, LABS)
    lab_file.write_bytes(intact)
    project.snakemake(f"{RESULTS}/{LABS}")
    assert (project.folder / RESULTS / LABS).read_bytes() == staged


def test_cuda_without_a_gpu(project):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    project.edit_config("training.device", "cuda")
    message = refused(project, TRAINED[0])
    assert "training.device: cuda was asked for, but this machine offers torch" in message
    assert "Set training.device to auto or cpu, or run on a machine" in message
    assert not (project.folder / RESULTS / "models").exists() or not files_below(project.folder / RESULTS / "models")


@pytest.mark.parametrize("folder", [RESULTS, f"{RESULTS}/extract/staged", ".snakemake"])
def test_a_folder_that_cannot_be_written_to(folder, project):
    """Snakemake itself would end in a traceback: it removes old outputs and logs before a job starts."""
    before = files_below(project.folder / RESULTS / "features")
    if folder == RESULTS:
        shutil.rmtree(project.folder / RESULTS)
    project.edit_config("source.profile", "reproduction2023")
    with read_only(project.folder / folder):
        if folder != ".snakemake":
            assert project.stale_rules(f"{RESULTS}/{LABS}"), "a dry run needs to write no results"
        message = refused(project, LABS)
        assert message.startswith(f"{folder}: cannot write here (")
        assert "Expected a folder that this user may write to; check its owner and permissions" in message
    if folder != RESULTS:
        assert files_below(project.folder / RESULTS / "features") == before


NO_SPACE = "no space left on the device. Expected enough for this run (`ehr-attack estimate` tells how much it needs)"


@pytest.mark.parametrize(
    ("output", "stale"),
    {
        LABS: {"source__profile": "reproduction2023"},
        FOLDS: {"folds__seed": 5},
        "source/PATIENTS.csv.gz": {"source__kind": "synthetic", "source__path": None},
    }.items(),
    ids=["DuckDB", "pyarrow", "gzip"],
)
def test_no_space_for_a_file(output, stale, project):
    """Written by DuckDB, by pyarrow, and by Python through gzip: there any of the tables may be the first to fail."""
    settings(**stale)(project)
    folder = (project.folder / RESULTS / output).parent
    before = files_below(project.folder / RESULTS / "features")
    with small_device(folder, kilobytes=40):
        fill(folder)
        message = refused(project, output)
        assert {path.name for path in folder.iterdir()} == {"filler"}
    file = re.escape(output).replace("PATIENTS", "[A-Z_]+")
    assert re.search(f" {RESULTS}/{file}: {re.escape(NO_SPACE)}: free some space there", message)
    assert "Finished steps are kept." in message
    assert files_below(project.folder / RESULTS / "features") == before


def test_no_space_for_the_results(project):
    """Found out before a job starts."""
    with small_device(project.folder / RESULTS, kilobytes=40):
        fill(project.folder / RESULTS)
        assert refused(project, LABS).startswith(f"results/small: {NO_SPACE}")
        assert {path.name for path in (project.folder / RESULTS).iterdir()} == {"filler"}


def test_no_space_for_a_log(project):
    """The message is on standard error all the same, and no traceback of `logging` beside it."""
    CASES["header only"].damage(project)
    logs = project.folder / RESULTS / "logs"
    with small_device(logs, kilobytes=40):
        fill(logs)
        done = project.snakemake(f"{RESULTS}/{LABS}", check=False)
    assert done.returncode != 0
    assert done.stderr.count("LABEVENTS.csv.gz: the table has no rows") == 1
    assert "Traceback" not in done.stderr and "Logging error" not in done.stderr


def test_no_space_for_snakemake_itself(prepared, tmp_path):
    """The whole project lies on the full device: Snakemake can write neither its log nor its records."""
    with small_device(tmp_path, kilobytes=32_000):
        shutil.copytree(prepared.folder, tmp_path / "project", symlinks=True)
        project = Project(tmp_path / "project")
        project.edit_config("source.profile", "reproduction2023")
        before = files_below(project.folder / RESULTS)
        fill(tmp_path)
        assert refused(project, LABS).startswith(f".snakemake: {NO_SPACE}")
        assert files_below(project.folder / RESULTS) == before


@pytest.mark.parametrize(
    ("kind", "verbose", "environment"),
    [
        ("unknown config key", ["--verbose"], {}),
        ("header only", ["--verbose"], {}),
        ("header only", [], {"EHR_ATTACK_VERBOSE": "1"}),
    ],
    ids=["reading the workflow", "a job", "a job, by the environment"],
)
def test_verbose_shows_the_traceback_and_still_ends_in_the_message(kind, verbose, environment, project):
    """Raised while the workflow is read, and in a job."""
    CASES[kind].damage(project)
    done = project.snakemake(f"{RESULTS}/{LABS}", *verbose, check=False, **environment)
    assert done.returncode != 0
    noise, _, message = done.stderr.rpartition("\nehr-attack: ")
    assert "Traceback (most recent call last)" in noise
    assert f"ehr_attack.errors.UserError: {CASES[kind].names}" in noise
    assert CASES[kind].names in message and "Error" not in message
