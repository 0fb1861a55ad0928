"""Rule stage: read one table of the source and keep what is needed of it."""

from pathlib import Path

from ehr_attack.runtime import job

with job(snakemake):
    from ehr_attack.sources import load_server_staging, load_staging
    from ehr_attack.sources.duck import memory_limit_gb
    from ehr_attack.variables import load_variables

    kind, table, out = snakemake.params.variables["kind"], snakemake.wildcards.table, Path(snakemake.output[0])
    variables = load_variables(**snakemake.params.variables)
    limits = {"threads": snakemake.threads, "memory_limit_gb": memory_limit_gb(snakemake.resources.mem_mb)}
    file = snakemake.input[0] if snakemake.input else snakemake.params.table
    if file is not None:
        load_staging(kind).stage(table, Path(file), out, variables, **limits)
    else:
        schemas = snakemake.params.source["schemas"]
        counted = {"count_rows": snakemake.params.count_rows}
        load_server_staging().stage(kind, table, schemas, out, variables, **limits, **counted)
