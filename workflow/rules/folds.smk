"""Split the patients into cross-validation folds.

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
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        folds=block("folds"),
        code=code("folds.py"),
    message:
        "Splitting patients into {params.folds[count]} folds"
    script:
        "../../scripts/folds.py"
