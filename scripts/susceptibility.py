"""Rule susceptibility: population measures of one mode on one model."""

from ehr_attack.runtime import job

with job(snakemake):
    from ehr_attack.susceptibility import analyse_attacks
    from ehr_attack.variables import load_variables

    analyse_attacks(
        **dict(snakemake.input.items()),
        model=snakemake.wildcards.model,
        mode=snakemake.wildcards.mode,
        variable_names=[variable.name for variable in load_variables(**snakemake.params.variables)],
        window_hours=snakemake.params.window_hours,
        resamples=snakemake.params.resamples,
        out=dict(snakemake.output.items()),
    )
