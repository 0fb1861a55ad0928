"""How results were made: records of jobs, and what `ehr-attack verify` finds of tampering and staleness."""

import errno
import fcntl
import hashlib
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from ehr_attack.cli import main
from ehr_attack.errors import UserError
from ehr_attack.lineage import records as records_module
from ehr_attack.lineage.records import gather_all, read_records, write_record
from ehr_attack.lineage.verifying import CHANGED, MISSING, STALE, UNCHECKED, UNKNOWN, verify


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


def ended(run: Path, rule: str, inputs: dict, outputs: dict, params: dict, **wildcards: str) -> None:
    job = SimpleNamespace(
        rule=rule,
        log=[str(run / "logs" / f"{rule}.log")],
        input=Named(**{name: str(path) for name, path in inputs.items()}),
        output=Named(**{name: str(run / path) for name, path in outputs.items()}),
        params=Named(**params),
        wildcards=Named(**wildcards),
    )
    write_record(job)


def edit(record: Path, **parts) -> None:
    """Set parts of a record by hand."""
    record.write_text(json.dumps(json.loads(record.read_text()) | parts))


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
    gather_all(run)
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
    edit(run / "provenance/train.json", versions={"python": "3.12.0", "numpy": "0.1"})
    gather_all(run)
    findings = verify(run, project)
    assert {finding.file for finding in findings} == {"models/lstm/history.parquet", "models/lstm/model.json"}
    assert all("numpy was 0.1, and is " in finding.what for finding in findings)


def test_code_of_the_project_that_is_gone_makes_stale_what_it_made(run, project):
    (project / "scripts/train.py").unlink()
    findings = verify(run, project)
    assert {finding.file for finding in findings} == {"models/lstm/history.parquet", "models/lstm/model.json"}
    assert all("scripts/train.py is gone" in finding.what for finding in findings)


def test_a_model_of_ones_own_is_looked_for_where_python_finds_it(run, project, tmp_path, monkeypatch, capsys):
    code = {"own_models/__init__.py": sha(""), "own_models/net.py": sha("# net\n")}
    edit(run / "provenance/train.json", code=code)
    gather_all(run)
    own = [(UNCHECKED, "own_models/__init__.py"), (UNCHECKED, "own_models/net.py")]
    assert found(run, project) == own
    assert main(["verify", str(run)]) == 0
    printed = capsys.readouterr().out
    assert "own_models/net.py: cannot be found here, not checked" in printed
    assert "all 3 results are what their jobs wrote" in printed
    write(tmp_path / "elsewhere/own_models/__init__.py", "")
    write(tmp_path / "elsewhere/own_models/net.py", "# net\n")
    monkeypatch.syspath_prepend(tmp_path / "elsewhere")
    assert found(run, project) == []
    write(tmp_path / "elsewhere/own_models/net.py", "# edited\n")
    findings = verify(run, project)
    assert {finding.kind for finding in findings} == {STALE}
    assert "own_models/net.py was edited" in findings[0].what


def test_versions_are_those_that_the_job_has_not_those_that_snakemake_has(run):
    code = {"package numpy": "0.1", "package no-such-package": "9.9"}
    ended(run, "train", {}, {"sidecar": "models/lstm/model.json"}, {"code": code})
    versions = read_records(run)["train"]["versions"]
    assert versions["numpy"] == __import__("numpy").__version__
    assert versions["no-such-package"] == "not installed"


def test_what_a_job_reads_when_it_ends_does_not_grow_with_the_run(run, monkeypatch):
    read = []
    original = records_module.read_json
    monkeypatch.setattr(records_module, "read_json", lambda file: read.append(file) or original(file))

    def reads_of_a_job(number: int) -> int:
        read.clear()
        write(run / f"attacks/{number}/outcomes.parquet", "outcomes")
        model = {"model": run / "models/lstm/model.json"}
        ended(run, f"attack_{number}", model, {"out": f"attacks/{number}/outcomes.parquet"}, {})
        return len(read)

    first = reads_of_a_job(0)
    assert [reads_of_a_job(number) for number in range(1, 30)] == [first] * 29
    assert 0 < first < 5


def test_without_locks_a_record_that_comes_between_reading_and_writing_is_not_lost(run, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    between = json.loads((run / "provenance/train.json").read_text())
    original = records_module.write_json

    def write_json(value, file):
        if file == run / "models/lstm/provenance.json":
            write(run / "provenance/between.json", json.dumps(between))
        original(value, file)

    monkeypatch.setattr(records_module, "write_json", write_json)
    ended(run, "again", {}, {"sidecar": "models/lstm/model.json"}, {})
    told = json.loads((run / "models/lstm/provenance.json").read_text())["jobs"]
    assert set(told) == {"train", "again", "between"}


@pytest.mark.parametrize("place", ["features/features.parquet", "models/lstm/model.json"])
def test_one_flipped_bit_is_found(run, project, place):
    content = bytearray((run / place).read_bytes())
    content[-1] ^= 1
    (run / place).write_bytes(content)
    assert (CHANGED, place) in found(run, project)


def test_a_provenance_file_edited_by_hand_is_found(run, project):
    edit(run / "features/provenance.json", jobs={})
    findings = verify(run, project)
    assert [(finding.kind, finding.file) for finding in findings] == [(CHANGED, "features/provenance.json")]
    assert "not what provenance/features.json says" in findings[0].what
    write(run / "features/provenance.json", "no JSON")
    assert found(run, project) == [(CHANGED, "features/provenance.json")]
    (run / "features/provenance.json").unlink()
    assert found(run, project) == [(MISSING, "features/provenance.json")]
    gather_all(run)
    assert found(run, project) == []


def test_a_record_edited_to_match_a_changed_result_differs_from_what_the_folder_tells(run, project):
    write(run / "models/lstm/model.json", "better")
    outputs = read_records(run)["train"]["outputs"] | {"models/lstm/model.json": sha("better")}
    edit(run / "provenance/train.json", outputs=outputs)
    assert found(run, project) == [(CHANGED, "models/lstm/provenance.json")]


def test_results_taken_out_of_the_config_hold_until_they_are_deleted_with_their_records(run, project):
    assert found(run, project) == []
    shutil.rmtree(run / "models")
    missing = verify(run, project)
    assert {finding.kind for finding in missing} == {MISSING}
    assert "(provenance/train.json)" in missing[0].what
    (run / "provenance/train.json").unlink()
    assert found(run, project) == []


def test_gathering_anew_leaves_no_provenance_file_where_nothing_is_recorded(run, project):
    (run / "provenance/train.json").unlink()
    (run / "models/lstm/model.json").unlink()
    (run / "models/lstm/history.parquet").unlink()
    gather_all(run)
    assert not (run / "models/lstm/provenance.json").exists()
    assert found(run, project) == []


def test_a_record_tells_the_seeds_of_all_that_it_was_made_from(run):
    write(run / "source/A.csv.gz", "a")
    write(run / "folds/folds.parquet", "folds")
    ended(run, "synthetic", {}, {"out": "source/A.csv.gz"}, {"synthetic": {"stays": 3, "seed": 7}})
    ended(run, "folds", {"a": run / "source/A.csv.gz"}, {"out": "folds/folds.parquet"}, {"folds": {"seed": 4}})
    for seed in ("0", "11"):
        write(run / f"attacks/{seed}.parquet", seed)
        inputs = {"folds": run / "folds/folds.parquet"}
        ended(run, f"attack_{seed}", inputs, {"out": f"attacks/{seed}.parquet"}, {"attack": {"steps": 3}}, seed=seed)
    write(run / "tables/a.csv", "table")
    attacks = {seed: run / f"attacks/{seed}.parquet" for seed in ("0", "11")}
    ended(run, "tables", attacks, {"out": "tables/a.csv"}, {"config": {"synthetic": {"seed": 99}}})
    records = read_records(run)
    assert records["features"]["seeds"] == {}
    assert records["folds"]["seeds"] == {"folds": [4], "synthetic": [7]}
    assert records["attack_11"]["seeds"] == {"folds": [4], "model": [11], "synthetic": [7]}
    assert records["tables"]["seeds"] == {"folds": [4], "model": [0, 11], "synthetic": [7]}


def test_a_record_of_another_version_stops_no_job_but_verify(run, project):
    write(run / "provenance/old.json", json.dumps({"rule": "old", "inputs": {}, "outputs": {"a": "b"}}))
    write(run / "provenance/damaged.json", "{")
    ended(run, "again", {}, {"out": "features/features.parquet"}, {})
    assert set(json.loads((run / "features/provenance.json").read_text())["jobs"]) == {"again", "features"}
    with pytest.raises(UserError, match=r"damaged\.json: not the record of a job"):
        verify(run, project)


def test_a_file_that_no_job_wrote_is_told(run, project):
    write(run / "models/lstm/notes.txt", "mine")
    assert found(run, project) == [(UNKNOWN, "models/lstm/notes.txt")]


def test_a_folder_without_records_ends_in_one_message(tmp_path):
    with pytest.raises(UserError, match=r"no provenance/\*\.json here"):
        verify(tmp_path)


def test_the_command_tells_by_words_and_exit_status(run, capsys):
    edit(run / "provenance/train.json", code={})
    assert main(["verify", str(run)]) == 1
    assert "all 3 results hold, but 1 of the files provenance.json" in capsys.readouterr().err
    assert main(["verify", str(run), "--gather"]) == 0
    assert "all 3 results are what their jobs wrote" in capsys.readouterr().out
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
