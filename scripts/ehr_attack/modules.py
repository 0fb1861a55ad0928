"""Finding the source of a module by its dotted name, without importing it. Standard library only."""

import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path


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


def _spec(name: str, places: Sequence[str] | None) -> ModuleSpec | None:
    found = (finder.find_spec(name, places) for finder in sys.meta_path)
    spec = next((spec for spec in found if spec is not None), None)
    if spec is None and places is None:
        return PathFinder.find_spec(name, [os.getcwd()])
    return spec
