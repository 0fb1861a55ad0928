"""Turn measurements into hourly means.

INPUT   R/extract/stays.parquet, measurements.parquet
OUTPUT  R/features/features.parquet: one row a stay and hour, one column a variable, NaN where nothing was recorded
"""


rule features:
    input:
        stays=f"{R}/extract/stays.parquet",
        measurements=f"{R}/extract/measurements.parquet",
    output:
        f"{R}/features/features.parquet",
    log:
        f"{R}/logs/features.log",
    benchmark:
        f"{R}/benchmarks/features.tsv"
    conda:
        "../../envs/extract.yaml"
    threads: 1
    resources:
        mem_mb=growing(C["source"]["memory_mb"]),
        runtime=60,
    params:
        variables=VARIABLES,
        window=WINDOW,
        code=code("features.py", files=[SQL_DIR / "common" / "features.sql"]),
    message:
        "Averaging the measurements of each hour"
    script:
        "../../scripts/features.py"
