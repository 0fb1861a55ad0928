"""A config as it may be shown and kept: in the report, and in the records of jobs."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

_CREDENTIALS = re.compile(r"(?<=://)[^/@]*@")
_FOLDERS = re.compile(r"^(?:[/~\\]|[A-Za-z]:[/\\]).*[/\\](?=[^/\\])")


def public_config(value: Any) -> Any:
    """A config that may be shown: without credentials in URIs, and of absolute paths only the last part."""
    if isinstance(value, Mapping):
        return {str(key): public_config(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [public_config(item) for item in value]
    if isinstance(value, str):
        return _FOLDERS.sub("…/", _CREDENTIALS.sub("…@", value))
    return value
