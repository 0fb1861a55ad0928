"""Rule plot_cohort: the figure of the cohort flow."""

from pathlib import Path

from ehr_attack.runtime import job

with job(snakemake):
    from ehr_attack.figures.flow import plot_flow

    plot_flow(flow=snakemake.input[0], out_dir=Path(snakemake.output[0]).parent, **snakemake.params.plots)
