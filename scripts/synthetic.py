"""Rule synthetic: generate the tables, in the shape of MIMIC-III or MIMIC-IV."""

import os
from pathlib import Path

from ehr_attack.runtime import job

with job(snakemake):
    from ehr_attack.synthetic import generate

    generate(Path(os.path.commonpath(snakemake.output)), **snakemake.params.synthetic)
