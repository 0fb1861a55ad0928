"""Files that the project reads back, damaged or hostile: each is refused in one message or loads as what it should be.

Nothing in them is ever run: a pickle in place of any of them does not do what it would do when it is loaded.
"""

import json
import os
import pickle
import random
import struct
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load

from ehr_attack.checkpoint import load_checkpoint
from ehr_attack.errors import UserError
from ehr_attack.hyperparameters import load_chosen
from ehr_attack.lineage.records import RECORDS, read_records, write_record
from ehr_attack.lineage.verifying import verify
from ehr_attack.resuming import ResumeFile
from ehr_attack.screening.description import read_description
from ehr_attack.storage import file_digest, parquet_batches, read_frame, read_json, read_parquet, write_parquet
from screen_builder import describe
from training_builder import VARIABLES, made_up_cohort, train
from training_builder import save as save_training

ONE_FOLDER = [HealthCheck.function_scoped_fixture]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from([1e308, -0.5, 2**70, "", "a", "../x", "\0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    return save_training(train(made_up_cohort(), epochs=1), tmp_path_factory.mktemp("trained"))


@pytest.fixture
def copies(files, tmp_path) -> dict[str, Path]:
    """The weights and the sidecar in a folder of their own."""
    copied = {name: tmp_path / files[name].name for name in ("weights", "sidecar")}
    for name, path in copied.items():
        path.write_bytes(files[name].read_bytes())
    return copied


def refused_or(read: Callable[[], object], place: Path) -> object | None:
    """What `read` gives; None where it is refused in one message that names the file or its folder."""
    try:
        return read()
    except UserError as error:
        assert str(place) in str(error) and len(str(error)) < 2000
        return None


def damaged(content: bytes, dice: random.Random) -> bytes:
    """`content` cut short, with bits flipped, with bytes lost, put in or doubled: one to three of these."""
    harmed = bytearray(content)
    for _ in range(dice.randint(1, 3)):
        # Half of the harm where the structure is: in the first and the last bytes.
        ends = (dice.randrange(min(200, len(harmed) + 1)), len(harmed) - dice.randrange(min(200, len(harmed) + 1)))
        at = dice.choice([dice.randrange(len(harmed) + 1), *ends])
        piece = bytes(harmed[at : at + dice.choice([1, 4, 8, 64])])
        changed: bytes = dice.choice(
            [
                b"",
                bytes(byte ^ (1 << dice.randrange(8)) for byte in piece),
                piece * 2,
                piece + dice.randbytes(dice.choice([1, 8])),
                dice.choice([b"\0", b"\xff"]) * len(piece),
            ]
        )
        harmed[at : at + len(piece)] = changed
        if dice.random() < 0.15:
            del harmed[at:]
    return bytes(harmed)


# --- checkpoints


def loaded(copies: dict[str, Path]) -> object:
    return load_checkpoint(copies["weights"], copies["sidecar"], model_name="lstm", variables=VARIABLES)


def with_its_digest(copies: dict[str, Path], content: bytes) -> None:
    """Put `content` in place of the weights, and its digest in the sidecar: the reader has to look closer."""
    copies["weights"].write_bytes(content)
    details = json.loads(copies["sidecar"].read_text()) | {"weights_sha256": file_digest(copies["weights"])}
    copies["sidecar"].write_text(json.dumps(details))


def assert_refused_or_whole(copies: dict[str, Path], shapes: dict[str, tuple]) -> None:
    checkpoint = refused_or(lambda: loaded(copies), copies["weights"].parent)
    if checkpoint is not None:
        state = checkpoint.model.state_dict()
        assert {name: (tensor.dtype, tensor.shape) for name, tensor in state.items()} == shapes
        assert all(tensor.isfinite().all() for tensor in state.values())


@pytest.fixture(scope="module")
def shapes(files) -> dict[str, tuple]:
    return {name: (tensor.dtype, tensor.shape) for name, tensor in load(files["weights"].read_bytes()).items()}


@settings(derandomize=True, max_examples=60, suppress_health_check=ONE_FOLDER)
@given(dice=st.randoms(use_true_random=False))
def test_damaged_weights_are_refused_or_are_weights_of_the_model(files, copies, shapes, dice):
    with_its_digest(copies, damaged(files["weights"].read_bytes(), dice))
    assert_refused_or_whole(copies, shapes)


ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["F32", "F64", "BF16", "I64", "BOOL", "F99", ""]) | JSON,
        "shape": st.lists(st.integers(-1, 2**64), max_size=4) | JSON,
        "data_offsets": st.tuples(st.integers(-1, 2**64), st.integers(-1, 2**64)) | JSON,
    },
)


@settings(derandomize=True, max_examples=80, suppress_health_check=ONE_FOLDER)
@given(data=st.data())
def test_weights_with_any_header_are_refused_or_are_weights_of_the_model(files, copies, shapes, data):
    content = files["weights"].read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header, tensors = json.loads(content[8 : 8 + length]), content[8 + length :]
    name = data.draw(st.sampled_from([*sorted(header), "__metadata__", "another", "", "../../owned"]))
    header[name] = data.draw(ENTRY | JSON)
    text = json.dumps(header).encode()
    told = data.draw(st.sampled_from([len(text), len(text) + 1, 0, len(content), 2**31, 2**63, 2**64 - 1]))
    with_its_digest(copies, struct.pack("<Q", told) + text + tensors)
    assert_refused_or_whole(copies, shapes)


@settings(derandomize=True, max_examples=40, suppress_health_check=ONE_FOLDER)
@given(dice=st.randoms(use_true_random=False))
def test_a_damaged_sidecar_is_refused_or_goes_with_the_weights(files, copies, shapes, dice):
    copies["sidecar"].write_bytes(damaged(files["sidecar"].read_bytes(), dice))
    assert_refused_or_whole(copies, shapes)


# --- pickles


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return os.mkdir, (str(self.file),)


def test_a_pickle_in_place_of_any_file_is_refused_and_not_loaded(copies, tmp_path):
    owned = tmp_path / "owned"
    for content in (pickle.dumps(Trap(owned), protocol=protocol) for protocol in (0, 2, 5)):
        file = tmp_path / "file"
        file.write_bytes(content)
        with_its_digest(copies, content)
        for read in (
            lambda: loaded(copies),
            lambda: read_parquet(file),  # noqa: B023
            lambda: read_json(file),  # noqa: B023
            lambda: load_chosen(file),  # noqa: B023
        ):
            with pytest.raises(UserError):
                read()
        assert ResumeFile(resume_of(tmp_path, content), key=1).load() is None
        assert not owned.exists()
    pickle.loads(content)
    assert owned.exists(), "the trap itself works"


# --- the state of an interrupted training


def resume_of(folder: Path, content: bytes) -> Path:
    (folder / "resume").mkdir(exist_ok=True)
    (folder / "resume/state.safetensors").write_bytes(content)
    return folder / "resume"


@settings(derandomize=True, max_examples=60, suppress_health_check=ONE_FOLDER)
@given(dice=st.randoms(use_true_random=False))
def test_a_damaged_state_is_never_gone_on_from(tmp_path, dice):
    tensors, values = {"weight": torch.arange(12.0)}, {"epoch": 3, "losses": [0.5, 0.25]}
    state = ResumeFile(tmp_path / "resume", key=1)
    state.save(tensors, values)
    content = (tmp_path / "resume/state.safetensors").read_bytes()
    found = ResumeFile(resume_of(tmp_path, damaged(content, dice)), key=1).load()
    if found is not None:
        assert torch.equal(found[0]["weight"], tensors["weight"]) and found[1] == values


# --- tables


TABLE = pa.table(
    {
        "stay_id": pa.array(range(60)),
        "mode": ["ista", "ead", "éàü"] * 20,
        "value": [0.5 * number for number in range(60)],
        "flipped": [True, None, False] * 20,
    }
)


@settings(derandomize=True, max_examples=100, suppress_health_check=ONE_FOLDER)
@given(dice=st.randoms(use_true_random=False))
def test_a_damaged_table_is_refused_or_has_its_columns(tmp_path, dice):
    """Parquet has no checksum of values here: a flipped bit in one gives another value, which `verify` finds."""
    file = tmp_path / "outcomes.parquet"
    write_parquet(TABLE, file)
    file.write_bytes(damaged(file.read_bytes(), dice))
    frame = refused_or(lambda: read_frame(file, ["stay_id", "mode", "value", "flipped"]), file)
    assert frame is None or list(frame) == TABLE.column_names
    refused_or(lambda: read_frame(file), file)
    batches = refused_or(lambda: list(parquet_batches(file, ["mode", "value"], 16, ["mode"])), file)
    assert batches is None or all(batch.schema.names == ["mode", "value"] for batch in batches)


# --- what a run says of itself


@settings(derandomize=True, max_examples=100, suppress_health_check=ONE_FOLDER)
@given(data=st.data())
def test_a_description_of_a_run_with_anything_in_one_place_is_refused_or_usable(tmp_path, data):
    describe(tmp_path, "lstm", 2, "forward")
    file = tmp_path / "run.json"
    stored = json.loads(file.read_text())
    part = data.draw(st.sampled_from([stored, stored["attack"]]))
    part[data.draw(st.sampled_from([*sorted(part), "another"]))] = data.draw(JSON)
    file.write_text(json.dumps(stored))
    described = refused_or(lambda: read_description(tmp_path), file)
    if described is not None:
        assert isinstance(described.architecture(None), str) and isinstance(described.seed(None), int)
        refused_or(lambda: described.variables, file)
        assert described.window_hours * described.folds * described.levels >= 1 and described.carry_in_hours >= 0
        attack = described.attack
        assert isinstance(attack["steps"], int) and attack["rate"] * attack["kappa"] >= 0
        first, last = attack["mutable_hours"] or (0, 0)
        assert first + last is not None and (
            isinstance(attack["mutable"], str) or "".join(attack["mutable"]) is not None
        )


class Named(list):
    """A list with names, as jobs have them."""

    def items(self) -> list[tuple[str, object]]:
        return [(str(number), value) for number, value in enumerate(self)]


def run_of_one_job(folder: Path) -> Path:
    run = folder / "results/small"
    (run / "tables").mkdir(parents=True, exist_ok=True)
    (run / "tables/a.csv").write_text("a\n1\n")
    job = SimpleNamespace(
        rule="tables",
        log=[str(run / "logs/tables.log")],
        input=Named(),
        output=Named([str(run / "tables/a.csv")]),
        params=Named(),
        wildcards=Named(),
    )
    write_record(job)
    return run


@settings(derandomize=True, max_examples=60, suppress_health_check=ONE_FOLDER)
@given(data=st.data())
def test_a_record_with_anything_in_one_place_is_refused_or_found(tmp_path, data):
    run = run_of_one_job(tmp_path)
    assert verify(run) == []
    file = run / data.draw(st.sampled_from([f"{RECORDS}/tables.json", "tables/provenance.json"]))
    stored = json.loads(file.read_text())
    part = stored if RECORDS in str(file) else data.draw(st.sampled_from([stored, stored["jobs"]]))
    before = json.dumps(stored, sort_keys=True)
    part[data.draw(st.sampled_from([*sorted(part), "another"]))] = data.draw(JSON)
    changed = json.dumps(stored, sort_keys=True) != before
    file.write_text(json.dumps(stored))
    findings = refused_or(lambda: verify(run), file)
    told = file.name == "provenance.json" and set(stored) > {"jobs"}  # a key beside `jobs` says nothing
    assert findings is None or not changed or told or findings
    refused_or(lambda: read_records(run), file)
    run_of_one_job(tmp_path)  # the job that runs again writes both anew
    assert verify(run) == []


@settings(derandomize=True, max_examples=60, suppress_health_check=ONE_FOLDER)
@given(content=st.binary(max_size=30) | JSON.map(lambda value: json.dumps(value).encode()))
def test_the_result_of_a_search_is_one_or_is_refused(tmp_path, content):
    file = tmp_path / "hyperparameters.json"
    file.write_bytes(content)
    found = refused_or(lambda: load_chosen(file), file)
    assert found is None or isinstance(found["settings"], dict)
