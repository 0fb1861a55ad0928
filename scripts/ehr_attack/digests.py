"""Digests of what a result was made by: code, data files and package versions, as plain dictionaries.

Snakemake compares them as rule params, so that an edit reruns exactly the rules that use what was edited, and a
touch reruns nothing. Standard library only: it runs each time that Snakemake reads the workflow.
"""

import ast
import hashlib
import importlib.metadata
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from ehr_attack.modules import find_module
from ehr_attack.paths import PACKAGE_DIR, PROJECT_DIR

_PACKAGE = PACKAGE_DIR.name
_DISTRIBUTIONS = {"sklearn": "scikit-learn", "yaml": "PyYAML"}
_WHOLE_BYTES, _EDGE_BYTES = 1 << 20, 1 << 16


def code_digest(script: Path, modules: Sequence[str] = (), files: Iterable[Path] = ()) -> dict[str, str]:
    """Digest of everything that decides what `script` computes.

    The script, every module of the library that it imports directly or not, `modules` (imported by name at run
    time) and their imports, `files` (SQL, data, templates), and the versions of the third-party packages imported.
    One of `modules` may be a user's own, outside the library; what it imports from its own package or folder counts.
    Returns {name: sha256 or version}, sorted by name.
    """
    reached, packages = _import_closure(script, tuple(modules))
    digests = {_name_of(path): _sha256(path) for path in {script, *reached, *files}}
    versions = {f"package {name}": _version(name) for name in packages}
    return dict(sorted((digests | versions).items()))


def data_digest(path: Path) -> str:
    """Digest of a data file: of all its bytes up to 1 MB, else of its size, first and last 64 kB.

    Of a folder: of the names and digests of its files.
    """
    if path.is_dir():
        return _folder_digest(path)
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


@lru_cache
def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@lru_cache
def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


@lru_cache
def _import_closure(script: Path, modules: tuple[str, ...]) -> tuple[frozenset[Path], frozenset[str]]:
    """Files of the library, and distributions, that `script` and `modules` reach by imports."""
    reached: set[Path] = set()
    packages: set[str] = set()
    own = {module.partition(".")[0] for module in modules} - {_PACKAGE}
    waiting = [script] + [path for module in modules for path in _files_of(module)]
    while waiting:
        path = waiting.pop()
        if path in reached:
            continue
        reached.add(path)
        waiting += _relatives(path)
        for module in _imports(path):
            top = module.partition(".")[0]
            if top == _PACKAGE or top in own or (path.parent / f"{top}.py").is_file():
                waiting += _files_of(module)
            elif top not in sys.stdlib_module_names:
                packages.add(_DISTRIBUTIONS.get(top, top))
    return frozenset(reached), frozenset(packages)


@lru_cache
def _imports(path: Path) -> frozenset[str]:
    """Dotted names that a file imports, wherever in it; `from a import b` gives both a and a.b."""
    return frozenset(_imported_names(ast.parse(path.read_text(encoding="utf-8"), filename=str(path))))


def _imported_names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@lru_cache
def _relatives(path: Path) -> list[Path]:
    """Files that a file reaches by relative imports; the library has none."""
    found: list[Path] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=str(path))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = path.parents[node.level - 1].joinpath(*filter(None, (node.module or "").split(".")))
            for stem in (base, *(base / alias.name for alias in node.names)):
                found += [file for file in (stem.with_suffix(".py"), stem / "__init__.py") if file.is_file()]
    return found


def _name_of(path: Path) -> str:
    """The name of a file in a digest, the same on every machine: from the project, or from a user's package on."""
    if path.is_relative_to(PROJECT_DIR):
        return path.relative_to(PROJECT_DIR).as_posix()
    top = path.parent
    while (top / "__init__.py").is_file():
        top = top.parent
    return path.relative_to(top).as_posix()


def _files_of(module: str) -> list[Path]:
    """The file of a module and the `__init__` files of the packages around it; [] where there is none."""
    if module.partition(".")[0] != _PACKAGE:
        parts = module.split(".")
        around = (find_module(".".join(parts[:depth])) for depth in range(1, len(parts) + 1))
        return [path for path in around if path is not None and path.suffix == ".py"]
    found: list[Path] = []
    folder = PACKAGE_DIR
    for part in module.split(".")[1:]:
        found.append(folder / "__init__.py")
        if (folder / f"{part}.py").is_file():
            return [*found, folder / f"{part}.py"]
        if not (folder / part).is_dir():
            return found
        folder = folder / part
    return [*found, folder / "__init__.py"]
