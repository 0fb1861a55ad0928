"""Train a model on all folds but one (GPU).

INPUT   R/features/features.parquet, R/extract/stays.parquet, R/folds/folds.parquet
OUTPUT  R/models/<model>/seed_<s>/fold_<k>/: model.safetensors and model.json (the checkpoint),
        history.parquet, predictions.parquet
"""


rule train:
    input:
        unpack(cohort_inputs),
    output:
        weights=f"{FOLD_DIR}/model.safetensors",
        sidecar=f"{FOLD_DIR}/model.json",
        history=f"{FOLD_DIR}/history.parquet",
        predictions=f"{FOLD_DIR}/predictions.parquet",
    log:
        f"{R}/logs/train_{{model}}_seed_{{seed}}_fold_{{fold}}.log",
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=4000,
        runtime=240,
    params:
        variables=VARIABLES,
        window_hours=WINDOW_HOURS,
        imputation=C["features"]["imputation"],
        model=lambda wildcards: ARCHITECTURES[wildcards.model],
        mistake=lambda wildcards: MISTAKES_MADE.get(wildcards.model, ""),
        train=training_settings,
        code=lambda wildcards: code("train.py", modules=[models.module_of(ARCHITECTURES[wildcards.model])]),
    message:
        "Training {wildcards.model}, seed {wildcards.seed}, fold {wildcards.fold}"
    script:
        "../../scripts/train.py"
