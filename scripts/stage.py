"""Rule stage: read one table of the source and keep what is needed of it."""

from pathlib import Path

from ehr_attack.runtime import job

with job(snakemake.log[0]):
    from ehr_attack.paths import SQL_DIR
    from ehr_attack.staging import stage_table
    from ehr_attack.variables import item_ids, load_variables

    table = snakemake.wildcards.table
    stage_table(
        table,
        Path(snakemake.input[0]),
        Path(snakemake.output[0]),
        item_ids(load_variables(snakemake.params.profile), table),
        sql_dir=SQL_DIR / "mimic3",
        threads=snakemake.threads,
    )
