"""Rule look_ahead_features: features that look beyond the window, a mistake that the audit makes on purpose."""

from pathlib import Path

from ehr_attack.runtime import job

with job(snakemake):
    from ehr_attack.mistakes.look_ahead import look_ahead_features
    from ehr_attack.variables import load_variables

    look_ahead_features(
        **{name: Path(path) for name, path in snakemake.input.items()},
        variable_names=[variable.name for variable in load_variables(**snakemake.params.variables)],
        **snakemake.params.window,
        out=Path(snakemake.output[0]),
    )
