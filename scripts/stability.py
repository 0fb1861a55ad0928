"""Rule stability: agreement of susceptibility between folds, seeds, models and attacks."""

from ehr_attack.runtime import job

with job(snakemake):
    from ehr_attack.stability import write_stability

    write_stability(**{name: list(files) for name, files in snakemake.input.items()}, out=snakemake.output[0])
