"""Rule extract: choose the cohort and its measurements."""

from pathlib import Path

from ehr_attack.runtime import job

with job(snakemake):
    from ehr_attack.extraction import extract
    from ehr_attack.sources.duck import memory_limit_gb
    from ehr_attack.variables import load_variables

    extract(
        kind=snakemake.params.variables["kind"],
        tables={view: [Path(path) for path in snakemake.input[view]] for view in snakemake.params.views},
        variables=load_variables(**snakemake.params.variables),
        cohort=snakemake.params.cohort,
        **snakemake.params.window,
        source=snakemake.params.source,
        out_stays=Path(snakemake.output.stays),
        out_measurements=Path(snakemake.output.measurements),
        out_flow=Path(snakemake.output.flow),
        threads=snakemake.threads,
        memory_limit_gb=memory_limit_gb(snakemake.resources.mem_mb),
    )
