"""Rule plot_attack: susceptibility maps, bars, lines and success curves of one mode on one model."""

from pathlib import Path

from ehr_attack.runtime import job

with job(snakemake):
    from ehr_attack.figures.susceptibility import plot_attack

    plot_attack(
        model=snakemake.wildcards.model,
        mode=snakemake.wildcards.mode,
        **dict(snakemake.input.items()),
        **snakemake.params.variables,
        published=True,
        out_dir=Path(snakemake.output[0]).parent,
        **snakemake.params.plots,
    )
