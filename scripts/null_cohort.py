"""Rule null_cohort: the records with the hours of each stay in random order."""

from pathlib import Path

from ehr_attack.runtime import job

with job(snakemake):
    from ehr_attack.null_cohort.shuffling import shuffle_cohort
    from ehr_attack.sources.duck import memory_limit_gb
    from ehr_attack.variables import load_variables

    shuffle_cohort(
        stays=Path(snakemake.input.stays),
        measurements=Path(snakemake.input.measurements),
        variable_names=[variable.name for variable in load_variables(**snakemake.params.variables)],
        **snakemake.params.window,
        out_measurements=Path(snakemake.output.measurements),
        out_features=Path(snakemake.output.features),
        memory_limit_gb=memory_limit_gb(snakemake.resources.mem_mb),
    )
