"""Digests of what a result was made by: code, data files and package versions, as plain dictionaries.

Snakemake compares them as rule params, so that an edit reruns exactly the rules that use what was edited, and a
touch reruns nothing. Standard library only: it runs each time that Snakemake reads the workflow.
"""

import hashlib
import importlib.metadata
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from ehr_attack.errors import UserError
from ehr_attack.import_closure import import_closure
from ehr_attack.paths import PROJECT_DIR

_WHOLE_BYTES, _EDGE_BYTES = 1 << 20, 1 << 16
_seen: dict[Path, str] = {}


def code_digest(script: Path, modules: Sequence[str] = (), files: Iterable[Path] = ()) -> dict[str, str]:
    """Digest of everything that decides what `script` computes.

    The script, every module of the library that it imports directly or not, `modules` (imported by name at run
    time) and their imports, `files` (SQL, data, templates), and the versions of the third-party packages imported.
    One of `modules` may be a user's own, outside the library; what it imports from its own package or folder counts.
    Returns {name: sha256 or version}, sorted by name.
    """
    reached, packages = import_closure(script, tuple(modules))
    digests = {_name_of(path): _sha256(path) for path in {script, *reached, *files}}
    versions = {f"package {name}": installed_version(name) for name in packages}
    return dict(sorted((digests | versions).items()))


def digests_so_far() -> dict[str, str]:
    """The digests of all files that this process has been asked for, by name."""
    return {_name_of(path): digest for path, digest in _seen.items()}


def data_digest(path: Path) -> str:
    """Digest of a data file: of all its bytes up to 1 MB, else of its size, first and last 64 kB.

    Of a folder: of the names and digests of its files. Raises UserError when something cannot be read.
    """
    try:
        return _folder_digest(path) if path.is_dir() else _file_digest(path)
    except OSError as error:
        raise UserError(
            f"{error.filename or path}: cannot be read ({error.strerror}). Expected a file that this user may read; "
            "check its owner and permissions, or the device that it lies on."
        ) from error


def _file_digest(path: Path) -> str:
    size = path.stat().st_size
    if size <= _WHOLE_BYTES:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    with path.open("rb") as file:
        head = file.read(_EDGE_BYTES)
        file.seek(-_EDGE_BYTES, 2)
        tail = file.read()
    return f"{size}:{hashlib.sha256(head + tail).hexdigest()}"


def _folder_digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file():
            digest.update(f"{path.name}:{data_digest(path)}\n".encode())
    return digest.hexdigest()


def _sha256(path: Path) -> str:
    if path not in _seen:
        _seen[path] = hashlib.sha256(path.read_bytes()).hexdigest()
    return _seen[path]


@cache
def installed_version(distribution: str) -> str:
    """The version of a package, by the name it is installed by; "not installed" where it is not."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


@cache
def _name_of(path: Path) -> str:
    """The name of a file in a digest, the same on every machine: from the project, or from a user's package on."""
    if path.is_relative_to(PROJECT_DIR):
        return path.relative_to(PROJECT_DIR).as_posix()
    top = path.parent
    while (top / "__init__.py").is_file():
        top = top.parent
    return path.relative_to(top).as_posix()
