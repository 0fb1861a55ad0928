"""Rule stage: read one table of the source and keep what is needed of it."""

from pathlib import Path

from ehr_attack.runtime import job

with job(snakemake.log[0]):
    from ehr_attack.sources import load_staging
    from ehr_attack.variables import load_variables

    load_staging(snakemake.params.variables["kind"]).stage(
        snakemake.wildcards.table,
        Path(snakemake.input[0]),
        Path(snakemake.output[0]),
        load_variables(**snakemake.params.variables),
        threads=snakemake.threads,
    )
