"""Test what the paper claims, and see how far susceptibility agrees between models.

The models of the null cohort pass through the rules train, attack and susceptibility, with the first mode.

INPUT   R/models/<model>/metrics.parquet and predictions, R/susceptibility/<model>/<mode>/*, R/attacks/<model>/<mode>/*/outcomes and
        perturbations .parquet, the checkpoints, R/features/features.parquet, R/extract/*, R/folds/folds.parquet
OUTPUT  R/null_cohort/: measurements and features .parquet, the hours of each stay in random order
        R/susceptibility/: verdicts, stability and transfer .parquet
"""

ALL_FOLDS = {"model": MODELS, "seed": SEEDS, "fold": FOLDS}
ALL_ATTACKS = {"model": MODELS, "mode": MAPPED_MODES, "seed": SEEDS, "fold": FOLDS}
SUMMED = ("variables", "hours", "replicates")


rule null_cohort:
    input:
        stays=f"{R}/extract/stays.parquet",
        measurements=f"{R}/extract/measurements.parquet",
    output:
        features=f"{NULL_DIR}/features.parquet",
        measurements=f"{NULL_DIR}/measurements.parquet",
    log:
        f"{R}/logs/null_cohort.log",
    benchmark:
        f"{R}/benchmarks/null_cohort.tsv"
    conda:
        "../../envs/extract.yaml"
    threads: 1
    resources:
        mem_mb=growing(C["source"]["memory_mb"]),
        runtime=60,
    params:
        variables=VARIABLES,
        window=WINDOW,
        code=code(
            "null_cohort.py",
            files=[SQL_DIR / "common" / name for name in ("features.sql", "shuffled_measurements.sql")],
        ),
    message:
        "Putting the hours of each stay in random order, to compare with"
    script:
        "../../scripts/null_cohort.py"


rule verdicts:
    input:
        **{name: of_all_maps(f"{name}.parquet") for name in SUMMED},
        **{
            f"null_{name}": expand(
                f"{SUSCEPTIBILITY_DIR}/{name}.parquet", model=NULL_MODELS.values(), mode=MAPPED_MODES[0]
            )
            for name in SUMMED
        },
        stays=f"{R}/extract/stays.parquet",
        metrics=expand(f"{R}/models/{{model}}/metrics.parquet", model=MODELS),
        predictions=expand(f"{FOLD_DIR}/predictions.parquet", **ALL_FOLDS),
        outcomes=expand(f"{ATTACK_DIR}/outcomes.parquet", **ALL_ATTACKS),
    output:
        f"{R}/susceptibility/verdicts.parquet",
    log:
        f"{R}/logs/verdicts.log",
    benchmark:
        f"{R}/benchmarks/verdicts.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=60,
    params:
        variables=VARIABLES,
        window_hours=WINDOW_HOURS,
        resamples=C["susceptibility"]["bootstrap"],
        maps={"models": MODELS, "modes": MAPPED_MODES, "null_models": NULL_MODELS},
        code=code(
            "verdicts.py",
            files=[DATA_DIR / f"published_{what}.csv" for what in ("prediction_metrics", "susceptibility")],
        ),
    message:
        "Testing the claims of the paper"
    script:
        "../../scripts/verdicts.py"


rule stability:
    input:
        by_model=of_all_maps("by_model.parquet"),
        variables=of_all_maps("variables.parquet"),
        hours=of_all_maps("hours.parquet"),
    output:
        f"{R}/susceptibility/stability.parquet",
    log:
        f"{R}/logs/stability.log",
    benchmark:
        f"{R}/benchmarks/stability.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=30,
    params:
        code=code("stability.py"),
    message:
        "Comparing where changes flip between folds, seeds, models and attacks"
    script:
        "../../scripts/stability.py"


rule transfer:
    input:
        features=f"{R}/features/features.parquet",
        stays=f"{R}/extract/stays.parquet",
        folds=f"{R}/folds/folds.parquet",
        weights=expand(f"{FOLD_DIR}/model.safetensors", **ALL_FOLDS),
        sidecars=expand(f"{FOLD_DIR}/model.json", **ALL_FOLDS),
        outcomes=expand(f"{ATTACK_DIR}/outcomes.parquet", **ALL_ATTACKS),
        perturbations=expand(f"{ATTACK_DIR}/perturbations.parquet", **ALL_ATTACKS),
    output:
        f"{R}/susceptibility/transfer.parquet",
    log:
        f"{R}/logs/transfer.log",
    benchmark:
        f"{R}/benchmarks/transfer.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=120,
    params:
        variables=VARIABLES,
        window_hours=WINDOW_HOURS,
        resamples=C["susceptibility"]["bootstrap"],
        maps={
            "architectures": {model: ARCHITECTURES[model] for model in MODELS},
            "modes": {mode: MODE_NAMES[mode] for mode in MAPPED_MODES},
        },
        code=code("transfer.py", modules=[models.module_of(ARCHITECTURES[model]) for model in MODELS]),
    message:
        "Putting the changes that flip one model on the others"
    script:
        "../../scripts/transfer.py"
