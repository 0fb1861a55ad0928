import hashlib
from pathlib import Path

import pytest

from ehr_attack import announced
from ehr_attack.errors import UserError

CONFIG = {"run": {"name": "one"}, "source": {"kind": "mimic3", "path": "/here"}, "attack": {"steps": 100}}


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of one file and a user's module beside it, planned as they are."""
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "one.sql").write_text("SELECT 1")
    (tmp_path / "own_model.py").write_text("x = 1\n")
    monkeypatch.setattr(announced, "PROJECT_DIR", tmp_path / "project")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("EHR_ATTACK_PLAN", "{}")
    code = {"one.sql": sha("SELECT 1"), "own_model.py": sha("x = 1\n"), "package numpy": "2.0"}
    return tmp_path, code


@pytest.mark.parametrize("file", ["project/one.sql", "own_model.py"])
def test_a_job_ends_when_a_file_of_its_code_is_not_as_planned(project, file):
    folder, code = project
    announced.check_code(code)
    before = (folder / file).read_text()
    (folder / file).write_text("edited")
    with pytest.raises(UserError, match=f"{Path(file).name}: edited after this run was planned.*Run snakemake again"):
        announced.check_code(code)
    (folder / file).write_text(before)
    announced.check_code(code)


def test_on_a_cluster_a_job_reads_the_code_anew_and_goes_by_what_was_announced(project):
    folder, planned = project
    announced.announce(CONFIG, planned)
    (folder / "project" / "one.sql").write_text("SELECT 2")
    as_the_job_sees_it = planned | {"one.sql": sha("SELECT 2")}
    with pytest.raises(UserError, match="edited after this run was planned"):
        announced.check_code(as_the_job_sees_it)


def test_on_a_cluster_a_job_reads_the_config_anew_and_notices_an_edit(project):
    announced.check_config(CONFIG)  # nothing was announced, as where a cluster does not hand variables on
    announced.announce(CONFIG, {})
    announced.check_config(CONFIG | {"source": {"kind": "mimic3", "path": "/elsewhere/on/the/node"}})
    with pytest.raises(UserError, match="the config was edited after this run was planned"):
        announced.check_config(CONFIG | {"attack": {"steps": 101}})
