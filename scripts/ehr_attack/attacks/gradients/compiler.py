"""Building the C++ kernel on first use, for the processor that it runs on, and keeping the library for the next job.

A library is kept in the user's cache folder under a name that holds two digests: of everything that decides what the
compiler makes (source, compiler, flags, processor), and of the library itself, so that a damaged file is never
loaded. On a home folder that is shared by unlike machines each finds its own.
"""

import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ehr_attack.paths import KERNEL_FILES

_COMPILERS = ("c++", "g++", "clang++")
_FLAGS = ("-std=c++17", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared")
# Compilers for ARM may know the second only. Without either the kernel would be slower than torch.
_PROCESSOR_FLAGS = ("-march=native", "-mcpu=native")
_TIMEOUT_SECONDS = 300

_log = logging.getLogger(__name__)


class KernelUnavailableError(Exception):
    """There is no compiled kernel on this machine; the message says why."""


def kernel_file() -> Path:
    """The kernel's library, compiled when no earlier job has done so. Raises KernelUnavailableError."""
    compiler = find_compiler()
    name = f"{KERNEL_FILES[0].stem}-{_build_digest(compiler)}"
    folder = _cache_folder()
    return _intact_library(folder, name) or _compile(compiler, folder, name)


def find_compiler() -> list[str]:
    """The command of the first C++ compiler found: $CXX (with its arguments), c++, g++ or clang++."""
    try:
        configured = shlex.split(os.environ.get("CXX", ""))
    except ValueError as error:
        raise KernelUnavailableError(f"$CXX cannot be understood: {error}") from error
    for command in (configured, *([name] for name in _COMPILERS)):
        found = shutil.which(command[0]) if command else None
        if found:
            return [found, *command[1:]]
    raise KernelUnavailableError(f"no C++ compiler was found ($CXX, {', '.join(_COMPILERS)})")


def _build_digest(compiler: Sequence[str]) -> str:
    """Digest of what decides the library: source, compiler and its version, flags, processor."""
    parts = [
        *(file.read_text() for file in KERNEL_FILES),
        _output([*compiler, "--version"]),
        repr((compiler[1:], _FLAGS, _PROCESSOR_FLAGS)),
        _processor(),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def _processor() -> str:
    """What tells processors with unlike instructions apart: architecture, model and features."""
    described = [platform.system(), platform.machine(), platform.processor()]
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        wanted = ("vendor_id", "cpu family", "model", "stepping", "flags", "Features", "CPU ")
        first = cpuinfo.read_text(errors="replace").strip().split("\n\n")[0]
        described += [line for line in first.splitlines() if line.startswith(wanted)]
    elif shutil.which("sysctl"):
        described.append(_output(["sysctl", "-n", "machdep.cpu.brand_string"]))
    return "\n".join(described)


def _output(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KernelUnavailableError(f"{command[0]} cannot be run: {error}") from error
    return done.stdout


def _cache_folder() -> Path:
    """$XDG_CACHE_HOME/ehr-attack, else ~/.cache/ehr-attack; a temporary folder of this process where neither can be
    written to."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        folder = (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "ehr-attack"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except (OSError, RuntimeError) as error:
        folder = _temporary_folder()
        _log.info("the compiled kernel cannot be kept for later jobs (%s); it goes to %s", error, folder)
        return folder


def _temporary_folder() -> Path:
    """A folder that is removed when the process ends."""
    _TEMPORARY.append(tempfile.TemporaryDirectory(prefix="ehr-attack-"))
    return Path(_TEMPORARY[-1].name)


_TEMPORARY: list["tempfile.TemporaryDirectory[str]"] = []


def _intact_library(folder: Path, name: str) -> Path | None:
    """A library of this build whose bytes are those that the compiler wrote."""
    for path in sorted(folder.glob(f"{name}-*.so")):
        if path.stem.removeprefix(f"{name}-") == _digest_of(path):
            return path
        _log.info("%s is damaged; it is compiled anew", path)
    return None


def _digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:24]


def _compile(compiler: Sequence[str], folder: Path, name: str) -> Path:
    """Compile into `folder`, under its final name at once: jobs that start together do not see half a file."""
    with tempfile.TemporaryDirectory(prefix="building-", dir=folder) as building:
        output = Path(building) / "kernel.so"
        complaint = ""
        for processor_flag in _PROCESSOR_FLAGS:
            command = [*compiler, *_FLAGS, processor_flag, str(KERNEL_FILES[0]), "-o", str(output)]
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False)
            except (OSError, subprocess.TimeoutExpired) as error:
                raise KernelUnavailableError(f"{compiler[0]} cannot be run: {error}") from error
            if done.returncode == 0 and output.exists():
                library = folder / f"{name}-{_digest_of(output)}.so"
                output.replace(library)
                return library
            complaint = complaint or (done.stderr.strip().splitlines() or ["no message"])[0]
    raise KernelUnavailableError(f"{compiler[0]} fails on {KERNEL_FILES[0].name}: {complaint}")
