"""Make the synthetic source.

INPUT   nothing
OUTPUT  R/source/<TABLE>.csv.gz or <module>/<table>.csv.gz: tables in the shape of MIMIC-III or MIMIC-IV
"""

SYNTHETIC_SHAPE = C["synthetic"]["shape"]
SYNTHETIC_FILES = {
    table: f"{R}/source/{published_file(SYNTHETIC_SHAPE, table)}"
    for table in [*load_shape(SYNTHETIC_SHAPE).TABLES, *load_shape(SYNTHETIC_SHAPE).OPTIONAL_TABLES]
}


rule synthetic:
    input:
        begin_plan,
    output:
        list(SYNTHETIC_FILES.values()),
    log:
        f"{R}/logs/synthetic.log",
    benchmark:
        f"{R}/benchmarks/synthetic.tsv"
    conda:
        "../../envs/extract.yaml"
    threads: 1
    resources:
        mem_mb=growing(3000),
        runtime=30,
    params:
        synthetic=block("synthetic"),
        code=code("synthetic.py"),
    message:
        "Generating {params.synthetic[stays]} synthetic ICU stays"
    script:
        "../../scripts/synthetic.py"
