"""Split the patients into cross-validation folds, at random or by the source's sets.

INPUT   R/extract/stays.parquet
OUTPUT  R/folds/folds.parquet: the fold that holds out each stay; patients never straddle folds
"""


rule folds:
    input:
        f"{R}/extract/stays.parquet",
    output:
        f"{R}/folds/folds.parquet",
    log:
        f"{R}/logs/folds.log",
    benchmark:
        f"{R}/benchmarks/folds.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=10,
    params:
        folds={"held_out_sets": HELD_OUT_SETS} if BY_SET else {key: C["folds"][key] for key in ("count", "seed")},
        code=code("folds.py"),
    message:
        f"Splitting the patients into {len(FOLDS)} fold(s)"
    script:
        "../../scripts/folds.py"
