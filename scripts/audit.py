"""Rule audit: what the source's codes hold, and whether its tables are whole and sound."""

from pathlib import Path

from ehr_attack.runtime import job

with job(snakemake):
    from ehr_attack.audit import audit
    from ehr_attack.integrity import check_integrity
    from ehr_attack.sources.duck import memory_limit_gb
    from ehr_attack.variables import load_variables

    files, chosen, checks = snakemake.input, snakemake.params.variables, snakemake.params.checks
    kind, names = chosen["kind"], snakemake.params.tables
    tables = {view: [Path(path) for path in files[view]] for view in snakemake.params.views}
    counts = dict(zip(names, map(Path, files.counts), strict=True))
    dictionaries = dict(zip(snakemake.params.dictionaries, map(Path, files.dictionaries), strict=True))
    check_integrity(
        kind=kind,
        version=checks["version"],
        full_release=checks["full_release"],
        tables=tables,
        rows_files=counts,
        out=Path(snakemake.output.integrity),
        threads=snakemake.threads,
        memory_limit_gb=memory_limit_gb(snakemake.resources.mem_mb),
    )
    audit(
        kind=kind,
        tables=tables,
        dictionaries=dictionaries,
        variables=load_variables(**chosen),
        acknowledged=checks["acknowledged"],
        out=Path(snakemake.output.codes),
        threads=snakemake.threads,
        memory_limit_gb=memory_limit_gb(snakemake.resources.mem_mb),
    )
