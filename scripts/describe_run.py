"""Rule describe_run: what must be known of the run to apply its models to records."""

from pathlib import Path

from ehr_attack.runtime import job

with job(snakemake.log[0]):
    from ehr_attack.screening.description import RunDescription

    params = snakemake.params
    RunDescription.of(params.config, kind=params.kind, folds=params.folds, modes=params.modes).write(
        Path(snakemake.output[0])
    )
