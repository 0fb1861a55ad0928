"""Describe the run for `ehr-attack screen` and `ehr-attack predict`, which apply its models to records.

INPUT   the config alone
OUTPUT  R/run.json: variables, window, models, seeds, folds, what an attack may change; no path, nothing of a patient
"""


rule describe_run:
    output:
        f"{R}/run.json",
    log:
        f"{R}/logs/describe_run.log",
    conda:
        "../../envs/extract.yaml"
    resources:
        mem_mb=500,
        runtime=5,
    params:
        config={name: block(name) for name in ("training", "features", "attack")}
        | {"run": block("run"), "source": {"profile": C["source"]["profile"]}},
        kind=TABLE_KIND,
        folds=len(FOLDS),
        modes=[MODE_NAMES[label] for label in MAPPED_MODES],
        code=code("describe_run.py"),
    message:
        "Describing the run for screening"
    script:
        "../../scripts/describe_run.py"
