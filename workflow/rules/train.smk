"""Train a model on all folds but one (GPU).

INPUT   R/features/features.parquet, R/extract/stays.parquet, R/folds/folds.parquet
OUTPUT  R/models/<model>/seed_<s>/fold_<k>/: model.safetensors and model.json (the checkpoint),
        history.parquet, predictions.parquet
"""


def cohort_inputs(wildcards):
    """What a model is trained on and attacked with; `recorded` only where the features were filled by mistake."""
    features = f"{R}/features/features.parquet"
    inputs = {"features": features, "stays": f"{R}/extract/stays.parquet", "folds": f"{R}/folds/folds.parquet"}
    if MISTAKES_MADE.get(wildcards.model) == mistakes.LOOK_AHEAD_INTERPOLATION:
        return inputs | {"features": LOOK_AHEAD_FEATURES, "recorded": features}
    return inputs


def training_settings(wildcards):
    """The settings of a model; one with a mistake is trained as the right one."""
    model = mistakes.AUDITED if wildcards.model in MISTAKES_MADE else wildcards.model
    return models.settings_of(model, C["training"])


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
