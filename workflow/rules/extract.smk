"""Read the source once (stage), then choose the cohort and its measurements in SQL (extract).

INPUT   the source's tables: CSV or CSV.gz files, or the record files of a set
OUTPUT  R/extract/staged/<table>.parquet: the rows and columns needed
        R/extract/staged/<table>.rows.json: how many rows were read and kept
        R/extract/stays.parquet, measurements.parquet, cohort_flow.json: canonical tables
"""

DICTIONARIES = ["d_items", "d_labitems"]
STAGED_TABLES = sorted(EXTERNAL_TABLES or SYNTHETIC_FILES)
VIEWS = {}
for table in [name for name in STAGED_TABLES if name not in DICTIONARIES]:
    VIEWS.setdefault(load_shape(TABLE_KIND).views(table), []).append(f"{R}/extract/staged/{table}.parquet")
# What changes no extract: where the tables are (their digests tell what they hold), and what is checked of them.
SOURCE_PARAMS = block("source", without=["path", "database", "schema", "full_release", "acknowledged", "memory_mb"])
EXTRACT_SQL = [
    *(sql_file(SOURCE.sql_dir, name) for name in ("candidates", "checks", "placed")),
    *(
        path
        for path in sorted((SQL_DIR / "common").glob("*.sql"))
        if path.stem not in ("features", "item_audit", "shuffled_measurements")
    ),
]


rule stage:
    input:
        source_table,
    output:
        f"{R}/extract/staged/{{table}}.parquet",
        f"{R}/extract/staged/{{table}}.rows.json",
    log:
        f"{R}/logs/stage_{{table}}.log",
    benchmark:
        f"{R}/benchmarks/stage_{{table}}.tsv"
    wildcard_constraints:
        table="|".join(STAGED_TABLES),
    conda:
        "../../envs/extract.yaml"
    threads: 2
    resources:
        mem_mb=growing(C["source"]["memory_mb"]),
        runtime=120,
    params:
        variables=VARIABLES,
        source=source_digest,
        table=outside_table,
        # Files are counted while they are read; a server reads a table once more for it.
        count_rows=FROM_SERVER and C["source"]["full_release"],
        code=lambda wildcards: code(
            "stage.py",
            modules=[SERVER_STAGING if FROM_SERVER else SOURCE.staging, SOURCE.shape],
            files=[sql_file(SOURCE.sql_dir, load_shape(TABLE_KIND).views(wildcards.table))],
        ),
    message:
        "Reading the source table {wildcards.table}"
    script:
        "../../scripts/stage.py"


rule extract:
    input:
        **VIEWS,
    output:
        stays=f"{R}/extract/stays.parquet",
        measurements=f"{R}/extract/measurements.parquet",
        flow=f"{R}/extract/cohort_flow.json",
    log:
        f"{R}/logs/extract.log",
    benchmark:
        f"{R}/benchmarks/extract.tsv"
    conda:
        "../../envs/extract.yaml"
    threads: 2
    resources:
        mem_mb=growing(C["source"]["memory_mb"]),
        runtime=120,
    params:
        variables=VARIABLES,
        views=list(VIEWS),
        source=SOURCE_PARAMS,
        cohort=block("cohort"),
        window=WINDOW,
        code=code("extract.py", modules=[SOURCE.shape], files=EXTRACT_SQL),
    message:
        "Choosing the ICU stays of the cohort, and their measurements"
    script:
        "../../scripts/extract.py"
