"""The configuration: strict checks, defaults, and one line that names the key when something is wrong."""

import difflib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from ehr_attack.config_conflicts import conflicts
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


def validated_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Check `config` (as read from YAML) and return it with every default filled in.

    `source.path` comes back with variables and `~` expanded; `report.patient_examples` as true or false. Raises
    UserError with one line for the first problem: unknown key, wrong type or value, impossible combination.
    """
    schema = yaml.load(CONFIG_SCHEMA_FILE.read_text(encoding="utf-8"), Loader=_LOADER)
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


def _plain(value: Any) -> Any:
    """Ordinary dictionaries and lists, as JSON schema checks know them."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _validator(schema: dict[str, Any]) -> Any:
    """A validator for which 25.0 is no integer: YAML tells them apart, and so does the code that counts with them."""
    base = Draft202012Validator
    checker = base.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    )
    strict: Any = extend(base, type_checker=checker)  # type: ignore[no-untyped-call]
    return strict(schema)


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
    found = f"found {error.instance!r}"
    if isinstance(error.instance, str):
        found += _hint_for_text(error.instance)
    return f"config key {key}: {found}; expected {_expectation(error)}."


def _describe_unknown(error: ValidationError, parent: str) -> str:
    schema: Any = error.schema
    instance: Any = error.instance
    known = list(schema["properties"])
    unknown = sorted(set(instance) - set(known))[0]
    prefix = "" if parent == "the configuration" else f"{parent}."
    close = difflib.get_close_matches(unknown, known, n=1)
    advice = f"did you mean {prefix}{close[0]}?" if close else f"known keys here: {', '.join(known)}."
    return f"config key {prefix}{unknown}: there is no such key; {advice}"


def _hint_for_text(text: str) -> str:
    try:
        number = float(text)
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


def read_config_file(path: Path) -> dict[str, Any]:
    """The content of one YAML file, unchecked. Raises UserError when it is missing or no YAML mapping."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"{path}: the configuration cannot be read ({error.strerror}). Expected a readable YAML file: the "
            "project's own config.yaml (restore it, or name another folder that has one with `snakemake --directory "
            "<folder>`), or a preset of workflow/presets."
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: not valid YAML ({_fault(error)}). Expected UTF-8 text, keys indented by spaces (no tabs), and "
            "`key: value` with a space after the colon; mend that line."
        ) from error
    if not isinstance(content, dict):
        raise UserError(
            f"{path}: expected a YAML mapping of config blocks (run, source, ...), found something else. "
            "Begin each block at the start of a line with its name and a colon, as in the project's own config.yaml."
        )
    return content


def _fault(error: yaml.YAMLError | UnicodeDecodeError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return "it is no UTF-8 text" if isinstance(error, UnicodeDecodeError) else " ".join(str(error).split())
