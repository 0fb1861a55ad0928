"""The configuration: strict checks, defaults, and one line that names the key when something is wrong."""

import difflib
import itertools
import math
import os
import re
import sys
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from ehr_attack.config_conflicts import conflicts
from ehr_attack.config_file import read_config_file
from ehr_attack.errors import UserError
from ehr_attack.paths import CONFIG_SCHEMA_FILE

_TYPE_WORDS = {
    "object": "a block of keys",
    "array": "a list",
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}
# The same in a tenth of the time, where PyYAML has it: this is read at each start of Snakemake.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MOST_LEVELS, _MOST_VALUES = 50, 100_000
_LARGEST_WHOLE = 2**63 - 1
_LONGEST_SHOWN = 200


def validated_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Check `config` (as read from YAML) and return it with every default filled in.

    `source.path` comes back with variables and `~` expanded; `report.patient_examples` as true or false. Raises
    UserError with one line for the first problem: unknown key, wrong type or value, impossible combination.
    """
    schema = yaml.load(CONFIG_SCHEMA_FILE.read_text(encoding="utf-8"), Loader=_LOADER)
    _check_extent(config)
    errors = sorted(_validator(schema).iter_errors(_plain(config)), key=lambda error: list(map(str, error.path)))
    if errors:
        raise UserError(_describe(errors[0]))
    filled: dict[str, Any] = _with_defaults(_plain(config), schema)
    for problem in conflicts(filled):
        raise UserError(problem)
    if filled["source"]["path"] is not None:
        filled["source"]["path"] = expanded_path(filled["source"]["path"])
    if filled["report"]["patient_examples"] == "auto":
        filled["report"]["patient_examples"] = filled["source"]["kind"] == "synthetic"
    return filled


def expanded_path(path: str) -> str:
    """`path` with $VARIABLES and ~ replaced. Raises UserError for a variable that is not set."""
    expanded = os.path.expanduser(os.path.expandvars(path))
    missing = re.findall(r"\$\{?(\w+)", expanded)
    if missing:
        raise UserError(
            f"source.path: the environment variable {missing[0]} is not set; set it to the folder of the source's "
            f"tables (export {missing[0]}=/path/to/tables), or write the folder into source.path."
        )
    return expanded


def _check_extent(config: Mapping[str, Any]) -> None:
    """Refuse what is nested without end: YAML lets an alias stand for a list that holds itself, or many of many."""
    level: list[Any] = [config]
    seen = 0
    for _ in range(_MOST_LEVELS):
        seen += len(level)
        level = [] if seen > _MOST_VALUES else list(itertools.islice(_inside(level), _MOST_VALUES))
    if level or seen > _MOST_VALUES:
        raise UserError(
            f"the configuration: lists and blocks {_MOST_LEVELS} deep, or more than {_MOST_VALUES} values. Expected "
            "the keys of docs/config.md and no more; does an alias (*name) stand for what holds it?"
        )


def _inside(values: list[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, Mapping):
            yield from value.values()
        elif isinstance(value, list | tuple):
            yield from value


def _plain(value: Any) -> Any:
    """Ordinary dictionaries and lists, as JSON schema checks know them."""
    if isinstance(value, Mapping):
        return {_on_one_line(str(_plain(key))): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, int) and abs(value) > sys.float_info.max:
        return math.inf  # Python may refuse to write so many digits into a message
    return value


def _on_one_line(key: str) -> str:
    """A key as messages can show it; one that is changed by this is none of the schema's."""
    return key if key.isprintable() else repr(key)


def _validator(schema: dict[str, Any]) -> Any:
    """A validator that is stricter than JSON schema where the code that takes the values is.

    25.0 is no integer: YAML tells them apart, and so does the code that counts with them. Numbers are finite and of a
    size that tables hold, texts have no control characters, and a pattern is that of the whole text, its end too.
    """
    base = Draft202012Validator
    checker = base.TYPE_CHECKER.redefine_many({"integer": _is_whole, "number": _is_number, "string": _is_text})
    strict: Any = extend(base, {"pattern": _whole_pattern}, type_checker=checker)  # type: ignore[no-untyped-call]
    return strict(schema)


def _is_whole(_: Any, value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST_WHOLE


def _is_number(_: Any, value: Any) -> bool:
    return _is_whole(_, value) or (isinstance(value, float) and math.isfinite(value))


def _is_text(_: Any, value: Any) -> bool:
    return isinstance(value, str) and not any(unicodedata.category(sign) in ("Cc", "Cs") for sign in value)


def _whole_pattern(_: Any, pattern: str, instance: Any, __: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not re.fullmatch(pattern, instance):
        yield ValidationError("does not match")


def _with_defaults(value: Any, schema: Mapping[str, Any]) -> Any:
    if schema.get("type") != "object" or "properties" not in schema:
        return value
    return {
        key: _with_defaults(value.get(key, part.get("default", {})), part) for key, part in schema["properties"].items()
    }


def _describe(error: ValidationError) -> str:
    key = ".".join(str(part) for part in error.absolute_path if not isinstance(part, int)) or "the configuration"
    if error.validator == "additionalProperties":
        return _describe_unknown(error, key)
    return f"config key {key}: found {_shown(error.instance)}{_hint(error.instance)}; expected {_expectation(error)}."


def _describe_unknown(error: ValidationError, parent: str) -> str:
    schema: Any = error.schema
    instance: Any = error.instance
    known = list(schema["properties"])
    unknown = sorted(set(instance) - set(known))[0]
    prefix = "" if parent == "the configuration" else f"{parent}."
    close = difflib.get_close_matches(unknown, known, n=1)
    advice = f"did you mean {prefix}{close[0]}?" if close else f"known keys here: {', '.join(known)}."
    return f"config key {prefix}{unknown}: there is no such key; {advice}"


def _shown(value: Any) -> str:
    """The value as Python writes it, but for the end of a long one."""
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def _hint(value: Any) -> str:
    """What may not be seen at once of a value that is refused, in parentheses."""
    if isinstance(value, int | float) and not isinstance(value, bool) and not abs(value) <= _LARGEST_WHOLE:
        return " (not a number to compute with)"
    if not isinstance(value, str):
        return ""
    if not _is_text(None, value):
        return " (a text with a control character)"
    try:
        number = float(value)
    except ValueError:
        return ""
    return (
        f" (a text, not a number: YAML wants {number:.12g} without quotes and with a decimal point before an exponent; "
        "`--config` makes texts of numbers inside braces: write an overlay file for `--configfile`)"
    )


def _expectation(error: ValidationError) -> str:
    value: Any = error.validator_value
    described: dict[str, Callable[[], str]] = {
        "type": lambda: " or ".join(_TYPE_WORDS[name] for name in ([value] if isinstance(value, str) else value)),
        "enum": lambda: f"one of {', '.join(map(_yaml_word, value))}",
        "const": lambda: f"{_yaml_word(value)} (nothing else is possible in this version)",
        "minimum": lambda: f"a number of at least {value}",
        "maximum": lambda: f"a number of at most {value}",
        "exclusiveMinimum": lambda: f"a number greater than {value}",
        "minItems": lambda: f"a list of at least {value}",
        "maxItems": lambda: f"a list of at most {value}",
        "uniqueItems": lambda: "a list without repeats",
        "required": lambda: f"the keys {' and '.join(value)}",
        "pattern": lambda: "letters, digits, '.', '_' and '-', starting with a letter or digit",
        "maxLength": lambda: f"a text of at most {value} characters",
        "minLength": lambda: "a text that is not empty",
        "anyOf": lambda: " or ".join(map(_alternative, value)),
    }
    return described[str(error.validator)]()


def _alternative(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(map(_yaml_word, schema["enum"]))
    return str(schema["description"]) if "pattern" in schema else "a list of texts without repeats"


def _yaml_word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def load_config_file(path: Path) -> dict[str, Any]:
    """Read and check one YAML file; see `read_config_file` and `validated_config`."""
    return validated_config(read_config_file(path))
