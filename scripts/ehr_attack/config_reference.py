"""`ehr-attack config`: the reference of config.yaml's keys, made from the schema that the config is checked against."""

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from ehr_attack.paths import CONFIG_SCHEMA_FILE

_HEAD = """# Keys of config.yaml

Made from [config.schema.yaml](../workflow/schemas/config.schema.yaml) by `make docs`; edit the descriptions there. A
key that is left out takes its default. What an edit makes run again is in the README, "Configuration".
"""
_COLUMNS = "| key | meaning | allowed | default |\n| --- | --- | --- | --- |"
_ONE = {"integer": "a whole number", "number": "a number", "string": "a text"}
_MANY = {"integer": "whole numbers", "number": "numbers", "string": "texts"}
_COUNTED = {2: "two", 3: "three", 4: "four"}

Schema = Mapping[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `ehr-attack config`: none of its own."""
    parser.epilog = """examples:
  ehr-attack config                     # every key of config.yaml: meaning, allowed values, default; as Markdown
  ehr-attack config | grep attack.steps
  ehr-attack config > docs/config.md    # what `make docs` does"""


def run(_: argparse.Namespace) -> None:
    """Print the reference."""
    print(config_reference(_schema()), end="")


def config_keys() -> list[str]:
    """The dotted name of every key of config.yaml, those of blocks inside a block too, in the schema's order."""
    blocks = _schema()["properties"].items()
    return [key for name, block in blocks for key, _ in _keys(name, block)]


def config_reference(schema: Schema) -> str:
    """A page of Markdown: one section a block of the config, one row a key, in the schema's order."""
    sections = [_section(name, block) for name, block in schema["properties"].items()]
    return "\n".join([_HEAD, *sections])


def _schema() -> Schema:
    schema: Schema = yaml.safe_load(CONFIG_SCHEMA_FILE.read_text(encoding="utf-8"))
    return schema


def _section(name: str, block: Schema) -> str:
    rows = [
        f"| `{key}` | {_text(part['description'])} | {allowed(part)} | {_default(part)} |"
        for key, part in _keys(name, block)
    ]
    return "\n".join([f"## {name}\n", f"{_text(block['description'])}\n", _COLUMNS, *rows, ""])


def _keys(name: str, block: Schema) -> Iterator[tuple[str, Schema]]:
    """Dotted names and schemas of the keys below a block, those of blocks inside it behind them."""
    for key, part in block["properties"].items():
        yield f"{name}.{key}", part
        if "properties" in part:
            yield from _keys(f"{name}.{key}", part)


def allowed(part: Schema) -> str:
    """The values that a key may have, in words; values that are named stand in code marks."""
    if "enum" in part:
        return ", ".join(_code(value) for value in part["enum"])
    if "anyOf" in part:
        return " or ".join(map(allowed, part["anyOf"]))
    if "pattern" in part and "description" in part and "default" not in part:
        return _text(part["description"])
    types = part["type"] if isinstance(part["type"], list) else [part["type"]]
    return " or ".join(_of_type(name, part) for name in types)


def _of_type(name: str, part: Schema) -> str:
    if name == "null":
        return "`null`"
    if name == "boolean":
        return "`true`, `false`"
    if name == "array":
        return _list(part)
    if name == "object":
        return _block(part)
    if "pattern" in part:
        return "a text of letters, digits, `.`, `_` and `-`, beginning with a letter or a digit"
    return _ONE[name] + _bounds(part)


def _list(part: Schema) -> str:
    items, least, most = part["items"], part.get("minItems", 0), part.get("maxItems")
    if "type" not in items:
        what = f" of {allowed(items)}"
    elif least == most:
        return f"{_COUNTED[least]} {_MANY[items['type']]}{_bounds(items)}"
    else:
        what = f" of {_MANY[items['type']]}{_bounds(items)}"
    return f"a list{what}{'' if least else ' (may be empty)'}"


def _block(part: Schema) -> str:
    if "properties" in part:
        return "a block of the keys below"
    each = part["additionalProperties"]["properties"]
    return f"a block for each name, of any of the keys {', '.join(f'`{key}`' for key in each)}"


def _bounds(part: Schema) -> str:
    least, above, most = part.get("minimum"), part.get("exclusiveMinimum"), part.get("maximum")
    if least is not None and most is not None:
        return f" from {least} to {most}"
    if above is not None:
        return f" greater than {above}"
    if least is not None:
        return f" of at least {least}"
    return "" if most is None else f" of at most {most}"


def _default(part: Schema) -> str:
    return _code(part["default"]) if "default" in part else ""


def _code(value: Any) -> str:
    """A value as it stands in a YAML file."""
    text = yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("\n").removesuffix("\n...")
    return f"`{text}`"


def _text(words: str) -> str:
    """A description in a cell of a table."""
    return " ".join(words.split()).replace("|", "\\|").replace("<", "\\<")
