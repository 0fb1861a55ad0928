"""Make the synthetic source.

INPUT   nothing
OUTPUT  R/source/<TABLE>.csv.gz: MIMIC-III-shaped tables
"""

SOURCE_NAMES = [
    "ADMISSIONS",
    "PATIENTS",
    "ICUSTAYS",
    "CHARTEVENTS",
    "LABEVENTS",
    "D_ITEMS",
    "D_LABITEMS",
]


rule synthetic:
    output:
        expand(f"{R}/source/{{table}}.csv.gz", table=SOURCE_NAMES),
    log:
        f"{R}/logs/synthetic.log",
    conda:
        "../../envs/extract.yaml"
    resources:
        mem_mb=3000,
        runtime=30,
    params:
        synthetic=block("synthetic"),
        code=code("synthetic.py"),
    message:
        "Generating {params.synthetic[stays]} synthetic ICU stays"
    script:
        "../../scripts/synthetic.py"
