"""Rule extract: choose the cohort and its measurements."""

from pathlib import Path

from ehr_attack.runtime import job

with job(snakemake):
    from ehr_attack.extraction import extract
    from ehr_attack.sources import SOURCES, load_shape
    from ehr_attack.sources.duck import memory_limit_gb
    from ehr_attack.variables import load_variables

    source, variables = snakemake.params.source, load_variables(**snakemake.params.variables)
    kind = snakemake.params.variables["kind"]
    extract(
        tables={view: [Path(path) for path in snakemake.input[view]] for view in snakemake.params.views},
        variables=variables,
        cohort=snakemake.params.cohort,
        **snakemake.params.window,
        source=source["kind"],
        source_info=source,
        sql_dir=SOURCES[kind].sql_dir,
        codes=load_shape(kind).codes,
        out_stays=Path(snakemake.output.stays),
        out_measurements=Path(snakemake.output.measurements),
        out_flow=Path(snakemake.output.flow),
        threads=snakemake.threads,
        memory_limit_gb=memory_limit_gb(snakemake.resources.mem_mb),
    )
