"""How results were made: records of jobs, and what `ehr-attack verify` finds of tampering and staleness."""

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from ehr_attack.cli import main
from ehr_attack.errors import UserError
from ehr_attack.lineage.records import gather, read_records, write_record
from ehr_attack.lineage.verifying import CHANGED, MISSING, STALE, UNKNOWN, verify


class Named(list):
    """A list with names, as jobs have them."""

    def __init__(self, **parts) -> None:
        super().__init__(parts.values())
        self._parts = parts

    def items(self):
        return self._parts.items()


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def project(tmp_path) -> Path:
    """Code of two files."""
    folder = tmp_path / "project"
    (folder / "scripts").mkdir(parents=True)
    for name in ("train", "fitting"):
        (folder / "scripts" / f"{name}.py").write_text(f"# {name}\n")
    return folder


@pytest.fixture
def run(tmp_path, project) -> Path:
    """A run of two jobs: features, and a model trained on them."""
    folder = tmp_path / "results" / "small"
    write(folder / "features/features.parquet", "features")
    write(tmp_path / "elsewhere/ADMISSIONS.csv", "admissions")
    write(folder / "models/lstm/model.json", "model")
    write(folder / "models/lstm/history.parquet", "history")
    write(folder / "logs/train.log", "12:00:00 INFO trained\n")
    code = {"scripts/train.py": sha("# train\n"), "package numpy": __import__("numpy").__version__}
    ended(
        folder, "features", {"table": tmp_path / "elsewhere/ADMISSIONS.csv"}, {"out": "features/features.parquet"}, {}
    )
    ended(
        folder,
        "train",
        {"features": folder / "features/features.parquet"},
        {"sidecar": "models/lstm/model.json", "history": "models/lstm/history.parquet"},
        {"train": {"lr": 0.001}, "path": "/home/somebody/data", "code": code},
    )
    return folder


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def ended(run: Path, rule: str, inputs: dict, outputs: dict, params: dict) -> None:
    job = SimpleNamespace(
        rule=rule,
        log=[str(run / "logs" / f"{rule}.log")],
        input=Named(**{name: str(path) for name, path in inputs.items()}),
        output=Named(**{name: str(run / path) for name, path in outputs.items()}),
        params=Named(**params),
        wildcards=Named(fold="0"),
    )
    write_record(job)


def found(run: Path, project: Path) -> list[tuple[str, str]]:
    return [(finding.kind, finding.file) for finding in verify(run, project)]


def test_a_record_tells_what_was_read_and_written_and_nothing_of_the_machine(run, tmp_path):
    record = read_records(run)["train"]
    assert record["inputs"] == {"features/features.parquet": sha("features")}
    assert record["outputs"] == {"models/lstm/history.parquet": sha("history"), "models/lstm/model.json": sha("model")}
    assert record["params"] == {"train": {"lr": 0.001}, "path": "…/data"}
    assert record["code"] == {"scripts/train.py": sha("# train\n")} and "numpy" in record["versions"]
    assert read_records(run)["features"]["inputs"] == {"outside/ADMISSIONS.csv": sha("admissions")}
    text = "".join(path.read_text() for path in (run / "provenance").iterdir())
    assert str(tmp_path) not in text and "somebody" not in text


def test_every_folder_with_results_gets_the_records_of_its_jobs(run):
    assert (run / "features/provenance.json").exists()
    told = json.loads((run / "models/lstm/provenance.json").read_text())
    assert told == {"jobs": {"train": read_records(run)["train"]}}
    assert not (run / "logs/provenance.json").exists()
    before = (run / "models/lstm/provenance.json").stat().st_mtime_ns
    gather(run, {run / "models/lstm"})
    assert (run / "models/lstm/provenance.json").stat().st_mtime_ns == before


def test_an_untouched_run_holds(run, project):
    assert found(run, project) == []


def test_a_result_changed_by_hand_is_found_and_what_was_made_from_it_is_stale(run, project):
    write(run / "features/features.parquet", "better features")
    assert found(run, project) == [
        (CHANGED, "features/features.parquet"),
        (STALE, "models/lstm/history.parquet"),
        (STALE, "models/lstm/model.json"),
    ]


def test_a_missing_result_is_found(run, project):
    (run / "models/lstm/history.parquet").unlink()
    assert found(run, project) == [(MISSING, "models/lstm/history.parquet")]


def test_edited_code_makes_stale_what_it_made_only(run, project):
    write(project / "scripts/fitting.py", "# edited\n")
    assert found(run, project) == []
    write(project / "scripts/train.py", "# edited\n")
    findings = verify(run, project)
    assert {finding.file for finding in findings} == {"models/lstm/history.parquet", "models/lstm/model.json"}
    assert all("scripts/train.py was edited" in finding.what for finding in findings)


def test_another_version_of_a_package_is_told(run, project):
    record = json.loads((run / "provenance/train.json").read_text())
    record["versions"]["numpy"] = "0.1"
    write(run / "provenance/train.json", json.dumps(record))
    assert "numpy was 0.1, and is " in verify(run, project)[0].what


def test_a_file_that_no_job_wrote_is_told(run, project):
    write(run / "models/lstm/notes.txt", "mine")
    assert found(run, project) == [(UNKNOWN, "models/lstm/notes.txt")]


def test_a_folder_without_records_ends_in_one_message(tmp_path):
    with pytest.raises(UserError, match=r"no provenance/\*\.json here"):
        verify(tmp_path)


def test_the_command_tells_by_words_and_exit_status(run, capsys):
    (run / "provenance/train.json").write_text(
        json.dumps(json.loads((run / "provenance/train.json").read_text()) | {"code": {}})
    )
    assert main(["verify", str(run)]) == 0
    assert "all 3 results are what their jobs wrote" in capsys.readouterr().out
    write(run / "models/lstm/notes.txt", "mine")
    assert main(["verify", str(run)]) == 0
    assert "models/lstm/notes.txt: no job of the workflow" in capsys.readouterr().out
    write(run / "models/lstm/model.json", "tampered")
    assert main(["verify", str(run)]) == 1
    printed = capsys.readouterr()
    assert "models/lstm/model.json: not what rule train wrote" in printed.out
    assert "1 of 3 results do not hold" in printed.err
    assert main(["verify", str(run / "nowhere")]) == 1
    assert "no such folder" in capsys.readouterr().err
