"""Rule plot_tuning: the hyperparameter search of one model."""

from pathlib import Path

from ehr_attack.runtime import job

with job(snakemake):
    from ehr_attack.figures.tuning import plot_tuning

    plot_tuning(
        model=snakemake.wildcards.model,
        trials=snakemake.input,
        out_dir=Path(snakemake.output[0]).parent,
        **snakemake.params.plots,
    )
