"""Read the source once (stage), then choose the cohort and its measurements in SQL (extract).

INPUT   the source's tables, CSV or CSV.gz
OUTPUT  R/extract/staged/<table>.parquet: the rows and columns needed
        R/extract/stays.parquet, measurements.parquet, cohort_flow.json: canonical tables
"""

STAGED_TABLES = ["admissions", "patients", "icustays", "chartevents", "labevents"]
SOURCE_SQL = SQL_DIR / "mimic3"
EXTRACT_SQL = [
    SOURCE_SQL / "candidates.sql",
    *(path for path in sorted((SQL_DIR / "common").glob("*.sql")) if path.stem != "features"),
]


rule stage:
    input:
        source_table,
    output:
        f"{R}/extract/staged/{{table}}.parquet",
    log:
        f"{R}/logs/stage_{{table}}.log",
    conda:
        "../../envs/extract.yaml"
    threads: 2
    resources:
        mem_mb=3000,
        runtime=120,
    params:
        profile=PROFILE,
        source=source_digest,
        code=lambda wildcards: code("stage.py", files=[SOURCE_SQL / f"{wildcards.table}.sql"]),
    message:
        "Reading table {wildcards.table}"
    script:
        "../../scripts/stage.py"


rule extract:
    input:
        **{table: f"{R}/extract/staged/{table}.parquet" for table in STAGED_TABLES},
    output:
        stays=f"{R}/extract/stays.parquet",
        measurements=f"{R}/extract/measurements.parquet",
        flow=f"{R}/extract/cohort_flow.json",
    log:
        f"{R}/logs/extract.log",
    conda:
        "../../envs/extract.yaml"
    threads: 2
    resources:
        mem_mb=3000,
        runtime=120,
    params:
        source=block("source", without=["path", "database", "schema"]),
        cohort=block("cohort"),
        window={key: C["features"][key] for key in ("window_hours", "carry_in_hours")},
        code=code("extract.py", files=EXTRACT_SQL),
    message:
        "Choosing the cohort and its measurements"
    script:
        "../../scripts/extract.py"
