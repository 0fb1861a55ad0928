"""The versions of the packages that are installed where this process runs."""

import importlib.metadata


def installed_version(distribution: str) -> str:
    """The version of a package, by the name it is installed by; "not installed" where it is not."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
