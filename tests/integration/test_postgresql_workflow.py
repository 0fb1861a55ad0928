"""The workflow with a PostgreSQL server as its source: equal features, and an address that is written nowhere."""

import os
from pathlib import Path

import pytest

from ehr_attack.sources.database_uri import URI_VARIABLE
from ehr_attack.sources.postgresql_loading import load_tables
from workflow.conftest import Project, copy_project

USER, PASSWORD = "pipeline", "unique-P%ssw0rd-of-this-test"
AUDIT = "results/small/audit/items.parquet"
FEATURES = "results/small/features/features.parquet"


@pytest.fixture
def uri(database, synthetic) -> str:
    """The address of a server with the synthetic tables, for a user who may only read them."""
    database.sql(
        "DROP SCHEMA IF EXISTS cohort CASCADE; DROP ROLE IF EXISTS pipeline;"
        f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'"
    )
    load_tables("mimic3", synthetic, schema="cohort")
    database.sql(f"GRANT USAGE ON SCHEMA cohort TO {USER}; GRANT SELECT ON ALL TABLES IN SCHEMA cohort TO {USER}")
    return database.uri(user=USER, password=PASSWORD)


def project_with(project_dir: Path, folder: Path, **source: object) -> Project:
    project = copy_project(project_dir, folder)
    for key, value in source.items():
        project.edit_config(f"source.{key}", value)
    return project


def from_server(project_dir: Path, folder: Path) -> Project:
    return project_with(project_dir, folder, kind="mimic3", database="postgresql", schema="cohort", version="1")


def written_by(project: Project, *elsewhere: Path) -> dict[Path, bytes]:
    """Every file that Snakemake and the jobs have written."""
    folders = [project.folder / ".snakemake", project.folder / "results", *elsewhere]
    return {path: path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}


def assert_no_secret(texts: dict[Path, bytes], uri: str) -> None:
    address = uri.partition("@")[2].partition("/")[0]
    encoded = uri.partition(f"{USER}:")[2].partition("@")[0]
    for secret in (PASSWORD, encoded, address, URI_VARIABLE + "="):
        assert [path for path, text in texts.items() if secret.encode() in text] == [], secret


def test_features_equal_those_from_csv_and_the_address_is_written_nowhere(project_dir, uri, synthetic, tmp_path):
    project = from_server(project_dir, tmp_path / "server")
    done = project.snakemake(FEATURES, AUDIT, **{URI_VARIABLE: uri})
    texts = written_by(project)
    assert len([path for path in texts if "metadata" in path.parts]) > 5
    assert len([path for path in texts if path.suffix == ".log"]) > 5
    assert_no_secret(texts | {Path("printed"): (done.stdout + done.stderr).encode()}, uri)

    from_csv = project_with(project_dir, tmp_path / "csv", kind="mimic3", path=str(synthetic))
    from_csv.snakemake(FEATURES, AUDIT)
    for name in ("extract/stays", "extract/measurements", "features/features", "audit/items"):
        file = f"results/small/{name}.parquet"
        assert (project.folder / file).read_bytes() == (from_csv.folder / file).read_bytes()

    # The version stands in for the modification time that a server lacks; the address is no property of the data.
    assert project.stale_rules(FEATURES, **{URI_VARIABLE: uri.replace("127.0.0.1", "localhost")}) == {}
    project.edit_config("source.version", "2")
    stale = project.stale_rules(FEATURES, **{URI_VARIABLE: uri})
    assert set(stale) == {"stage", "extract", "features"}


def test_job_scripts_of_a_cluster_do_not_hold_the_address(project_dir, uri, tmp_path):
    project = from_server(project_dir, tmp_path / "server")
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    environment = {
        URI_VARIABLE: uri,
        "KEPT_JOB_SCRIPTS": str(scripts),
        "PYTHONPATH": os.pathsep.join([str(project_dir / "tests"), os.environ.get("PYTHONPATH", "")]),
    }
    staged = "results/small/extract/staged/labevents.parquet"
    project.snakemake("--executor", "jobscripts", "--jobs", "1", staged, **environment)
    assert (project.folder / staged).is_file() and list(scripts.iterdir())
    assert_no_secret(written_by(project, scripts), uri)


def test_a_run_that_fails_says_why_in_one_line_and_leaves_nothing(project_dir, uri, tmp_path):
    project = from_server(project_dir, tmp_path / "server")
    done = project.snakemake(FEATURES, check=False, **{URI_VARIABLE: uri.replace("unique", "wrong")})
    assert done.returncode != 0
    printed = done.stdout + done.stderr
    assert "ERROR PostgreSQL: the database server refused the user name or the password." in printed
    assert "Traceback" not in printed
    assert_no_secret({Path("printed"): printed.encode()} | written_by(project), uri.replace("unique", "wrong"))
    assert [path.name for path in (project.folder / "results").rglob("*") if path.suffix == ".parquet"] == []


@pytest.mark.parametrize("value", [None, "mysql://root:unique-password@host/mimic"])
def test_a_missing_or_foreign_address_is_said_before_anything_runs(project_dir, tmp_path, monkeypatch, value):
    monkeypatch.delenv(URI_VARIABLE, raising=False)
    project = from_server(project_dir, tmp_path / "server")
    done = project.snakemake("--dry-run", FEATURES, check=False, **({URI_VARIABLE: value} if value else {}))
    assert done.returncode != 0
    assert f"ehr-attack: the environment variable {URI_VARIABLE} " in done.stderr
    assert "Traceback" not in done.stderr and "unique-password" not in done.stdout + done.stderr
