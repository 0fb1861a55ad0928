"""Rule plot_model: ROC, precision-recall, calibration and training curves of one model."""

from pathlib import Path

from ehr_attack.runtime import job

with job(snakemake):
    from ehr_attack.figures.models import plot_model

    plot_model(
        model=snakemake.wildcards.model,
        **dict(snakemake.input.items()),
        out_dir=Path(snakemake.output[0]).parent,
        **snakemake.params.plots,
    )
