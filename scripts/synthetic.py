"""Rule synthetic: generate the MIMIC-III-shaped tables."""

from pathlib import Path

from ehr_attack.runtime import job

with job(snakemake.log[0]):
    from ehr_attack.synthetic import generate

    generate(Path(snakemake.output[0]).parent, **snakemake.params.synthetic)
