"""Rule merge_attack: the shards of one fold together, with each stay's best attack marked."""

from ehr_attack.runtime import job

with job(snakemake):
    from ehr_attack.attacks.selection import merge_shards
    from ehr_attack.variables import load_variables

    merge_shards(
        **dict(snakemake.input.items()),
        n_cells=snakemake.params.window_hours * len(load_variables(**snakemake.params.variables)),
        weight=snakemake.params.weight,
        out_outcomes=snakemake.output.outcomes,
        out_perturbations=snakemake.output.perturbations,
        out_changes=snakemake.output.changes,
    )
