"""Rule extract: choose the cohort and its measurements."""

from pathlib import Path

from ehr_attack.runtime import job

with job(snakemake.log[0]):
    from ehr_attack.extraction import extract
    from ehr_attack.paths import SQL_DIR
    from ehr_attack.variables import load_variables

    extract(
        tables={table: Path(path) for table, path in snakemake.input.items()},
        variables=load_variables(snakemake.params.source["profile"]),
        cohort=snakemake.params.cohort,
        **snakemake.params.window,
        source=snakemake.params.source["kind"],
        source_info=snakemake.params.source,
        sql_dir=SQL_DIR / "mimic3",
        out_stays=Path(snakemake.output.stays),
        out_measurements=Path(snakemake.output.measurements),
        out_flow=Path(snakemake.output.flow),
        threads=snakemake.threads,
    )
