"""Where in a patient's record would a small error flip the model?

Entry point: checks config.yaml, includes one file a stage from workflow/rules, and asks for the report.
"""

import sys
import time
from pathlib import Path

from snakemake.utils import min_version

min_version("9.0")

# The library beside this file, here and in every job: never one that happens to be installed.
LIBRARY = f"{workflow.basedir}/scripts"
sys.path.insert(0, LIBRARY)

from ehr_attack import runtime
from ehr_attack.config import read_config_file

STARTED = time.time()
# Under `--directory`, a config.yaml there wins over the project's own.
CONFIG_DIR = "." if Path("config.yaml").exists() else workflow.basedir

runtime.import_in_jobs(LIBRARY)
runtime.set_verbosity(workflow.output_settings.verbose)
with runtime.clear_errors():
    # Snakemake itself writes to .snakemake, and reads the config below, in ways that end in tracebacks.
    runtime.check_writable(Path(".snakemake"))
    read_config_file(Path(CONFIG_DIR, "config.yaml"))


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


onerror:
    runtime.show_failures(Path(R, "logs"), since=STARTED)
