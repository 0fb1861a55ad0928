"""Train a model on all folds but one (GPU), with hyperparameters that a search on these folds chose, where there is one.

INPUT   R/features/features.parquet, R/extract/stays.parquet, R/folds/folds.parquet
OUTPUT  R/models/<model>/seed_<s>/fold_<k>/: model.safetensors and model.json (the checkpoint),
        history.parquet, predictions.parquet; with training.tune: hyperparameters.json, trials.parquet
"""


rule tune:
    input:
        unpack(cohort_inputs),
    output:
        hyperparameters=f"{FOLD_DIR}/hyperparameters.json",
        trials=f"{FOLD_DIR}/trials.parquet",
    log:
        f"{R}/logs/tune_{{model}}_seed_{{seed}}_fold_{{fold}}.log",
    benchmark:
        f"{R}/benchmarks/tune_{{model}}_seed_{{seed}}_fold_{{fold}}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=growing(4000),
        runtime=1440,
    params:
        variables=VARIABLES,
        window_hours=WINDOW_HOURS,
        imputation=C["features"]["imputation"],
        model=lambda wildcards: ARCHITECTURES[wildcards.model],
        train=training_settings,
        code=lambda wildcards: code("tune.py", modules=[models.module_of(ARCHITECTURES[wildcards.model])]),
    message:
        "Searching good settings to train {wildcards.model} with, seed {wildcards.seed}, fold {wildcards.fold}"
    script:
        "../../scripts/tune.py"


rule train:
    input:
        unpack(cohort_inputs),
        unpack(chosen_hyperparameters),
    output:
        weights=f"{FOLD_DIR}/model.safetensors",
        sidecar=f"{FOLD_DIR}/model.json",
        history=f"{FOLD_DIR}/history.parquet",
        predictions=f"{FOLD_DIR}/predictions.parquet",
    log:
        f"{R}/logs/train_{{model}}_seed_{{seed}}_fold_{{fold}}.log",
    benchmark:
        f"{R}/benchmarks/train_{{model}}_seed_{{seed}}_fold_{{fold}}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=growing(4000),
        runtime=240,
    params:
        variables=VARIABLES,
        window_hours=WINDOW_HOURS,
        imputation=C["features"]["imputation"],
        model=lambda wildcards: ARCHITECTURES[wildcards.model],
        mistake=lambda wildcards: MISTAKES_MADE.get(wildcards.model, ""),
        # What the search tries reaches training through its result only.
        train=lambda wildcards: training_settings(wildcards, without=["tune", "tuning"]),
        code=lambda wildcards: code("train.py", modules=[models.module_of(ARCHITECTURES[wildcards.model])]),
    message:
        "Training {wildcards.model}, seed {wildcards.seed}, fold {wildcards.fold}"
    script:
        "../../scripts/train.py"
