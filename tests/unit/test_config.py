import copy

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ehr_attack.config import load_config_file, validated_config
from ehr_attack.errors import UserError


@pytest.fixture(scope="module")
def shipped(project_dir):
    return yaml.safe_load((project_dir / "config.yaml").read_text())


def changed(config, key, value):
    """A copy of `config` with dotted `key` set to `value`."""
    copied = copy.deepcopy(config)
    *blocks, last = key.split(".")
    part = copied
    for block in blocks:
        part = part.setdefault(block, {})
    part[last] = value
    return copied


def test_the_shipped_file_names_every_key_and_holds_the_defaults(shipped):
    from_defaults = validated_config({})
    assert validated_config(shipped) == from_defaults
    assert {block: set(keys) for block, keys in shipped.items()} == {
        block: set(keys) for block, keys in from_defaults.items()
    }


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("attack.stepz", 5, r"attack\.stepz: there is no such key; did you mean attack\.steps\?"),
        ("atack", {}, r"key atack: there is no such key; did you mean attack\?"),
        ("training.lr", "1e-3", r"training\.lr: found '1e-3' \(a text, not a number.*0\.001"),
        ("attack.steps", "100", r"attack\.steps: found '100'"),
        ("attack.steps", 100.0, r"attack\.steps: found 100\.0; expected a whole number"),
        ("attack.steps", True, r"attack\.steps: found True; expected a whole number"),
        ("attack.steps", 0, r"attack\.steps: found 0; expected a number of at least 1"),
        ("attack.lambdas.low", "0.1", r"attack\.lambdas\.low: found '0\.1'"),
        ("folds", 5, r"folds: found 5; expected a block of keys"),
        ("folds.count", 1, r"folds\.count: found 1; expected a number of at least 2"),
        ("run.name", "../elsewhere", r"run\.name"),
        ("run.seeds", [0, 0], r"run\.seeds: found \[0, 0\]; expected a list without repeats"),
        ("run.seeds", [], r"run\.seeds"),
        (
            "training.models",
            ["gru7"],
            r"training\.models: found 'gru7'; expected lstm, gru, .* or the import path of",
        ),
        ("synthetic.planted", {"variable": "ph"}, r"synthetic\.planted: .*; expected the keys variable and hours"),
        (
            "synthetic.planted",
            {"variable": "acid", "hours": [1, 2]},
            r"synthetic\.planted\.variable: 'acid' is none of",
        ),
        (
            "synthetic.planted",
            {"variable": "ph", "hours": [9, 2]},
            r"synthetic\.planted\.hours: \[9, 2\]; expected the",
        ),
        ("training.models", ["lstm", "my.models:LstmNull"], r"lstmNull is how lstm is called on the null cohort"),
        (
            "susceptibility.null_cohort",
            "some",
            r"susceptibility\.null_cohort: found 'some'; expected one of first, all",
        ),
        ("training.models", ["lstm", "my.models:LSTM"], r"'lstm' and 'my\.models:LSTM' would share the name LSTM"),
        ("training.overrides", {"gru": {"lr": "1e-3"}}, r"training\.overrides\.gru\.lr: found '1e-3' \(a text"),
        ("training.overrides", {"gru": {"lrr": 1.0}}, r"training\.overrides\.gru\.lrr: .* did you mean .*\.gru\.lr\?"),
        ("training.overrides", {"gruu": {}}, r"training\.overrides\.gruu: there is no such model; expected lstm, gru"),
        (
            "source.kind",
            "mimic9",
            r"source\.kind: found 'mimic9'; expected one of synthetic, mimic3, mimic4, physionet2012",
        ),
        ("source.kind", "mimic3", r"source\.path: source\.kind mimic3 needs the folder"),
        ("source.kind", "mimic4", r"source\.path: source\.kind mimic4 needs the folder"),
        ("synthetic.shape", "mimic2", r"synthetic\.shape: found 'mimic2'; expected one of mimic3, mimic4"),
        ("source.path", "somewhere", r"source\.path: source\.kind synthetic reads no folder"),
        ("source.database", "postgresql", r"source\.database: postgresql is for source\.kind mimic3.*found synthetic"),
        ("source.database", "sqlite", r"source\.database: found 'sqlite'; expected one of duckdb, postgresql"),
        ("source.schema", "mimiciii", r"source\.schema: for source\.database postgresql only"),
        ("source.schema", [], r"source\.schema: found \[\]; expected a list of at least 1"),
        ("source.profile", "all", r"source\.profile: all is for source\.kind physionet2012"),
        ("folds.method", "by_set", r"folds\.method: by_set needs a source of several sets"),
        ("folds.held_out_sets", "b", r"folds\.held_out_sets: found 'b'; expected a list or null"),
        ("attack.lambdas", {"low": 1.0, "high": 0.5}, r"attack\.lambdas\.low: 1\.0 is larger than"),
        ("attack.lambdas.count", 1, r"attack\.lambdas\.count: one lambda needs"),
        ("attack.mutable", ["sodium", "sodum"], r"attack\.mutable: 'sodum' is no variable"),
        ("attack.mutable_hours", [40, 60], r"attack\.mutable_hours: \[40, 60\]; expected the first and the last hour"),
        ("attack.modes", ["ista", "a.b:Ista"], r"attack\.modes: 'ista' would share the name ista"),
        ("attack.modes", ["last_hours"], r"attack\.modes: last_hours is a baseline and needs an attack to match"),
        (
            "attack.overrides",
            {"ista": {"lambdas": {"low": 0.1}}},
            r"attack\.overrides\.ista\.lambdas\.low: 0\.1 is larger",
        ),
        ("attack.overrides", {"ead": {"mutable": ["sodum"]}}, r"attack\.overrides\.ead\.mutable: 'sodum' is no"),
        ("attack.overrides", {"istas": {}}, r"attack\.overrides\.istas: there is no such mode; expected ista"),
        (
            "attack.mutable",
            "everything",
            r"attack\.mutable: found 'everything'; expected all, observed or a list",
        ),
        (
            "cohort.require_full_window",
            "yes",
            r"cohort\.require_full_window: found 'yes'; expected true or false",
        ),
    ],
)
def test_a_mistake_ends_in_one_line_that_names_the_key(shipped, key, value, message):
    with pytest.raises(UserError, match=message) as caught:
        validated_config(changed(shipped, key, value))
    assert "\n" not in str(caught.value)


def test_a_flip_that_counts_as_it_is_seen_is_not_looked_for_in_bfloat16(shipped):
    config = changed(changed(shipped, "attack.modes", ["ista", "sun2018"]), "attack.precision", "bfloat16")
    with pytest.raises(UserError, match=r"attack\.precision: bfloat16, but a flip of mode sun2018 counts as"):
        validated_config(config)
    validated_config(changed(config, "attack.overrides", {"sun2018": {"precision": "float32"}}))


def test_recorded_values_are_not_changed_where_they_were_filled_by_mistake(shipped):
    config = changed(changed(shipped, "audit.mistakes", ["look_ahead_interpolation"]), "features.imputation", "linear")
    validated_config(config)
    with pytest.raises(UserError, match=r"attack\.modes: measurement changes recorded values, which look_ahead"):
        validated_config(changed(config, "attack.modes", ["measurement", "ista"]))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("features.window_hours", 49, r"features\.window_hours: 49, but records of physionet2012 end at hour 48"),
        ("features.carry_in_hours", 1, r"features\.carry_in_hours: records of physionet2012 begin at hour 0"),
        ("cohort.min_icu_hours", 72, r"cohort\.min_icu_hours: 72, but .* lasted 48 hours"),
        ("source.profile", "reproduction2023", r"source\.profile: physionet2012 lacks"),
        ("source.path", None, r"source\.path: source\.kind physionet2012 needs the folder"),
        ("attack.mutable", ["calcium"], r"attack\.mutable: 'calcium' is no variable to change"),
    ],
)
def test_what_physionet2012_cannot_give_is_named(shipped, key, value, message):
    source = changed(changed(shipped, "source.kind", "physionet2012"), "source.path", "sets")
    validated_config(source)
    with pytest.raises(UserError, match=message):
        validated_config(changed(source, key, value))


def test_tables_in_a_server_need_no_folder_and_take_none(shipped):
    server = changed(changed(shipped, "source.kind", "mimic3"), "source.database", "postgresql")
    for schema in (None, "mimiciii", ["hosp", "icu"]):
        assert validated_config(changed(server, "source.schema", schema))["source"]["schema"] == schema
    with pytest.raises(UserError, match=r"source\.path: source\.database postgresql reads no folder"):
        validated_config(changed(server, "source.path", "tables"))


def test_source_path_is_expanded_from_the_environment(shipped, monkeypatch):
    monkeypatch.setenv("TABLES", "/data/mimic")
    config = changed(changed(shipped, "source.kind", "mimic3"), "source.path", "$TABLES/csv")
    assert validated_config(config)["source"]["path"] == "/data/mimic/csv"
    monkeypatch.delenv("TABLES")
    with pytest.raises(UserError, match=r"source\.path: the environment variable TABLES is not set"):
        validated_config(config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training.models": ["gru"]}, r"audit\.mistakes: they are made with model lstm; add it to training\.models"),
        ({"training.inputs": "values_mask"}, r"audit\.mistakes: they need training\.inputs values; found values_mask"),
        ({"features.window_hours": 72}, r"transposed_axis needs features\.window_hours of at most 48"),
        ({"features.imputation": "forward"}, r"look_ahead_interpolation needs features\.imputation linear"),
        (
            {"source.kind": "physionet2012", "source.path": "sets"},
            r"audit\.look_ahead_hours: the window and what follows it end at hour 60, but .* end at hour 48",
        ),
    ],
)
def test_mistakes_that_cannot_be_made_are_named(shipped, changes, message):
    made = ["transposed_axis", "look_ahead_interpolation"]
    config = changed(changed(shipped, "audit.mistakes", made), "features.imputation", "linear")
    validated_config(config)
    for key, value in changes.items():
        config = changed(config, key, value)
    with pytest.raises(UserError, match=message):
        validated_config(config)


def test_patient_examples_are_on_for_synthetic_records_only(shipped):
    assert validated_config(shipped)["report"]["patient_examples"] is True
    real = changed(changed(shipped, "source.kind", "mimic3"), "source.path", "x")
    assert validated_config(real)["report"]["patient_examples"] is False
    assert validated_config(changed(real, "report.patient_examples", True))["report"]["patient_examples"] is True


def test_every_preset_is_a_valid_overlay(project_dir, shipped, monkeypatch):
    monkeypatch.setenv("MIMIC3_DIR", "/data")
    monkeypatch.setenv("MIMIC4_DIR", "/data")
    monkeypatch.setenv("PHYSIONET2012_DIR", "/data")
    presets = sorted((project_dir / "workflow" / "presets").glob("*.yaml"))
    assert presets
    for preset in presets:
        config = copy.deepcopy(shipped)
        for block, keys in yaml.safe_load(preset.read_text()).items():
            config[block] |= keys
        assert validated_config(config) != validated_config(shipped)


def test_every_key_of_the_schema_is_described(project_dir):
    schema = yaml.safe_load((project_dir / "workflow/schemas/config.schema.yaml").read_text())

    def walk(part, path, required=False):
        if "properties" in part:
            assert part["type"] in ("object", ["object", "null"]) and part["additionalProperties"] is False, path
            for key, child in part["properties"].items():
                walk(child, f"{path}.{key}", key in part.get("required", []))
        else:
            assert part.get("description"), path
            assert "default" in part or required, path
            if part.get("type") == "object":
                assert part["additionalProperties"]["additionalProperties"] is False, path

    walk(schema, "")


def test_files_that_are_missing_or_not_yaml_are_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.yaml: the configuration cannot be read"):
        load_config_file(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("run: [unclosed")
    with pytest.raises(UserError, match=r"bad\.yaml: not valid YAML"):
        load_config_file(tmp_path / "bad.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(UserError, match=r"list\.yaml: expected a YAML mapping"):
        load_config_file(tmp_path / "list.yaml")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(block=st.sampled_from(["run", "source", "attack", "folds", "training"]), value=JSON)
def test_any_value_is_accepted_or_refused_with_a_message(block, value):
    try:
        config = validated_config({block: value})
    except UserError as error:
        assert str(error).startswith("config key ")
    else:
        assert set(config) >= {"run", "attack"}
