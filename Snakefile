"""Where in a patient's record would a small error flip the model?

Entry point: checks config.yaml, includes one file a stage from workflow/rules, and asks for the report.
"""

import marshal
import sys
import time
from contextlib import suppress
from pathlib import Path

from snakemake.utils import min_version

min_version("9.0")

# As a module of another workflow, `workflow.basedir` is the folder of that one.
HERE = Path(workflow.current_basedir.get_path_or_uri(secret_free=True))
if not HERE.is_dir():
    sys.exit(
        "ehr-attack: its library lies beside its Snakefile, and Snakemake fetches only the latter from a git server. "
        'Clone the repository, and write `snakefile: "<folder of the clone>/Snakefile"`.'
    )
# The library beside this file, here and in every job: never one that happens to be installed.
LIBRARY = f"{HERE}/scripts"
sys.path.insert(0, LIBRARY)
# On a disk that was full Python may have kept compiled modules cut short, which it would trip over from then on.
for compiled in Path(LIBRARY).rglob(f"*.{sys.implementation.cache_tag}.pyc"):
    with suppress(OSError):
        try:
            marshal.loads(compiled.read_bytes()[16:])
        except (EOFError, TypeError, ValueError):
            compiled.unlink(missing_ok=True)

from ehr_attack import runtime
from ehr_attack.config_file import read_config_file
from ehr_attack.lineage.starter import be_starter

STARTED = time.time()
# Under `--directory`, a config.yaml there wins over the project's own. That of a workflow that uses this one as a module
# does not; Snakemake reads none where the module is given its `config:`.
IS_MODULE = HERE != Path(workflow.basedir)
CONFIG_DIR = HERE if IS_MODULE or not Path("config.yaml").exists() else "."

runtime.import_in_jobs(LIBRARY)
# On a cluster the Snakemake that runs on the node: the one that has submitted the jobs may go before they end.
if not workflow.subprocess_exec:
    be_starter()
runtime.set_verbosity(workflow.output_settings.verbose)
with runtime.clear_errors():
    # Snakemake itself writes to .snakemake, and reads the config below, in ways that end in tracebacks.
    runtime.check_writable(Path(".snakemake"))
    read_config_file(Path(CONFIG_DIR, "config.yaml"))
    for overlay in () if workflow.subprocess_exec else workflow.config_settings.configfiles:
        read_config_file(Path(overlay))


configfile: f"{CONFIG_DIR}/config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/source.smk"
include: "workflow/rules/extract.smk"
include: "workflow/rules/audit.smk"
include: "workflow/rules/features.smk"
include: "workflow/rules/folds.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/attack.smk"
include: "workflow/rules/susceptibility.smk"
include: "workflow/rules/verdicts.smk"
include: "workflow/rules/mistakes.smk"
include: "workflow/rules/plots.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/screening.smk"


rule all:
    default_target: True
    input:
        f"{R}/report/index.html",
        f"{R}/run.json",
    message:
        "All that was asked for is there. The report: {input[0]}"


onerror:
    runtime.show_failures(Path(R, "logs"), since=STARTED)
