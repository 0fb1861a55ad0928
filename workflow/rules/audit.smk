"""Say what the source's codes hold and whether its tables are whole and sound, as early as possible.

A source that fails its audit ends the run. What the audit says changes no other result than its tables, so that nothing
else may read its files: not even as `ancient`, since behind a stale job Snakemake asks no job that is reached by such
inputs alone whether it is stale itself.

INPUT   R/extract/staged/<table>.parquet and <table>.rows.json
OUTPUT  R/audit/items.parquet, integrity.parquet: exact numbers; the tables for people are made of them
"""

STAGED_DICTIONARIES = [table for table in STAGED_TABLES if table in DICTIONARIES]


rule audit:
    input:
        **VIEWS,
        counts=expand(f"{R}/extract/staged/{{table}}.rows.json", table=STAGED_TABLES),
        dictionaries=expand(f"{R}/extract/staged/{{table}}.parquet", table=STAGED_DICTIONARIES),
    output:
        codes=f"{R}/audit/items.parquet",
        integrity=f"{R}/audit/integrity.parquet",
    log:
        f"{R}/logs/audit.log",
    benchmark:
        f"{R}/benchmarks/audit.tsv"
    # Before all that could be computed from a source that fails.
    priority: 100
    conda:
        "../../envs/extract.yaml"
    threads: 2
    resources:
        mem_mb=growing(C["source"]["memory_mb"]),
        runtime=120,
    params:
        variables=VARIABLES,
        views=list(VIEWS),
        tables=STAGED_TABLES,
        dictionaries=STAGED_DICTIONARIES,
        checks={key: C["source"][key] for key in ("version", "full_release", "acknowledged")},
        code=code(
            "audit.py",
            modules=[SOURCE.shape],
            files=[
                sql_file(SOURCE.sql_dir, "audit"),
                sql_file(SOURCE.sql_dir, "integrity"),
                *sorted(SOURCE.sql_dir.glob("integrity_*.sql")),
                SQL_DIR / "common" / "item_audit.sql",
                SQL_DIR / "common" / "macros.sql",
                *(DATA_DIR / f"{stem}.csv" for stem in ("units", "item_checks", "items", "published_rows")),
            ],
        ),
    message:
        "Checking what each item id holds, and whether the tables are whole and sound"
    script:
        "../../scripts/audit.py"
