"""Which files and packages a Python file reaches by imports, directly or not; nothing is imported to find out.

Standard library only, and quick: it runs each time that Snakemake reads the workflow.
"""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from ehr_attack.modules import find_module
from ehr_attack.paths import PACKAGE_DIR

WITHOUT_RESULTS = ("__init__.py", "errors.py", "progress.py", "runtime.py")
"""Modules of the library that decide what a job says while it runs, or the version, and no result: in no closure."""

FOR_MESSAGES_ONLY = {"suppression.py": ("extraction.py", "folds.py", "staging.py")}
"""By module: modules that import it for the words of logs and errors alone: it is no part of theirs."""

_PACKAGE = PACKAGE_DIR.name
_DISTRIBUTIONS = {"PIL": "pillow", "sklearn": "scikit-learn", "yaml": "PyYAML"}
_INSTALLED = ("site-packages", "dist-packages")
_Reached = tuple[frozenset[Path], frozenset[str]]


@cache
def import_closure(script: Path, modules: tuple[str, ...] = ()) -> _Reached:
    """Files, and distributions, that `script` and `modules` (dotted names) reach; the script's own file is one of them.

    Files are those of the library, of a user's package that one of `modules` names, and of modules beside a file that
    imports them.
    """
    reached: set[Path] = set()
    packages: set[str] = set()
    own = frozenset(module.partition(".")[0] for module in modules) - {_PACKAGE}
    waiting = [script, *(path for module in modules for path in _files_of(module))]
    while waiting:
        path = waiting.pop()
        if path not in reached:
            reached.add(path)
            files, distributions = _one_step(path, own)
            waiting += files
            packages |= distributions
    return frozenset(reached - {PACKAGE_DIR / name for name in WITHOUT_RESULTS}), frozenset(packages)


@cache
def _one_step(path: Path, own: frozenset[str]) -> _Reached:
    """The files and distributions that one file imports."""
    names, relatives = _imports(path)
    files, packages = set(relatives), set()
    for module in names:
        top = module.partition(".")[0]
        if top == _PACKAGE or top in own or _is_beside(path, top):
            files.update(_files_of(module))
        elif top not in sys.stdlib_module_names:
            packages.add(_DISTRIBUTIONS.get(top, top))
    for name, importers in FOR_MESSAGES_ONLY.items():
        if path in (PACKAGE_DIR / importer for importer in importers):
            files.discard(PACKAGE_DIR / name)
    return frozenset(files), frozenset(packages)


def _is_beside(path: Path, top: str) -> bool:
    """Whether a module or package lies in the folder of a file; beside what is installed lies all that is installed."""
    folder = path.parent
    return folder.name not in _INSTALLED and ((folder / f"{top}.py").is_file() or (folder / top).is_dir())


@cache
def _imports(path: Path) -> tuple[frozenset[str], frozenset[Path]]:
    """Dotted names that a file imports, wherever in it, and the files that its relative imports are.

    `from a import b` gives both a and a.b. The library itself has no relative imports.
    """
    names: set[str] = set()
    relatives: set[Path] = set()
    for node in _statements(ast.parse(path.read_bytes(), filename=str(path)).body):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            relatives.update(_relative_files(path, node))
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update((node.module, *(f"{node.module}.{alias.name}" for alias in node.names)))
    return frozenset(names), frozenset(relatives)


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """All statements, inner ones too, but those that only a type checker reads; expressions hold no imports."""
    waiting: list[ast.AST] = list(body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.stmt):
            yield node
        for part in ("body", "orelse", "finalbody", "handlers", "cases"):
            if part != "body" or not _for_type_checkers(node):
                waiting += getattr(node, part, [])


def _for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _relative_files(path: Path, node: ast.ImportFrom) -> Iterator[Path]:
    base = path.parents[node.level - 1].joinpath(*filter(None, (node.module or "").split(".")))
    for stem in (base, *(base / alias.name for alias in node.names)):
        yield from (file for file in (stem.with_suffix(".py"), stem / "__init__.py") if file.is_file())


@cache
def _files_of(module: str) -> tuple[Path, ...]:
    """The file of a module and the `__init__` files of the packages around it; () where there is none."""
    if module.partition(".")[0] != _PACKAGE:
        parts = module.split(".")
        around = (find_module(".".join(parts[:depth])) for depth in range(1, len(parts) + 1))
        return tuple(path for path in around if path is not None and path.suffix == ".py")
    found: list[Path] = []
    folder = PACKAGE_DIR
    for part in module.split(".")[1:]:
        found.append(folder / "__init__.py")
        if (folder / f"{part}.py").is_file():
            return (*found, folder / f"{part}.py")
        if not (folder / part).is_dir():
            return tuple(found)
        folder = folder / part
    return (*found, folder / "__init__.py")
