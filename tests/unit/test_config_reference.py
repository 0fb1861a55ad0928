"""docs/config.md tells of every key what the schema says, and stays as the command makes it."""

import re

import pytest
import yaml

from ehr_attack.cli import main
from ehr_attack.config_reference import allowed
from ehr_attack.paths import CONFIG_SCHEMA_FILE, PROJECT_DIR

ROW = re.compile(r"^\| `([a-z_.0-9]+)` \| (.+?) \| (.+?) \| (?:`(.*)`)? ?\|$", flags=re.MULTILINE)


def rows() -> dict[str, tuple[str, str, str]]:
    """Meaning, allowed values and default (YAML; empty where there is none) of each key in the committed page."""
    return {key: told for key, *told in ROW.findall((PROJECT_DIR / "docs" / "config.md").read_text())}


def shipped(config: dict, prefix: str = "") -> dict[str, object]:
    """The values of config.yaml by dotted key, of blocks inside a block too."""
    found: dict[str, object] = {}
    for key, value in config.items():
        if isinstance(value, dict) and value:
            found |= shipped(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def test_the_committed_page_is_what_the_command_prints(capsys):
    assert main(["config"]) == 0
    assert capsys.readouterr().out == (PROJECT_DIR / "docs" / "config.md").read_text()


def test_every_key_of_the_shipped_config_is_there_with_its_value_as_the_default():
    config = yaml.safe_load((PROJECT_DIR / "config.yaml").read_text())
    told, values = rows(), shipped(config)
    assert len(values) > 50
    assert {key: yaml.safe_load(told[key][2]) for key in values} == values
    # Blocks inside a block, and the keys of one that is null as shipped.
    assert set(told) - set(values) == {
        *("attack.lambdas", "training.tuning", "synthetic.planted.variable", "synthetic.planted.hours")
    }


def test_what_is_allowed_is_told_in_words():
    told = {key: words for key, (_, words, _) in rows().items()}
    assert told["folds.count"] == "a whole number from 2 to 100"
    assert told["attack.rate"] == "a number greater than 0"
    assert told["source.schema"] == "a text or a list of texts or `null`"
    assert told["attack.mutable_hours"] == "two whole numbers of at least 0 or `null`"
    assert told["report.patient_examples"] == "`true`, `false`, `auto`"
    assert told["training.models"].endswith("or the import path of a torch module, package.module:Class")
    assert "`gru`" in told["training.models"]


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"type": "integer"}, "a whole number"),
        ({"type": "number", "maximum": 3}, "a number of at most 3"),
        ({"type": "boolean"}, "`true`, `false`"),
        ({"type": "array", "items": {"type": "string"}}, "a list of texts (may be empty)"),
        ({"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 1}, "a list of `a`, `b`"),
    ],
)
def test_a_schema_of_another_kind_is_told_too(part, words):
    assert allowed(part) == words


def test_every_block_is_described():
    blocks = yaml.safe_load(CONFIG_SCHEMA_FILE.read_text())["properties"]
    assert [name for name, block in blocks.items() if not block.get("description")] == []
