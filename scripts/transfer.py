"""Rule transfer: the changes that flip one model, put on the others."""

from ehr_attack.runtime import job

with job(snakemake):
    from ehr_attack.cohort_data import load_cohort
    from ehr_attack.transfer import write_transfer
    from ehr_attack.variables import load_variables

    files, params = snakemake.input, snakemake.params
    variables = load_variables(**params.variables)
    write_transfer(
        **{name: list(files[name]) for name in ("weights", "sidecars", "outcomes", "perturbations")},
        cohort=load_cohort(
            files.features, files.stays, files.folds, variables=variables, window_hours=params.window_hours
        ),
        variables=variables,
        **params.maps,
        resamples=params.resamples,
        out=snakemake.output[0],
    )
