"""Rule train: one model on one fold."""

from pathlib import Path

from ehr_attack.runtime import job

with job(snakemake):
    from ehr_attack.cohort_data import load_cohort
    from ehr_attack.hyperparameters import load_chosen
    from ehr_attack.resuming import discard
    from ehr_attack.training import save_trained, train_fold
    from ehr_attack.variables import load_variables

    wildcards, params = snakemake.wildcards, snakemake.params
    variables, files = load_variables(**params.variables), dict(snakemake.input.items())
    tuned = load_chosen(files.pop("hyperparameters", None))
    # Not among the declared outputs, which Snakemake deletes when a job is killed.
    resume_folder = Path(snakemake.output.weights).parent / ".resume"
    trained = train_fold(
        cohort=load_cohort(**files, variables=variables, window_hours=params.window_hours),
        fold=int(wildcards.fold),
        model_name=params.model,
        seed=int(wildcards.seed),
        imputation=params.imputation,
        settings=params.train,
        code=params.code,
        tuned=tuned,
        resume_folder=resume_folder,
        label=wildcards.model,
        mistake=params.mistake,
    )
    save_trained(trained, variables, **dict(snakemake.output.items()))
    discard(resume_folder)
