"""What all rules share: the checked config, paths, and the digests that decide what is stale."""

sys.path.insert(0, f"{workflow.basedir}/scripts")

from ehr_attack import attacks, models
from ehr_attack.config import validated_config
from ehr_attack.digests import code_digest, data_digest
from ehr_attack.errors import UserError
from ehr_attack.figures import names
from ehr_attack.paths import DATA_DIR, SQL_DIR, TEMPLATE_DIR, VARIABLES_FILE
from ehr_attack.sources import SOURCES, find_tables, held_out_sets, load_shape

try:
    C = validated_config(config)
    KIND = C["source"]["kind"]
    EXTERNAL_TABLES = {} if KIND == "synthetic" else find_tables(KIND, C["source"]["path"])
    BY_SET = C["folds"]["method"] == "by_set"
    HELD_OUT_SETS = held_out_sets(EXTERNAL_TABLES, C["folds"]["held_out_sets"]) if BY_SET else []
except UserError as error:
    sys.exit(f"ehr-attack: {error}")

R = f"results/{C['run']['name']}"
ENVS = f"{workflow.basedir}/envs"
SCRIPTS = Path(workflow.basedir) / "scripts"
SOURCE = SOURCES[KIND]
VARIABLES = {"profile": C["source"]["profile"], "kind": KIND}
WINDOW_HOURS = C["features"]["window_hours"]
SEEDS = C["run"]["seeds"]
FOLDS = range(len(HELD_OUT_SETS) if BY_SET else C["folds"]["count"])
MODELS = C["training"]["models"]
MODES = C["attack"]["modes"]
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
    if "scripts/ehr_attack/variables.py" in digest:
        digest = code_digest(SCRIPTS / script, modules, [*files, VARIABLES_FILE])
    return digest


def block(name, without=()):
    """A config block as a plain dict for `params`, less the keys that do not change the rule's results."""
    return {key: value for key, value in C[name].items() if key not in without}


def source_table(wildcards):
    """The file of a source table; `ancient` outside, where a digest in params tells whether it has changed."""
    if KIND == "synthetic":
        return f"{R}/source/{wildcards.table.upper()}.csv.gz"
    return ancient(str(EXTERNAL_TABLES[wildcards.table]))


def source_digest(wildcards):
    if KIND == "synthetic":
        return "made by rule synthetic"
    return data_digest(EXTERNAL_TABLES[wildcards.table])


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


def of_all_maps(file):
    """A susceptibility table of every model and mode."""
    return expand(f"{SUSCEPTIBILITY_DIR}/{file}", model=MODELS, mode=MODES)
