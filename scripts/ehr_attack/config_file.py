"""Reading one YAML file of the configuration, whatever it holds: a mapping of plain values, or one message."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from ehr_attack.errors import UserError

_REFUSED = (yaml.YAMLError, UnicodeDecodeError, RecursionError)


class _Loader(yaml.SafeLoader):
    """Plain values only, and no key twice: PyYAML would take the last one and say nothing."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"the key {key.value!r} again", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            # What PyYAML trips over: month 13, `!!bool maybe`, a number of thousands of digits.
            kind = node.tag.rpartition(":")[2]
            raise yaml.constructor.ConstructorError(
                None, None, f"a value that is no {kind}", node.start_mark
            ) from error


def read_config_file(path: Path) -> dict[str, Any]:
    """The content of one YAML file, unchecked. Raises UserError when it is missing or no YAML mapping."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except OSError as error:
        raise UserError(
            f"{path}: the configuration cannot be read ({error.strerror}). Expected a readable YAML file: the "
            "project's own config.yaml (restore it, or name another folder that has one with `snakemake --directory "
            "<folder>`), or a preset of workflow/presets."
        ) from error
    except _REFUSED as error:
        raise UserError(
            f"{path}: not valid YAML ({_fault(error)}). Expected UTF-8 text, keys indented by spaces (no tabs), each "
            "key once, and `key: value` with a space after the colon; mend that line."
        ) from error
    if not isinstance(content, dict):
        raise UserError(
            f"{path}: expected a YAML mapping of config blocks (run, source, ...), found something else. "
            "Begin each block at the start of a line with its name and a colon, as in the project's own config.yaml."
        )
    return content


def _fault(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    if isinstance(error, UnicodeDecodeError):
        return "it is no UTF-8 text"
    return "it is nested too deep" if isinstance(error, RecursionError) else " ".join(str(error).split())
