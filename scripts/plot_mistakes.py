"""Rule plot_mistakes: susceptibility by hour, right and with each mistake."""

from pathlib import Path

from ehr_attack.runtime import job

with job(snakemake):
    from ehr_attack.figures.mistakes import plot_mistakes

    plot_mistakes(
        hours=list(snakemake.input),
        mistakes=snakemake.params.mistakes,
        out_dir=Path(snakemake.output[0]).parent,
        **snakemake.params.plots,
    )
