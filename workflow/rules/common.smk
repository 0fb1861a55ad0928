"""What all rules share: the checked config, paths, and the digests that decide what is stale."""

sys.path.insert(0, f"{workflow.basedir}/scripts")

from ehr_attack import attacks, models
from ehr_attack.config import validated_config
from ehr_attack.digests import code_digest, data_digest
from ehr_attack.errors import UserError
from ehr_attack.figures import names
from ehr_attack.paths import DATA_DIR, SQL_DIR, TEMPLATE_DIR, VARIABLES_FILE
from ehr_attack.sources import find_tables

try:
    C = validated_config(config)
    if C["source"]["kind"] != "synthetic":
        EXTERNAL_TABLES = find_tables(Path(C["source"]["path"]))
except UserError as error:
    sys.exit(f"ehr-attack: {error}")

R = f"results/{C['run']['name']}"
ENVS = f"{workflow.basedir}/envs"
SCRIPTS = Path(workflow.basedir) / "scripts"
PROFILE = C["source"]["profile"]
WINDOW_HOURS = C["features"]["window_hours"]
SEEDS = C["run"]["seeds"]
FOLDS = range(C["folds"]["count"])
MODELS = C["training"]["models"]
MODES = C["attack"]["modes"]
SHARDS = range(C["attack"]["shards"])


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
