"""Rule plot_patients: one example patient a direction, for the eyes of those who may see records."""

from pathlib import Path

from ehr_attack.runtime import job

with job(snakemake):
    from ehr_attack.figures.patient import plot_patient

    plot_patient(
        model=snakemake.wildcards.model,
        mode=snakemake.wildcards.mode,
        **dict(snakemake.input.items()),
        **snakemake.params.variables,
        out_dir=Path(snakemake.output[0]).parent,
        **snakemake.params.plots,
    )
