"""Rule features: hourly means of every stay."""

from pathlib import Path

from ehr_attack.runtime import job

with job(snakemake):
    from ehr_attack.features import build_features
    from ehr_attack.sources.duck import memory_limit_gb
    from ehr_attack.variables import load_variables

    build_features(
        stays=Path(snakemake.input.stays),
        measurements=Path(snakemake.input.measurements),
        variable_names=[variable.name for variable in load_variables(**snakemake.params.variables)],
        **snakemake.params.window,
        out=Path(snakemake.output[0]),
        memory_limit_gb=memory_limit_gb(snakemake.resources.mem_mb),
    )
