"""Rule attack: one shard of the held-out stays of one fold."""

from pathlib import Path

from ehr_attack.runtime import job

with job(snakemake):
    from ehr_attack.attacks.baselines import Budget
    from ehr_attack.attacks.fold import FoldAttack, Shard, write_attack
    from ehr_attack.checkpoint import load_checkpoint
    from ehr_attack.cohort_data import load_cohort
    from ehr_attack.variables import load_variables

    files, wildcards, params = snakemake.input, snakemake.wildcards, snakemake.params
    variables = load_variables(**params.variables)
    cohort = load_cohort(
        files.features,
        files.stays,
        files.folds,
        files.get("recorded"),
        variables=variables,
        window_hours=params.window_hours,
    )
    checkpoint = load_checkpoint(
        Path(files.weights),
        Path(files.sidecar),
        model_name=params.model,
        variables=variables,
        data=cohort.file_digests,
    )
    attack = FoldAttack(
        cohort=cohort,
        checkpoint=checkpoint,
        variables=variables,
        mode_name=params.mode,
        seed=int(wildcards.seed),
        fold=int(wildcards.fold),
        shard=Shard(int(wildcards.shard), params.attack["shards"]),
        settings=params.attack,
        measurements=Path(files.measurements) if files.get("measurements") else None,
        budget=Budget.read(files.budget, files.budget_cells) if files.get("budget") else None,
    )
    write_attack(attack, **dict(snakemake.output.items()))
