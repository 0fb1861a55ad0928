"""Rule describe_run: what must be known of the run to apply its models to records."""

from ehr_attack.runtime import job

with job(snakemake):
    from ehr_attack.screening import RUN_FILE_VERSION
    from ehr_attack.storage import write_json

    write_json({"version": RUN_FILE_VERSION} | snakemake.params.description, snakemake.output[0])
