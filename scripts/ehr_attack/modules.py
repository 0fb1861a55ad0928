"""What a dotted name stands for: the source of a module, found without importing it, and a user's own class."""

import importlib
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from ehr_attack.errors import UserError


def find_module(module: str) -> Path | None:
    """The source file of a module that Python would import, here or from the current folder; None if there is none.

    Nothing is imported.
    """
    places: Sequence[str] | None = None
    spec = None
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        spec = _spec(".".join(parts[:depth]), places)
        if spec is None:
            return None
        places = spec.submodule_search_locations
        if places is None and depth < len(parts):
            return None
    return Path(spec.origin) if spec is not None and spec.origin and spec.has_location else None


def check_module(module: str, where: str) -> None:
    """Raise UserError when `module` is nowhere to be found. where: the config key and its value, for the message."""
    if find_module(module) is None:
        raise UserError(
            f"{where}: there is no module {module}. Expected package.module:Class, importable from this environment or "
            f"from the folder {os.getcwd()}."
        )


def load_named(name: str, where: str, *, is_own: bool) -> Any:
    """What `name`, `package.module:Class`, stands for. is_own: it is a user's, whose module may fail in any way.

    The current folder, where it may lie beside config.yaml, is searched last. Raises UserError when there is no such
    module or nothing of that name in it, and when a user's own cannot be imported; where: as for `check_module`.
    """
    module, _, attribute = name.partition(":")
    check_module(module, where)
    if (here := os.getcwd()) not in sys.path:
        sys.path.append(here)
    try:
        found = importlib.import_module(module)
    except Exception as error:
        if not is_own:
            raise
        raise UserError(f"{where}: importing {module} failed: {type(error).__name__}: {error}. Mend it.") from error
    try:
        return getattr(found, attribute)
    except AttributeError as error:
        raise UserError(f"{where}: {error}. Expected the name of a class after the colon.") from error


def _spec(name: str, places: Sequence[str] | None) -> ModuleSpec | None:
    found = (finder.find_spec(name, places) for finder in sys.meta_path)
    spec = next((spec for spec in found if spec is not None), None)
    if spec is None and places is None:
        return PathFinder.find_spec(name, [os.getcwd()])
    return spec
