"""The configuration: strict checks, defaults, and one line that names the key when something is wrong."""

import difflib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from ehr_attack import attacks
from ehr_attack.errors import UserError
from ehr_attack.mistakes import AUDITED, LOOK_AHEAD_INTERPOLATION, MOST_HOURS, TRANSPOSED_AXIS
from ehr_attack.models import MODELS, label_of
from ehr_attack.paths import CONFIG_SCHEMA_FILE
from ehr_attack.sources import table_kind
from ehr_attack.sources.physionet2012 import WINDOW_HOURS as RECORD_HOURS
from ehr_attack.variables import DEMOGRAPHIC, load_variables

_WITHOUT_FOLDER = ("synthetic",)
IN_SERVER = ("mimic3", "mimic4")
"""The values of `source.kind` whose tables may be in a PostgreSQL server."""

_TYPE_WORDS = {
    "object": "a block of keys",
    "array": "a list",
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}


def validated_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Check `config` (as read from YAML) and return it with every default filled in.

    `source.path` comes back with variables and `~` expanded; `report.patient_examples` as true or false. Raises
    UserError with one line for the first problem: unknown key, wrong type or value, impossible combination.
    """
    schema = yaml.safe_load(CONFIG_SCHEMA_FILE.read_text(encoding="utf-8"))
    errors = sorted(_validator(schema).iter_errors(_plain(config)), key=lambda error: list(map(str, error.path)))
    if errors:
        raise UserError(_describe(errors[0]))
    filled: dict[str, Any] = _with_defaults(_plain(config), schema)
    for problem in _impossible(filled):
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


def _impossible(config: Mapping[str, Any]) -> Iterator[str]:
    """Combinations of keys that are each valid but cannot work together, in words."""
    source = config["source"]
    if source["database"] == "postgresql":
        yield from _impossible_for_server(source)
    elif source["schema"] is not None:
        yield "config key source.schema: for source.database postgresql only; set it to null."
    elif source["kind"] in _WITHOUT_FOLDER and source["path"] is not None:
        yield f"config key source.path: source.kind {source['kind']} reads no folder; set source.path to null."
    elif source["kind"] not in _WITHOUT_FOLDER and source["path"] is None:
        yield f"config key source.path: source.kind {source['kind']} needs the folder of its tables; found null."
    yield from _impossible_for_source(config)
    yield from _impossible_for_audit(config)
    yield from _alike(config["training"]["models"])
    yield from _overrides_of_nothing(config["training"])
    yield from _impossible_search(config["training"])
    yield from _impossible_attack(config)


def _impossible_attack(config: Mapping[str, Any]) -> Iterator[str]:
    """Modes that share a name or lack what they need, overrides of none, and what one mode's settings ask in vain."""
    attack = config["attack"]
    labels = list(map(attacks.label_of, attack["modes"]))
    folded = [label.lower() for label in labels]
    for mode, label in zip(attack["modes"], folded, strict=True):
        if folded.count(label) > 1 or (":" in mode and label in attacks.MODES):
            yield (
                f"config key attack.modes: {mode!r} would share the name {attacks.label_of(mode)} in files and tables "
                "with another mode; rename the class."
            )
    if attacks.matched(attack["modes"]) is None:
        baselines = [name for name in labels if attacks.is_baseline(name)]
        yield (
            f"config key attack.modes: {baselines[0]} is a baseline and needs an attack to match; add one, for example "
            "ista."
        )
    known = dict.fromkeys([*labels, *attacks.MODES])
    for name in attack["overrides"]:
        if name not in known:
            yield f"config key attack.overrides.{name}: there is no such mode; expected {', '.join(known)}."
    yield from _impossible_mode(config, attack, "attack")
    for name in known:
        where = f"attack.overrides.{name}" if name in attack["overrides"] else "attack"
        settings = attacks.settings_of(name, attack)
        yield from _impossible_mode(config, settings, where)
        if settings["precision"] == "bfloat16" and name in labels and not attacks.entry_of(name).constrained:
            yield (
                f"config key {where}.precision: bfloat16, but a flip of mode {name} counts as the search sees it; use "
                f"float32 for it, with attack.overrides: {{{name}: {{precision: float32}}}}."
            )


def _impossible_mode(config: Mapping[str, Any], settings: Mapping[str, Any], where: str) -> Iterator[str]:
    """What cannot be in the settings of one mode, which stand at the key `where`."""
    lambdas, hours = settings["lambdas"], settings["mutable_hours"]
    if lambdas["low"] > lambdas["high"]:
        low, high = lambdas["low"], lambdas["high"]
        yield f"config key {where}.lambdas.low: {low} is larger than {where}.lambdas.high, {high}."
    if lambdas["count"] == 1 and lambdas["low"] != lambdas["high"]:
        yield f"config key {where}.lambdas.count: one lambda needs {where}.lambdas.low equal to {where}.lambdas.high."
    if lambdas["count"] > 1 and lambdas["low"] == lambdas["high"]:
        yield f"config key {where}.lambdas.count: several lambdas need {where}.lambdas.low below {where}.lambdas.high."
    if hours is not None and not hours[0] <= hours[1] < config["features"]["window_hours"]:
        last = config["features"]["window_hours"] - 1
        yield f"config key {where}.mutable_hours: {hours}; expected the first and the last hour, out of 0 to {last}."
    if not isinstance(settings["mutable"], str):
        known = load_variables(config["source"]["profile"], table_kind(config))
        names = [variable.name for variable in known if variable.group != DEMOGRAPHIC]
        for name in settings["mutable"]:
            if name not in names:
                yield f"config key {where}.mutable: {name!r} is no variable to change; expected {', '.join(names)}."


def _alike(models: Sequence[str]) -> Iterator[str]:
    """Models that would share their folders; some file systems do not tell capital letters apart."""
    by_label: dict[str, str] = {}
    for model in models:
        first = by_label.setdefault(label_of(model).lower(), model)
        if first != model:
            yield (
                f"config key training.models: {first!r} and {model!r} would share the name {label_of(model)} in files "
                "and tables; rename one of the classes."
            )


def _impossible_search(training: Mapping[str, Any]) -> Iterator[str]:
    """Bounds the wrong way round, and a search for nothing."""
    tuning = training["tuning"]
    for key in ("lr", "weight_decay"):
        if tuning[key] is not None and tuning[key][0] > tuning[key][1]:
            low, high = tuning[key]
            yield f"config key training.tuning.{key}: {low} is larger than {high}; expected the smaller bound first."
    if training["tune"] and all(value is None for key, value in tuning.items() if key != "trials"):
        yield "config key training.tune: true, but every key of training.tuning is null; name one to be searched."


def _overrides_of_nothing(training: Mapping[str, Any]) -> Iterator[str]:
    """Settings of a model that is none; those of the registry may be named without being trained, as in a preset."""
    known = dict.fromkeys([*map(label_of, training["models"]), *MODELS])
    for name in training["overrides"]:
        if name not in known:
            yield f"config key training.overrides.{name}: there is no such model; expected {', '.join(known)}."


def _impossible_for_server(source: Mapping[str, Any]) -> Iterator[str]:
    """What goes wrong with tables in a database server."""
    if source["kind"] not in IN_SERVER:
        yield (
            f"config key source.database: postgresql is for source.kind {' or '.join(IN_SERVER)}; found "
            f"{source['kind']}. Set source.database to duckdb."
        )
    if source["path"] is not None:
        yield (
            "config key source.path: source.database postgresql reads no folder; set source.path to null. The server's "
            "address comes from the environment variable EHR_ATTACK_DATABASE_URI."
        )


def _impossible_for_source(config: Mapping[str, Any]) -> Iterator[str]:
    """What the source cannot give."""
    kind, profile, folds = config["source"]["kind"], config["source"]["profile"], config["folds"]
    if kind != "physionet2012":
        if profile == "all":
            yield f"config key source.profile: all is for source.kind physionet2012; {kind} has clinical."
        if folds["method"] == "by_set":
            yield f"config key folds.method: by_set needs a source of several sets (physionet2012); {kind} has none."
        return
    if profile == "reproduction2023":
        yield "config key source.profile: physionet2012 lacks the variables of reproduction2023; use clinical or all."
    window, cohort = config["features"]["window_hours"], config["cohort"]
    if window > RECORD_HOURS:
        yield f"config key features.window_hours: {window}, but records of physionet2012 end at hour {RECORD_HOURS}."
    if config["features"]["carry_in_hours"] > 0:
        yield "config key features.carry_in_hours: records of physionet2012 begin at hour 0; set it to 0."
    if cohort["min_icu_hours"] > RECORD_HOURS:
        yield (
            f"config key cohort.min_icu_hours: {cohort['min_icu_hours']:g}, but physionet2012 only tells that every "
            f"stay lasted {RECORD_HOURS} hours; expected at most that."
        )


def _impossible_for_audit(config: Mapping[str, Any]) -> Iterator[str]:
    """Mistakes that cannot be made on purpose with the other keys as they are."""
    made, window = config["audit"]["mistakes"], config["features"]["window_hours"]
    first = next((mode for mode in config["attack"]["modes"] if not attacks.is_baseline(mode)), "ista")
    if LOOK_AHEAD_INTERPOLATION in made and attacks.needs_measurements(first):
        yield (
            f"config key attack.modes: {first} changes recorded values, which look_ahead_interpolation has filled; put "
            "a mode that changes cells, for example ista, first."
        )
    if made and AUDITED not in config["training"]["models"]:
        yield f"config key audit.mistakes: they are made with model {AUDITED}; add it to training.models."
    if made and config["training"]["inputs"] != "values":
        yield f"config key audit.mistakes: they need training.inputs values; found {config['training']['inputs']}."
    if TRANSPOSED_AXIS in made and window > MOST_HOURS:
        yield f"config key audit.mistakes: {TRANSPOSED_AXIS} needs features.window_hours of at most {MOST_HOURS}."
    if LOOK_AHEAD_INTERPOLATION in made:
        if config["features"]["imputation"] != "linear":
            yield (
                f"config key audit.mistakes: {LOOK_AHEAD_INTERPOLATION} needs features.imputation linear, so that the "
                "right run interpolates too, but inside the window."
            )
        last = window + config["audit"]["look_ahead_hours"]
        if config["source"]["kind"] == "physionet2012" and last > RECORD_HOURS:
            yield (
                f"config key audit.look_ahead_hours: the window and what follows it end at hour {last}, but records of "
                f"physionet2012 end at hour {RECORD_HOURS}; lower it or features.window_hours."
            )


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
