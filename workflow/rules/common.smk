"""What all rules share: the checked config, paths, and the digests that decide what is stale."""

import functools
import itertools
import types

from ehr_attack import announced, attacks, mistakes, models, null_cohort
from ehr_attack.config import validated_config
from ehr_attack.digests import code_digest, data_digest, digests_so_far
from ehr_attack.figures import names
from ehr_attack.paths import (
    DATA_DIR,
    KERNEL_FILES,
    RELATIONS_FILE,
    SQL_DIR,
    TEMPLATE_DIR,
    VARIABLES_FILE,
    VERSION_FILE,
    sql_file,
)
from ehr_attack.protocol import PROTOCOL_FILE, protocol_config
from ehr_attack.remembered import check_remembered
from ehr_attack.sources import SERVER_STAGING, SOURCES, find_tables, held_out_sets, load_shape, table_kind
from ehr_attack.sources.database_uri import URI_VARIABLE, database_uri
from ehr_attack.sources.published import published_file


@functools.cache
def table_digest(table):
    """Digest of a source table that is a file."""
    with runtime.clear_errors():
        return data_digest(EXTERNAL_TABLES[table])


with runtime.clear_errors():
    C = validated_config(config)
    KIND = C["source"]["kind"]
    FROM_SERVER = C["source"]["database"] == "postgresql"
    if FROM_SERVER:
        database_uri()
        # In a server, tables have no files; whether it has the optional ones is seen when they are read.
        EXTERNAL_TABLES = dict.fromkeys([*load_shape(KIND).TABLES, *load_shape(KIND).OPTIONAL_TABLES])
    else:
        EXTERNAL_TABLES = {} if KIND == "synthetic" else find_tables(KIND, C["source"]["path"])
    if workflow.is_main_process and not FROM_SERVER:
        # All at the start: a table that cannot be read is told at once, one that changes meanwhile is stale the next time.
        for name in sorted(EXTERNAL_TABLES):
            table_digest(name)
    BY_SET = C["folds"]["method"] == "by_set"
    HELD_OUT_SETS = held_out_sets(EXTERNAL_TABLES, C["folds"]["held_out_sets"]) if BY_SET else []
    R = f"results/{C['run']['name']}"
    runtime.check_folder(Path(R))
    if not workflow.is_main_process:
        announced.check_config(C)
    models.check_found(C["training"]["models"])
    attacks.check_found(C["attack"]["modes"])

READ_BY_MODULE = {
    "variables": [VARIABLES_FILE],
    "provenance": [VERSION_FILE],
    "attacks/feasibility": [RELATIONS_FILE],
    "attacks/gradients/fused": KERNEL_FILES,
}
SCRIPTS = Path(LIBRARY)
TABLE_KIND = table_kind(C)
SOURCE = SOURCES[TABLE_KIND]
VARIABLES = {"profile": C["source"]["profile"], "kind": TABLE_KIND}
WINDOW = {key: C["features"][key] for key in ("window_hours", "carry_in_hours")}
WINDOW_HOURS = WINDOW["window_hours"]
SEEDS = C["run"]["seeds"]
FOLDS = range(len(HELD_OUT_SETS) if BY_SET else C["folds"]["count"])
ARCHITECTURES = {models.label_of(model): model for model in C["training"]["models"]}
MODELS = list(ARCHITECTURES)
# Models in which a mistake is made on purpose: they pass through the same rules, but stand in the audit's table only.
VARIANTS = mistakes.variants(C["audit"]["mistakes"])
ARCHITECTURES |= {variant.label: variant.architecture for variant in VARIANTS}
MISTAKES_MADE = {variant.label: variant.mistake for variant in VARIANTS}
AUDITED_MODELS = {mistakes.AUDITED: "", **MISTAKES_MADE} if VARIANTS else {}
# The same pipeline on exchangeable hours, for the verdict on time preference only.
NULL_MODELS = null_cohort.null_models(MODELS, C["susceptibility"]["null_cohort"])
ARCHITECTURES |= {label: ARCHITECTURES[model] for model, label in NULL_MODELS.items()}
NULL_DIR = f"{R}/null_cohort"
LOOK_AHEAD_FEATURES = f"{R}/mistakes/look_ahead/features.parquet"
TUNE = C["training"]["tune"]
MODE_NAMES = {attacks.label_of(mode): mode for mode in C["attack"]["modes"]}
MODES = list(MODE_NAMES)
# Baselines stand beside the attack that they are matched to, in tables; they have no maps of their own.
MAPPED_MODES = [label for label, mode in MODE_NAMES.items() if not attacks.is_baseline(mode)]
MATCHED_MODE = attacks.label_of(attacks.matched(C["attack"]["modes"]))
SHARDS = range(C["attack"]["shards"])
SUSCEPTIBILITY_DIR = f"{R}/susceptibility/{{model}}/{{mode}}"
ATTACK_DIR = f"{R}/attacks/{{model}}/{{mode}}/seed_{{seed}}/fold_{{fold}}"
FOLD_DIR = f"{R}/models/{{model}}/seed_{{seed}}/fold_{{fold}}"


wildcard_constraints:
    table="[a-z_]+",
    model="[A-Za-z0-9]+",
    mode="[A-Za-z0-9_]+",
    seed=r"\d+",
    fold=r"\d+",
    shard=r"\d+",


def code(script, modules=(), files=()):
    """Digest of all that decides what a rule computes; an edit of any of it makes the rule's outputs stale."""
    digest = code_digest(SCRIPTS / script, modules, files)
    reached = [module for module in READ_BY_MODULE if f"scripts/ehr_attack/{module}.py" in digest]
    read = [file for module in reached for file in READ_BY_MODULE[module]]
    return code_digest(SCRIPTS / script, modules, [*files, *read])


def growing(mem_mb):
    """Memory of a job: as much more each time that it is tried again (`retries`, on clusters)."""
    return lambda wildcards, attempt: mem_mb * attempt


def block(name, without=()):
    """A config block as a plain dict for `params`, less the keys that do not change the rule's results."""
    return {key: value for key, value in C[name].items() if key not in without}


# Staging jobs need the address; it stays out of everything that is written. A workflow that uses this one as a module
# declares it itself, where its executor needs that: a declaration holds for all of its jobs, whatever they are.
if FROM_SERVER and not IS_MODULE:

    envvars:
        URI_VARIABLE,


onstart:
    with runtime.clear_errors():
        runtime.check_results_writable(Path(R))


def begin_plan(wildcards):
    """No input: what a plan begins with, once; see `_begin_plan`."""
    _begin_plan()
    return []


@functools.cache
def _begin_plan():
    """Check that the results are remembered, tell jobs what was planned, and keep the server's address to ourselves.

    Asked by the first rules of the pipeline for their inputs: by then Snakemake knows its options, and it asks as a
    module and without hooks too, but not where it plans nothing (--lint, --unlock, --dag, --report and the like).
    """
    if workflow.executor_plugin is None or not workflow.is_main_process:
        return
    if not workflow.dag_settings.forceall:
        with runtime.clear_errors():
            # As a module with a prefix, results do not lie at R.
            check_remembered(Path(rules.describe_run.output[0]).parent, Path(".snakemake"), is_made)
    if not workflow.dryrun:
        for stage in STAGES_TOLD:
            stage_digest(stage)
        announced.announce(C, digests_so_far())
    # Some executors (cluster-generic) would write the declared variables, with their values, into the job scripts.
    # There they are inherited, as by every job of the Slurm and local executors.
    if workflow.executor_plugin.common_settings.pass_envvar_declarations_to_cmd:
        workflow.envvars.discard(URI_VARIABLE)


def is_made(path):
    """Whether a rule makes the file `path` with the models, modes, seeds, folds and tables of the config as it is."""
    used = {
        "model": ARCHITECTURES,
        "mode": MODES,
        "seed": SEEDS,
        "fold": FOLDS,
        "shard": SHARDS,
        "table": STAGED_TABLES,
    }
    made = [rule.get_wildcards(path) for rule in workflow.rules if rule.is_producer(path)]
    return any(all(value in map(str, used[name]) for name, value in labels.items()) for labels in made)


def source_table(wildcards):
    """The file of a source table that rule synthetic makes; one from outside is no input, see `outside_table`."""
    _begin_plan()
    return SYNTHETIC_FILES[wildcards.table] if KIND == "synthetic" else []


def outside_table(wildcards):
    """Where a table of the source is. Snakemake compares no Path: tables may move, as their digest tells what they hold."""
    return None if FROM_SERVER or KIND == "synthetic" else Path(EXTERNAL_TABLES[wildcards.table])


def source_digest(wildcards):
    if FROM_SERVER:
        # A server has no modification time; the version stands in for it.
        schema = C["source"]["schema"]
        schemas = [schema] if isinstance(schema, str) else schema or []
        return {"database": C["source"]["database"], "schemas": schemas, "version": C["source"]["version"]}
    if KIND == "synthetic":
        return "made by rule synthetic"
    return table_digest(wildcards.table)


def of_all_attacks(file):
    """The merged attack tables of a model and mode, over seeds and folds."""
    return lambda wildcards: expand(
        f"{ATTACK_DIR}/{file}", model=wildcards.model, mode=wildcards.mode, seed=SEEDS, fold=FOLDS
    )


def drawn(folder, stem, **labels):
    """The SVG and PNG of a figure; the SVG also goes into Snakemake's own report."""
    captioned = report(
        f"{R}/{folder}/{stem}.svg",
        caption=f"../report/{stem.partition('_')[0]}.rst",
        category=labels.pop("category"),
        labels=labels,
    )
    return [captioned, f"{R}/{folder}/{stem}.png"]


# The tables that go into Snakemake's own report too.
CAPTIONED = [
    *("cohort_flow", "cohort", "missingness", "model_metrics", "published_comparison"),
    *("attack_summary", "verdicts", "rank_comparison", "paper_claims", "stability"),
]


def tabled(stem):
    """A table, with a caption where it has one."""
    path = f"{R}/tables/{stem}.csv"
    if stem not in CAPTIONED:
        return path
    return report(path, caption=f"../report/{stem}.rst", category="Tables", labels={"table": stem.replace("_", " ")})


def null_profile(wildcards):
    """The hours of the same attack on the model's null, where there is one."""
    if wildcards.mode != MAPPED_MODES[0] or wildcards.model not in NULL_MODELS:
        return {}
    folder = SUSCEPTIBILITY_DIR.format(model=NULL_MODELS[wildcards.model], mode=wildcards.mode)
    return {"null_hours": f"{folder}/hours.parquet"}


def source_digests():
    """What tells that the source's tables have changed, by table where they are files."""
    if FROM_SERVER or KIND == "synthetic":
        return {"tables": source_digest(None)}
    return {table: table_digest(table) for table in sorted(EXTERNAL_TABLES)}


def of_all_maps(file, modes=None):
    """A susceptibility table of every model and mode."""
    return expand(f"{SUSCEPTIBILITY_DIR}/{file}", model=MODELS, mode=modes or MAPPED_MODES)


def attack_inputs(wildcards):
    """What an attack needs beside the model: the recorded values, or for a baseline the attack to match."""
    inputs = cohort_inputs(wildcards)
    if attacks.needs_measurements(MODE_NAMES[wildcards.mode]):
        shuffled = wildcards.model in NULL_MODELS.values()
        inputs["measurements"] = f"{NULL_DIR if shuffled else f'{R}/extract'}/measurements.parquet"
    if attacks.is_baseline(MODE_NAMES[wildcards.mode]):
        folder = ATTACK_DIR.replace("{mode}", MATCHED_MODE)
        inputs |= {"budget": f"{folder}/outcomes.parquet", "budget_cells": f"{folder}/perturbations.parquet"}
    return inputs


def cohort_inputs(wildcards):
    """What a model is trained on and attacked with; `recorded` only where the features were filled by mistake."""
    shuffled = wildcards.model in NULL_MODELS.values()
    features = f"{NULL_DIR if shuffled else f'{R}/features'}/features.parquet"
    inputs = {"features": features, "stays": f"{R}/extract/stays.parquet", "folds": f"{R}/folds/folds.parquet"}
    if MISTAKES_MADE.get(wildcards.model) == mistakes.LOOK_AHEAD_INTERPOLATION:
        return inputs | {"features": LOOK_AHEAD_FEATURES, "recorded": features}
    return inputs


def recorded_features(wildcards):
    """The features as recorded, of the cohort that a model is attacked on."""
    inputs = cohort_inputs(wildcards)
    return inputs.get("recorded", inputs["features"])


def right_model(wildcards):
    """The model; of one with a mistake the one in which it is made, of one on the null cohort the same on the run's."""
    original = {label: model for model, label in NULL_MODELS.items()} | dict.fromkeys(MISTAKES_MADE, mistakes.AUDITED)
    return original.get(wildcards.model, wildcards.model)


def training_settings(wildcards, without=()):
    """The settings of a model less the keys of `without`; one with a mistake, or on the null cohort, is trained as the right one."""
    settings = models.settings_of(right_model(wildcards), C["training"])
    return {key: value for key, value in settings.items() if key not in without}


def chosen_hyperparameters(wildcards):
    """The result of the search, where there is one; that of the right model for one with a mistake, or on the null."""
    file = f"{FOLD_DIR}/hyperparameters.json"
    return {"hyperparameters": file.replace("{model}", right_model(wildcards))} if TUNE else {}


def of_audited(file):
    """A susceptibility table of the right model, of its control and of each model with a mistake."""
    return expand(f"{SUSCEPTIBILITY_DIR}/{file}", model=AUDITED_MODELS, mode=MAPPED_MODES[0])


@functools.cache
def stage_digest(stage):
    """The digest that the rule `stage` itself goes by; over all tables, models and modes where it differs between these."""
    digest = getattr(rules, stage).params.code
    if not callable(digest):
        return digest
    labels = itertools.product(STAGED_TABLES, MODELS, MODES)
    parts = [digest(types.SimpleNamespace(table=t, model=m, mode=a)) for t, m, a in labels]
    return {file: found for part in parts for file, found in part.items()}
