"""Combinations of config keys that are each valid but cannot work together, each told in one line."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ehr_attack import attacks
from ehr_attack.mistakes import AUDITED, LOOK_AHEAD_INTERPOLATION, MOST_HOURS, TRANSPOSED_AXIS
from ehr_attack.models import MODELS, label_of
from ehr_attack.null_cohort import null_models
from ehr_attack.sources import table_kind
from ehr_attack.sources.physionet2012 import WINDOW_HOURS as RECORD_HOURS
from ehr_attack.variables import DEMOGRAPHIC, load_variables

_WITHOUT_FOLDER = ("synthetic",)
IN_SERVER = ("mimic3", "mimic4")
"""The values of `source.kind` whose tables may be in a PostgreSQL server."""


def conflicts(config: Mapping[str, Any]) -> Iterator[str]:
    """Combinations of keys that are each valid but cannot work together, in words."""
    source = config["source"]
    if source["database"] == "postgresql":
        yield from _for_server(source)
    elif source["schema"] is not None:
        yield "config key source.schema: for source.database postgresql only; set it to null."
    elif source["kind"] in _WITHOUT_FOLDER and source["path"] is not None:
        yield f"config key source.path: source.kind {source['kind']} reads no folder; set source.path to null."
    elif source["kind"] not in _WITHOUT_FOLDER and source["path"] is None:
        yield f"config key source.path: source.kind {source['kind']} needs the folder of its tables; found null."
    yield from _for_source(config)
    yield from _for_audit(config)
    yield from _alike(config["training"]["models"])
    yield from _overrides_of_nothing(config["training"])
    yield from _of_planted(config)
    yield from _of_null(config)
    yield from _of_search(config["training"])
    yield from _of_attacks(config)


def _of_attacks(config: Mapping[str, Any]) -> Iterator[str]:
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
    yield from _of_mode(config, attack, "attack")
    for name in known:
        where = f"attack.overrides.{name}" if name in attack["overrides"] else "attack"
        settings = attacks.settings_of(name, attack)
        yield from _of_mode(config, settings, where)
        if settings["precision"] == "bfloat16" and name in labels and not attacks.entry_of(name).constrained:
            yield (
                f"config key {where}.precision: bfloat16, but a flip of mode {name} counts as the search sees it; use "
                f"float32 for it, with attack.overrides: {{{name}: {{precision: float32}}}}."
            )


def _of_mode(config: Mapping[str, Any], settings: Mapping[str, Any], where: str) -> Iterator[str]:
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


def _of_planted(config: Mapping[str, Any]) -> Iterator[str]:
    """A planted truth that no synthetic record of this run can show."""
    planted = config["synthetic"]["planted"]
    if planted is None or config["source"]["kind"] != "synthetic":
        return
    names = [variable.name for variable in load_variables(config["source"]["profile"], table_kind(config))]
    if planted["variable"] not in names:
        yield (
            f"config key synthetic.planted.variable: {planted['variable']!r} is none of the run's variables, "
            f"{', '.join(names)}."
        )
    if planted["hours"][0] > planted["hours"][1]:
        yield f"config key synthetic.planted.hours: {planted['hours']}; expected the first and then the last hour."


def _of_null(config: Mapping[str, Any]) -> Iterator[str]:
    """A user's own model that is called as another one on the null cohort."""
    labels = list(map(label_of, config["training"]["models"]))
    for label, of_null in null_models(labels, config["susceptibility"]["null_cohort"]).items():
        if of_null.lower() in map(str.lower, labels):
            yield (
                f"config key training.models: {of_null} is how {label} is called on the null cohort; rename the class, "
                "or set susceptibility.null_cohort to none."
            )


def _of_search(training: Mapping[str, Any]) -> Iterator[str]:
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


def _for_server(source: Mapping[str, Any]) -> Iterator[str]:
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


def _for_source(config: Mapping[str, Any]) -> Iterator[str]:
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


def _for_audit(config: Mapping[str, Any]) -> Iterator[str]:
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
