"""Rule verdicts: each claim of the paper, tested on the data at hand."""

from ehr_attack.runtime import job

with job(snakemake):
    from ehr_attack.variables import load_variables
    from ehr_attack.verdicts.table import write_verdicts

    files, params = snakemake.input, snakemake.params
    write_verdicts(
        {name: [paths] if isinstance(paths, str) else list(paths) for name, paths in files.items()},
        variables=load_variables(**params.variables),
        profile=params.variables["profile"],
        **params.maps,
        window_hours=params.window_hours,
        resamples=params.resamples,
        out=snakemake.output[0],
    )
