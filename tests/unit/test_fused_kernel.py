"""The fused CPU kernel: its activations, the bits of a row, and how it gets built, kept and done without."""

import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from ehr_attack.attacks.gradients import compiler, fused, fused_available, gradient_path, library, measured_peak_gflops
from ehr_attack.attacks.gradients.library import pointer
from ehr_attack.errors import UserError
from ehr_attack.models.lstm import LSTMClassifier
from ehr_attack.paths import PACKAGE_DIR
from gradient_builder import FLOAT32, assert_agrees, exact, made, made_up, path_of


@pytest.fixture
def path():
    return path_of("fused", made(LSTMClassifier, 19, 24))


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """An empty cache folder, and no memory of a library loaded before."""
    path_of("fused", made(LSTMClassifier, 2, 3))  # skips where there is no compiler
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for remembered in (library.load_library, fused._checked_kernel):
        remembered.cache_clear()
    yield tmp_path / "ehr-attack"
    for remembered in (library.load_library, fused._checked_kernel):
        remembered.cache_clear()


def activations(values):
    """Sigmoid and tanh by the kernel, float32 (n,) each."""
    padded = torch.cat([torch.as_tensor(values, dtype=torch.float32), torch.zeros(-len(values) % 64)])
    sigmoids, tangents = torch.empty_like(padded), torch.empty_like(padded)
    library.load_library().ehr_lstm_activations(len(padded), pointer(padded), pointer(sigmoids), pointer(tangents))
    return sigmoids[: len(values)].numpy(), tangents[: len(values)].numpy()


def ulps(found, expected):
    """Distance in units of the last place of float32; expected: float64."""
    return np.abs(found - expected) / np.spacing(np.abs(expected).astype(np.float32))


class TestActivations:
    def test_within_a_few_units_of_the_last_place(self):
        tiny = np.geomspace(1e-30, 1.0, 20_001)
        values = np.concatenate([np.linspace(-86.0, 86.0, 400_001), tiny, -tiny]).astype(np.float32)
        sigmoids, tangents = activations(values)
        wide = values.astype(np.float64)
        assert ulps(sigmoids, 1 / (1 + np.exp(-wide))).max() < 6
        assert ulps(tangents, np.tanh(wide)).max() < 4

    def test_tanh_is_odd_and_both_are_monotone_up_to_rounding(self):
        values = np.linspace(0.0, 12.0, 100_001).astype(np.float32)
        sigmoids, tangents = activations(values)
        assert np.array_equal(activations(-values)[1], -tangents)
        assert np.diff(sigmoids).min() >= -2 * np.spacing(np.float32(1))
        assert np.diff(tangents).min() >= -2 * np.spacing(np.float32(1))

    def test_at_the_ends_and_for_nan(self):
        values = np.array([0.0, -0.0, 1e30, -1e30, np.inf, -np.inf, np.nan], dtype=np.float32)
        sigmoids, tangents = activations(values)
        assert sigmoids[:6].tolist() == pytest.approx([0.5, 0.5, 1.0, 0.0, 1.0, 0.0], abs=1e-37)
        assert tangents[:6].tolist() == [0.0, 0.0, 1.0, -1.0, 1.0, -1.0]
        assert np.isnan(sigmoids[6])
        assert np.isnan(tangents[6])


class TestBits:
    """A row's result depends on nothing but the row."""

    def test_alone_or_among_others_and_in_any_place(self, path):
        inputs, lengths, labels = made_up(19, 70, 9)
        margins, gradients = path(inputs, lengths, labels)
        for rows in (1, 15, 33, 64, 65):
            some = path(inputs[:rows], lengths[:rows], labels[:rows])
            assert torch.equal(some[0], margins[:rows])
            assert torch.equal(some[1], gradients[:rows])
        order = torch.randperm(70, generator=torch.Generator().manual_seed(3))
        mixed = path(inputs[order], lengths[order], labels[order])
        assert torch.equal(mixed[0], margins[order])
        assert torch.equal(mixed[1], gradients[order])

    def test_beside_neighbours_that_overflow(self, path):
        inputs, lengths, labels = made_up(19, 40, 9, whole=True)
        margins, gradients = path(inputs, lengths, labels)
        inputs[1::2] = float("inf")
        found = path(inputs, lengths, labels)
        assert torch.equal(found[0][::2], margins[::2])
        assert torch.equal(found[1][::2], gradients[::2])

    def test_with_fewer_hours_in_the_batch(self, path):
        inputs, lengths, labels = made_up(19, 40, 9)
        lengths = lengths.clamp(max=4)
        margins, gradients = path(inputs, lengths, labels)
        short = path(inputs[:, :4], lengths, labels)
        assert torch.equal(short[0], margins)
        assert torch.equal(short[1], gradients[:, :4])

    def test_on_several_threads(self, path):
        batch = made_up(19, 200, 9)
        alone = path(*batch)
        threads = torch.get_num_threads()
        try:
            torch.set_num_threads(3)
            together = path(*batch)
        finally:
            torch.set_num_threads(threads)
        assert all(torch.equal(*pair) for pair in zip(alone, together, strict=True))


@pytest.mark.parametrize(
    "lengths, labels, message",
    [([0, 3], [0, 1], "lengths"), ([1, 4], [0, 1], "lengths"), ([1, 3], [0, 2], "labels"), ([1], [0, 1], "lengths")],
)
def test_what_would_read_outside_is_refused(path, lengths, labels, message):
    with pytest.raises(ValueError, match=message):
        path(torch.rand(2, 3, 19), torch.tensor(lengths), torch.tensor(labels))


def test_wrong_channels_are_refused(path):
    with pytest.raises(ValueError, match="expected float32"):
        path(torch.rand(2, 3, 18), torch.tensor([1, 2]), torch.tensor([0, 1]))


def test_the_peak_is_above_what_a_large_product_reaches():
    """Products reach 70 to 95 % of it; the loosest bound that still catches a wrong count of operations."""
    a = torch.rand(768, 768)

    def rate():
        start = time.perf_counter()
        a @ a
        return 2 * 768**3 / (time.perf_counter() - start) / 1e9

    fastest = max(rate() for _ in range(10))
    assert 0.8 * fastest < measured_peak_gflops(1) < 20 * fastest


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the flags are those of x86")
@pytest.mark.parametrize("without", ["-mno-avx512f", "-mno-avx"])
def test_narrower_vectors_agree(without, fresh, monkeypatch):
    command = " ".join(compiler.find_compiler())
    monkeypatch.setenv("CXX", f"{command} {without}")
    for units in (5, 24):
        model = made(LSTMClassifier, 19, units)
        batch = made_up(19, 40, 9)
        assert_agrees(gradient_path(model, "fused")(*batch), exact(model, *batch), FLOAT32)
    assert library.load_library().ehr_lstm_block_rows() < 32


class TestBuilding:
    def test_the_second_job_finds_the_library(self, fresh, monkeypatch):
        first = compiler.kernel_file()
        assert [path.name for path in fresh.iterdir()] == [first.name]
        monkeypatch.setattr(compiler, "_compile", None)  # a call would fail
        assert compiler.kernel_file() == first

    def test_another_processor_gets_its_own(self, fresh, monkeypatch):
        first = compiler.kernel_file()
        monkeypatch.setattr(compiler, "_processor", lambda: "another one")
        assert compiler.kernel_file() != first
        assert len(list(fresh.iterdir())) == 2

    @pytest.mark.parametrize("keep", [0, 1000, -1])
    def test_a_damaged_library_is_built_anew(self, keep, fresh):
        library_file = compiler.kernel_file()
        whole = library_file.read_bytes()
        library_file.write_bytes(whole[:keep] if keep >= 0 else whole[:-1] + b"x")
        assert fused_available()
        rebuilt = compiler.kernel_file()
        assert compiler._digest_of(rebuilt) in rebuilt.name

    def test_no_compiler(self, fresh, monkeypatch, caplog):
        monkeypatch.setattr("ehr_attack.attacks.gradients._said", set())
        monkeypatch.setenv("CXX", "/nonexistent/c++")
        monkeypatch.setenv("PATH", "")
        assert not fused_available()
        model = made(LSTMClassifier, 4, 8)
        with caplog.at_level("INFO"):
            path = gradient_path(model)
        assert path.name == "manual"
        assert "no C++ compiler was found" in caplog.text
        batch = made_up(4, 5, 6)
        assert_agrees(path(*batch), exact(model, *batch), FLOAT32)
        with pytest.raises(UserError, match="no C\\+\\+ compiler was found"):
            gradient_path(model, "fused")

    @pytest.mark.parametrize(
        "script", ["#!/bin/sh\necho 'error: no such thing' >&2\nexit 1\n", "#!/bin/sh\nexit 0\n", "no program\n"]
    )
    def test_a_compiler_that_fails(self, script, fresh, monkeypatch, tmp_path):
        broken = tmp_path / "broken"
        broken.write_text(script)
        broken.chmod(0o755)
        monkeypatch.setenv("CXX", str(broken))
        assert gradient_path(made(LSTMClassifier, 4, 8)).name == "manual"
        with pytest.raises(UserError, match=r"attack\.path: fused was asked for, but .*broken"):
            gradient_path(made(LSTMClassifier, 4, 8), "fused")
        assert not list(fresh.glob("*"))

    def test_a_compiler_with_arguments_or_nonsense(self, fresh, monkeypatch):
        command = compiler.find_compiler()[0]
        monkeypatch.setenv("CXX", f"'{command}' -DUNUSED='a b'")
        assert compiler.find_compiler() == [command, "-DUNUSED=a b"]
        monkeypatch.setenv("CXX", "g++ 'no end")
        with pytest.raises(UserError, match=r"\$CXX cannot be understood"):
            gradient_path(made(LSTMClassifier, 4, 8), "fused")

    def test_a_compiler_that_makes_something_else(self, fresh, monkeypatch, tmp_path):
        """A library that cannot be loaded, or gives wrong numbers, must not be used."""
        files = [Path(shutil.copy(file, tmp_path)) for file in compiler.KERNEL_FILES]
        source = files[0].read_text()
        wrong = source.replace("o * (one - squashed * squashed)", "o * (one + squashed * squashed)")
        assert wrong != source
        files[0].write_text(wrong)
        monkeypatch.setattr(compiler, "KERNEL_FILES", files)
        with pytest.raises(UserError, match="does not reproduce autograd's gradients"):
            gradient_path(made(LSTMClassifier, 4, 8), "fused")

    def test_a_cache_folder_that_cannot_be_written_to(self, fresh, monkeypatch, tmp_path):
        (tmp_path / "file").touch()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        assert fused_available()
        assert tmp_path not in compiler.kernel_file().parents

    def test_jobs_that_start_together(self, tmp_path):
        script = (
            "import torch\n"
            "from ehr_attack.attacks.gradients import gradient_path\n"
            "from ehr_attack.models.lstm import LSTMClassifier\n"
            "torch.manual_seed(0)\n"
            "path = gradient_path(LSTMClassifier(4, hidden_size=8), 'fused')\n"
            "print(path(torch.rand(3, 5, 4), torch.tensor([5, 2, 1]), torch.tensor([0, 1, 0]))[0].tolist())\n"
        )
        environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": str(PACKAGE_DIR.parent)}
        jobs = [
            subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE) for _ in range(3)
        ]
        printed = {job.communicate(timeout=300)[0] for job in jobs}
        assert all(job.returncode == 0 for job in jobs)
        assert len(printed) == 1
        left = list((tmp_path / "ehr-attack").iterdir())
        assert left
        assert all(compiler._digest_of(path) in path.name for path in left)
