"""Rule tune: the hyperparameters of one model on one fold."""

from pathlib import Path

from ehr_attack.runtime import job

with job(snakemake):
    from ehr_attack.cohort_data import load_cohort
    from ehr_attack.tuning import save_tuned, tune_fold
    from ehr_attack.variables import load_variables

    wildcards, params = snakemake.wildcards, snakemake.params
    variables = load_variables(**params.variables)
    tuned = tune_fold(
        cohort=load_cohort(**dict(snakemake.input.items()), variables=variables, window_hours=params.window_hours),
        fold=int(wildcards.fold),
        model_name=params.model,
        seed=int(wildcards.seed),
        imputation=params.imputation,
        settings=params.train,
        code=params.code,
        # Not among the declared outputs, which Snakemake deletes when a job is killed.
        journal=Path(snakemake.output.trials).parent / "study.journal",
        label=wildcards.model,
    )
    save_tuned(tuned, **dict(snakemake.output.items()))
