"""Write the tables for people, small numbers suppressed.

INPUT   R/extract/stays.parquet, cohort_flow.json, R/features/features.parquet, R/audit/*.parquet,
        R/models/<model>/{metrics,decisions,subgroups}.parquet, R/susceptibility/<model>/<mode>/*,
        R/susceptibility/{verdicts,stability,transfer}.parquet
OUTPUT  R/tables/*.csv
"""


rule tables:
    input:
        stays=f"{R}/extract/stays.parquet",
        flow=f"{R}/extract/cohort_flow.json",
        features=f"{R}/features/features.parquet",
        codes=f"{R}/audit/items.parquet",
        integrity=f"{R}/audit/integrity.parquet",
        metrics=expand(f"{R}/models/{{model}}/metrics.parquet", model=MODELS),
        decisions=expand(f"{R}/models/{{model}}/decisions.parquet", model=MODELS),
        subgroups=expand(f"{R}/models/{{model}}/subgroups.parquet", model=MODELS),
        summaries=of_all_maps("summary.parquet", MODES),
        cells=of_all_maps("cells.parquet"),
        variables=of_all_maps("variables.parquet"),
        hours=of_all_maps("hours.parquet"),
        tradeoff=of_all_maps("tradeoff.parquet"),
        verdicts=f"{R}/susceptibility/verdicts.parquet",
        stability=f"{R}/susceptibility/stability.parquet",
        transfer=f"{R}/susceptibility/transfer.parquet",
    output:
        [tabled(stem) for stem in names.all_tables(MODELS, MAPPED_MODES)],
    log:
        f"{R}/logs/tables.log",
    benchmark:
        f"{R}/benchmarks/tables.tsv"
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=30,
    params:
        variables=VARIABLES,
        maps=[[model, mode] for model in MODELS for mode in MAPPED_MODES],
        protocol=protocol_config(C),
        code=code("tables.py", files=[*sorted(DATA_DIR.glob("published_*.csv")), PROTOCOL_FILE]),
    message:
        "Writing the tables of the report"
    script:
        "../../scripts/tables.py"
