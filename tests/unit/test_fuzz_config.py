"""Whatever a configuration holds, it ends in a valid config or in one line that names the file or the key."""

import copy
import math
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ehr_attack.config import load_config_file, validated_config
from ehr_attack.errors import UserError
from ehr_attack.paths import CONFIG_SCHEMA_FILE

PROJECT = Path(__file__).resolve().parents[2]
SHIPPED_TEXT = (PROJECT / "config.yaml").read_text(encoding="utf-8")
SHIPPED = yaml.safe_load(SHIPPED_TEXT)
ONE_FOLDER = [HealthCheck.function_scoped_fixture]


def outcome(read, *given_to) -> dict | str:
    """The config, or the message in place of it: one line that can be read and that begins with the file or the key."""
    try:
        return read(*given_to)
    except UserError as error:
        message = str(error)
        assert message.isprintable() and len(message) < 2000, message
        assert message.startswith(("config key ", "source.path: ", "the configuration: ", *map(str, given_to))), message
        return message


def of_text(folder: Path, content: str | bytes) -> dict | str:
    file = folder / "config.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return outcome(load_config_file, file)


# --- files that are no YAML, or more than that

MANY = "".join(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 20))
HOSTILE = {
    "many of many of many": (f"a0: &a0 [x]\n{MANY}", "an alias"),
    "a call": ('run: !!python/object/apply:os.system ["touch owned"]', "python/object/apply"),
    "an object": ("run: !!python/name:os.system", "python/name"),
    "a module": ("run: !!python/module:antigravity", "python/module"),
    "a key twice": ("run: {name: a}\nattack: {steps: 5}\nrun: {name: b}", "line 3: the key 'run' again"),
    "a key twice below": ("attack:\n  steps: 5\n  steps: 6", "line 3: the key 'steps' again"),
    "a list without end": ("run: {seeds: [" + "[" * 600, "nested too deep"),
    "a block without end": ("".join(f"{' ' * depth}a:\n" for depth in range(1000)), "nested too deep"),
    "a list in itself": ("run: {seeds: &x [*x]}", "an alias"),
    "a block in itself": ("run: &x {name: *x}", "an alias"),
    "thousands of digits": ("run: {seeds: [1" + "0" * 5000 + "]}", "line 1: a value that is no int"),
    "thousands of hexadecimal digits": ("attack: {steps: 0x" + "f" * 9000 + "}", r"attack\.steps: found inf"),
    "month 99": ("run:\n  name: 2001-99-99", "line 2: a value that is no timestamp"),
    "a tagged truth": ("attack: {prune: !!bool maybe}", "a value that is no bool"),
    "a tagged number": ("attack: {rate: !!float much}", "a value that is no float"),
    "a tagged nothing": ('run: {seeds: [!!int ""]}', "a value that is no int"),
    "a tagged time": ("run: {name: !!timestamp now}", "a value that is no timestamp"),
    "a list as a key": ("? [1, 2]\n: 3", "unhashable"),
    "a merge of a number": ("run: {<<: 5}", "expected a mapping"),
    "two documents": ("run: {}\n---\nrun: {}", "another document"),
    "a control sign": ("run: {name: a\x01}", "special characters"),
    "nothing": ("", "expected a YAML mapping"),
    "another encoding": ("run: {name: café}".encode("latin-1"), "UTF-8"),
    "no number": ("attack: {rate: .nan}", r"attack\.rate: found nan"),
    "an infinite number": ("attack: {rate: .inf}", r"attack\.rate: found inf"),
    "a number too large": ("attack: {rate: 1.0e+400}", r"attack\.rate: found inf"),
    "a whole number too large": ("run: {seeds: [9223372036854775808]}", r"run\.seeds: found 9223372036854775808"),
    "a name of two lines": ('run: {name: "a\\n"}', r"run\.name: .*control character"),
    "a model of two lines": ('training: {models: ["a:B\\n"]}', r"training\.models: .*control character"),
    "a name too long": (f"run: {{name: {'a' * 101}}}", r"run\.name: .*at most 100 characters"),
    "a path with a zero": ('source: {kind: mimic3, path: "a\\0b"}', r"source\.path: .*control character"),
    "half a sign": ('source: {kind: mimic3, path: "\\ud800"}', r"source\.path: .*control character"),
    "a key of two lines": ('run: {"na\\nme": a}', r"config key run\.'na\\nme': there is no such key"),
}


@pytest.mark.parametrize(("content", "words"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_ends_in_one_line_and_runs_nothing(tmp_path, monkeypatch, content, words):
    monkeypatch.chdir(tmp_path)
    message = of_text(tmp_path, content)
    assert isinstance(message, str) and re.search(words, message), message
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


SIGNS = [
    *"{}[]\"'#%@~-.1é\n\t\0",
    ": ",
    "- ",
    "\n  ",
    "&a ",
    "*a",
    "!!int ",
    "!!set ",
    "!!binary ",
    "? ",
    "| ",
    "> ",
    "<<",
]
SIGNS += ["run", "attack", "steps", "e9", "0x", "2001-02-31"]


@settings(derandomize=True, suppress_health_check=ONE_FOLDER)
@given(content=st.binary(max_size=40) | st.lists(st.sampled_from(SIGNS), max_size=25).map("".join))
def test_any_text_ends_in_a_config_or_one_line(tmp_path, content):
    of_text(tmp_path, content)


@settings(derandomize=True, max_examples=60, suppress_health_check=ONE_FOLDER)
@given(dice=st.randoms(use_true_random=False))
def test_the_shipped_file_with_a_few_signs_changed_ends_in_a_config_or_one_line(tmp_path, dice):
    of_text(tmp_path, mistyped(SHIPPED_TEXT, dice))


def mistyped(text: str, dice: random.Random) -> str:
    """`text` with up to three pieces cut out, doubled, or put in."""
    for _ in range(dice.randint(1, 3)):
        start = dice.randrange(len(text))
        end = start + dice.choice([1, 2, 10, 80])
        text = dice.choice(
            [
                text[:start] + text[end:],
                text[:end] + text[start:],
                text[:start] + dice.choice(SIGNS) + text[start:],
            ]
        )
    return text


# --- values that the schema does not allow

KINDS = {
    "null": st.none(),
    "boolean": st.booleans(),
    "integer": st.integers(-(2**70), 2**70) | st.sampled_from([-1, 0, 10**400]),
    "number": st.floats(),
    "string": st.text(max_size=6) | st.sampled_from(["1e3", "nan", "true", "\0", "\ud800", "a\n", "ista", "../x"]),
    "array": st.lists(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3), max_size=3),
    "object": st.dictionaries(st.text(max_size=4), st.none() | st.integers() | st.lists(st.none()), max_size=2),
}

PYTHON_KINDS = {
    "null": type(None), "boolean": bool, "integer": int, "number": float, "string": str, "array": list, "object": dict,
}  # fmt: skip


def leaves(part: dict, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict]]:
    """The keys of the schema that hold no other keys, with what it says of them."""
    for key, below in part["properties"].items():
        if below.get("type") == "object" and "properties" in below:
            yield from leaves(below, (*path, key))
        else:
            yield (*path, key), below


LEAVES = list(leaves(yaml.safe_load(CONFIG_SCHEMA_FILE.read_text(encoding="utf-8"))))


def with_value(path: tuple[str, ...], value: object) -> dict:
    config = copy.deepcopy(SHIPPED)
    block = config
    for key in path[:-1]:
        block = block[key]
    block[path[-1]] = value
    return config


def allows(part: dict, value: object) -> bool:  # noqa: PLR0911
    """Whether the schema means `value`: a slow reading of the words it uses, apart from jsonschema."""
    if "enum" in part:
        return any(value == choice and type(value) is type(choice) for choice in part["enum"])
    if "anyOf" in part:
        return any(allows(choice, value) for choice in part["anyOf"])
    types = part["type"] if isinstance(part["type"], list) else [part["type"]]
    kind = next(name for name, python in PYTHON_KINDS.items() if isinstance(value, python))
    if kind not in types and not (kind == "integer" and "number" in types):
        return False
    if kind in ("integer", "number"):
        low, high, above = (part.get(word) for word in ("minimum", "maximum", "exclusiveMinimum"))
        small = abs(value) < 2**63 if kind == "integer" else math.isfinite(value)
        return small and (low is None or value >= low) and (high is None or value <= high) and above != value
    if kind == "string":
        return value.isprintable() and len(value) >= part.get("minLength", 0)
    if kind == "array":
        counted = part.get("minItems", 0) <= len(value) <= part.get("maxItems", len(value))
        return counted and all(allows(part["items"], item) for item in value)
    return True


@settings(derandomize=True, max_examples=200)
@given(data=st.data())
def test_a_value_that_the_schema_does_not_mean_is_refused_by_the_name_of_its_key(data):
    path, part = data.draw(st.sampled_from(LEAVES))
    value = data.draw(KINDS[data.draw(st.sampled_from(list(KINDS)))])
    result = outcome(validated_config, with_value(path, value))
    if not allows(part, value):
        assert isinstance(result, str) and result.startswith(f"config key {'.'.join(path)}"), (path, value, result)


def test_every_key_of_numbers_refuses_what_is_none_and_what_lies_outside():
    """All bounds of the schema in turn, so that none depends on what hypothesis draws."""
    tried = 0
    for path, part in LEAVES:
        if part.get("type") in ("integer", "number"):
            outside = [math.nan, math.inf, -math.inf, 10**400, "1", True, [1], {}]
            outside += [part[word] - 1 for word in ("minimum", "exclusiveMinimum") if word in part]
            outside += [part["maximum"] + 1] if "maximum" in part else []
            outside += [part["exclusiveMinimum"]] if "exclusiveMinimum" in part else []
            for value in outside:
                with pytest.raises(UserError, match=f"^config key {re.escape('.'.join(path))}: found"):
                    validated_config(with_value(path, value))
                tried += 1
    assert tried > 200
