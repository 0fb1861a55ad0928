"""Measure where successful attacks concentrate.

INPUT   R/attacks/<model>/<mode>/seed_<s>/fold_<k>/{outcomes,perturbations}.parquet of all seeds and folds,
        R/features/features.parquet, R/extract/stays.parquet
OUTPUT  R/susceptibility/<model>/<mode>/: cells, variables, hours, by_model, replicates, tradeoff, curves and summary
        .parquet
"""


rule susceptibility:
    input:
        outcomes=of_all_attacks("outcomes.parquet"),
        perturbations=of_all_attacks("perturbations.parquet"),
        features=recorded_features,
        stays=f"{R}/extract/stays.parquet",
    output:
        cells=f"{SUSCEPTIBILITY_DIR}/cells.parquet",
        variables=f"{SUSCEPTIBILITY_DIR}/variables.parquet",
        hours=f"{SUSCEPTIBILITY_DIR}/hours.parquet",
        by_model=f"{SUSCEPTIBILITY_DIR}/by_model.parquet",
        replicates=f"{SUSCEPTIBILITY_DIR}/replicates.parquet",
        tradeoff=f"{SUSCEPTIBILITY_DIR}/tradeoff.parquet",
        curves=f"{SUSCEPTIBILITY_DIR}/curves.parquet",
        summary=f"{SUSCEPTIBILITY_DIR}/summary.parquet",
    log:
        f"{R}/logs/susceptibility_{{model}}_{{mode}}.log",
    benchmark:
        f"{R}/benchmarks/susceptibility_{{model}}_{{mode}}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=60,
    params:
        variables=VARIABLES,
        window_hours=WINDOW_HOURS,
        resamples=C["susceptibility"]["bootstrap"],
        code=code("susceptibility.py"),
    message:
        "Measuring in which variables and hours small changes flip {wildcards.model} (attack {wildcards.mode})"
    script:
        "../../scripts/susceptibility.py"
