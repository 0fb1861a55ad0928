"""Rule plot_agreement: how maps agree across folds, seeds, models and attacks, and whether changes transfer."""

from pathlib import Path

from ehr_attack.runtime import job

with job(snakemake):
    from ehr_attack.figures.agreement import plot_agreement

    plot_agreement(**dict(snakemake.input.items()), out_dir=Path(snakemake.output[0]).parent, **snakemake.params.plots)
