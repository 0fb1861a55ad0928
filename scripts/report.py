"""Rule report: the page."""

from pathlib import Path

from ehr_attack.runtime import job

with job(snakemake):
    from ehr_attack import attacks
    from ehr_attack.models import label_of
    from ehr_attack.provenance import provenance
    from ehr_attack.report import build_report

    files, config = snakemake.input, snakemake.params.config
    build_report(
        out=snakemake.output[0],
        tables=Path(files.tables[0]).parent,
        figures=Path(files.figures[0]).parent,
        models=list(map(label_of, config["training"]["models"])),
        modes=[attacks.label_of(mode) for mode in config["attack"]["modes"] if not attacks.is_baseline(mode)],
        config=config,
        provenance=provenance(config, files.checkpoints, snakemake.params.digests),
        patient_figures=files.patients or None,
    )
