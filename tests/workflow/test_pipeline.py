"""The whole pipeline on a small cohort: complete, reproducible to the byte, and discreet."""

import getpass
import json
import re
import socket

import pyarrow.parquet as pq
import pytest

from ehr_attack.lineage.verifying import verify
from workflow.conftest import copy_project


def result_bytes(project):
    """The content of every table and checkpoint, by path."""
    folder = project.folder / "results" / "small"
    files = [path for pattern in ("*.parquet", "model.*") for path in sorted(folder.rglob(pattern))]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_every_stage_has_written_its_files(finished):
    results = finished.folder / "results" / "small"
    assert (results / "report" / "index.html").stat().st_size > 100_000
    for model_file in ("model.safetensors", "model.json", "history.parquet", "predictions.parquet"):
        assert len(list(results.glob(f"models/lstm/seed_0/fold_*/{model_file}"))) == 2
    assert {path.name for path in results.glob("susceptibility/lstm/*")} == {"sun2018", "ista"}
    assert len(list(results.glob("figures/*.svg"))) == len(list(results.glob("figures/*.png"))) > 10
    assert not list(results.rglob("*.pkl")) + list(results.rglob("*.pt")) + list(results.rglob(".resume"))


def test_one_core_more_shards_and_another_run_give_the_same_bytes(finished, project_dir, tmp_path):
    """The first run used two cores and one shard; this one uses one core and three shards."""
    again = copy_project(project_dir, tmp_path / "again")
    again.edit_config("attack.shards", 3)
    again.snakemake("--cores", "1")
    first, second = result_bytes(finished), result_bytes(again)
    merged = [name for name in first if "/shards/" not in name]
    assert len(merged) > 20
    assert len([name for name in merged if name.endswith(".safetensors")]) == 2
    assert [name for name in merged if first[name] != second[name]] == []


def test_outcomes_and_perturbations_agree(finished):
    """What an outcome says about its perturbation can be counted in the perturbations."""
    for fold in (0, 1):
        for mode in ("ista", "sun2018"):
            folder = finished.folder / f"results/small/attacks/lstm/{mode}/seed_0/fold_{fold}"
            outcomes = pq.read_table(folder / "outcomes.parquet").to_pandas()
            cells = pq.read_table(folder / "perturbations.parquet").to_pandas()
            success = outcomes["feasible"] if mode == "ista" else outcomes["flipped"]
            counted = cells.groupby(["stay_id", "lambda"]).agg(
                n=("hour", "size"), l1=("delta_scaled", lambda d: d.abs().sum()), seen=("observed", "sum")
            )
            expected = outcomes[success].set_index(["stay_id", "lambda"])
            assert set(counted.index) == set(expected.index)
            joined = expected.join(counted, rsuffix="_counted")
            assert (joined["n_changed"] == joined["n"]).all()
            assert (joined["n_changed_observed"] == joined["seen"]).all()
            assert joined["l1_counted"].to_numpy() == pytest.approx(joined["l1"].to_numpy())


def test_nothing_for_people_holds_an_id(finished):
    results = finished.folder / "results" / "small"
    stays = pq.read_table(results / "extract" / "stays.parquet").to_pandas()
    ids = {
        str(value) for column in ("stay_id", "subject_id", "hadm_id") for value in stays[column].dropna().astype(int)
    }
    assert len(ids) > 100
    files = [
        *(results / "tables").iterdir(), *(results / "logs").iterdir(), results / "report" / "index.html",
        *results.glob("models/**/model.json"), results / "extract" / "cohort_flow.json",
        *(finished.folder / ".snakemake" / "log").iterdir(),
    ]  # fmt: skip
    for file in files:
        text = re.sub(r"data:[a-z/+;]+base64,[A-Za-z0-9+/=]+", "", file.read_text(errors="replace"))
        assert ids.isdisjoint(re.findall(r"(?<![\w.])\d+(?![\w.])", text)), file.name


def test_every_folder_tells_how_its_files_were_made_and_all_of_it_holds(finished):
    results = finished.folder / "results" / "small"
    folders = {path.parent for path in results.rglob("*.*") if path.suffix in (".parquet", ".csv", ".svg", ".html")}
    assert len(folders) > 15
    assert {"figures", "tables", "report", "private"} <= {folder.name for folder in folders}
    for folder in folders:
        told = json.loads((folder / "provenance.json").read_text())["jobs"]
        made = {name for record in told.values() for name in record["outputs"]}
        assert {path.relative_to(results).as_posix() for path in folder.glob("*.parquet")} <= made
        assert all(record["code"] and "python" in record["versions"] for record in told.values())
    report = json.loads((results / "report/provenance.json").read_text())["jobs"]["report"]
    assert report["seeds"] == {"folds": [0], "model": [0], "synthetic": [1]}
    text = "".join(path.read_text() for path in results.rglob("provenance.json"))
    assert str(finished.folder) not in text and '"/' not in text, "no path of this machine"
    words = set(re.findall(r"[\w.-]+", text))
    assert words.isdisjoint({socket.gethostname(), getpass.getuser()})
    assert verify(results, finished.folder) == []


def test_figures_of_single_patients_are_for_their_owner_only(finished):
    private = finished.folder / "results" / "small" / "private"
    assert private.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in private.iterdir())


def test_jobs_run_the_library_beside_the_snakefile_not_the_installed_one(project):
    module = project.folder / "scripts/ehr_attack/folds.py"
    module.write_text(module.read_text() + "\nraise SystemExit('this copy')\n")
    done = project.snakemake("results/small/folds/folds.parquet", check=False)
    assert done.returncode != 0
    assert "this copy" in done.stdout + done.stderr


def test_gpu_resources_are_on_search_training_and_attack_only(project_dir):
    text = "".join(path.read_text() for path in sorted((project_dir / "workflow" / "rules").glob("*.smk")))
    rules = re.split(r"^rule ", text, flags=re.MULTILINE)[1:]
    assert len(rules) > 10
    assert {rule.partition(":")[0] for rule in rules if "gpu=1," in rule} == {"tune", "train", "attack"}


def test_a_wrong_folder_is_named(finished, tmp_path):
    done = finished.snakemake(
        "--dry-run", "--configfile", "workflow/presets/mimic3.yaml", check=False, MIMIC3_DIR=str(tmp_path / "nowhere")
    )
    assert done.returncode != 0
    assert "nowhere" in done.stderr and "Traceback" not in done.stderr
