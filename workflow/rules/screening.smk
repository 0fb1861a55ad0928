"""Describe the run for `ehr-attack screen` and `ehr-attack predict`, which apply its models to records.

INPUT   the config alone
OUTPUT  R/run.json: variables, window, models, seeds, folds, what an attack may change; no path, nothing of a patient
"""

from ehr_attack import screening

RUN_DESCRIPTION = {
    "run": C["run"]["name"],
    **VARIABLES,
    "window_hours": WINDOW_HOURS,
    "carry_in_hours": float(C["features"]["carry_in_hours"]),
    "imputation": C["features"]["imputation"],
    "models": C["training"]["models"],
    "seeds": SEEDS,
    "folds": len(FOLDS),
    # Those that change recorded values first: they stand nearest to what screening does.
    "modes": sorted(MAPPED_MODES, key=lambda label: not attacks.needs_measurements(MODE_NAMES[label])),
    "attack": {
        key: value
        for key, value in attacks.settings_of(screening.ATTACK, C["attack"]).items()
        if key in screening.ATTACK_KEYS
    },
    "levels": attacks.settings_of("single", C["attack"])["levels"],
}


rule describe_run:
    input:
        begin_plan,
    output:
        f"{R}/{screening.RUN_FILE}",
    log:
        f"{R}/logs/describe_run.log",
    benchmark:
        f"{R}/benchmarks/describe_run.tsv"
    conda:
        "../../envs/extract.yaml"
    threads: 1
    resources:
        mem_mb=growing(500),
        runtime=5,
    params:
        description=RUN_DESCRIPTION,
        code=code("describe_run.py"),
    message:
        "Describing the run, for screening with its models"
    script:
        "../../scripts/describe_run.py"
