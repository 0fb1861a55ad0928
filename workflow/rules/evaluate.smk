"""Measure a model on held-out patients.

INPUT   R/models/<model>/seed_<s>/fold_<k>/predictions.parquet of all seeds and folds, R/extract/stays.parquet
OUTPUT  R/models/<model>/: metrics and subgroups .parquet (with 95 % intervals over patients), curves.parquet,
        decisions.parquet (each fold's thresholds and recalibration, from its inner validation patients)
"""


rule evaluate:
    input:
        stays=f"{R}/extract/stays.parquet",
        predictions=lambda wildcards: expand(
            f"{FOLD_DIR}/predictions.parquet", model=wildcards.model, seed=SEEDS, fold=FOLDS
        ),
    output:
        metrics=f"{R}/models/{{model}}/metrics.parquet",
        subgroups=f"{R}/models/{{model}}/subgroups.parquet",
        decisions=f"{R}/models/{{model}}/decisions.parquet",
        curves=f"{R}/models/{{model}}/curves.parquet",
    log:
        f"{R}/logs/evaluate_{{model}}.log",
    benchmark:
        f"{R}/benchmarks/evaluate_{{model}}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=60,
    params:
        resamples=C["susceptibility"]["bootstrap"],
        code=code("evaluate.py"),
    message:
        "Measuring how well {wildcards.model} predicts death, on held-out patients"
    script:
        "../../scripts/evaluate.py"
