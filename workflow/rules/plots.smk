"""Draw the figures, each as SVG and PNG.

INPUT   R/extract/cohort_flow.json; R/models/<model>/{metrics,subgroups,curves}.parquet and every fold's
        history.parquet; R/susceptibility/<model>/<mode>/*, R/susceptibility/{stability,transfer}.parquet;
        for figures of single patients: R/attacks/<model>/<mode>/seed_<s>/fold_<k>/*, R/features/features.parquet
OUTPUT  R/figures/*.{svg,png}: aggregates; R/private/*.{svg,png}: single patients, readable by their owner only
"""

FORMATS = ["svg", "png"]
SHOWN = [
    *(stem for model in MODELS for stem in names.model_figures(model)),
    *(stem for model in MODELS for mode in MAPPED_MODES for stem in names.attack_figures(model, mode)),
    *(stem for model in MODELS for stem in (names.tuning_figures(model) if TUNE else [])),
    *names.COHORT_FIGURES,
    *names.AGREEMENT_FIGURES,
]
ALL_FIGURES = expand(f"{R}/figures/{{stem}}.{{format}}", stem=SHOWN, format=FORMATS)
PATIENT_FIGURES = (
    [
        f"{R}/private/{stem}.svg"
        for model in MODELS
        for mode in MAPPED_MODES
        for stem in names.patient_figures(model, mode)
    ]
    if C["report"]["patient_examples"]
    else []
)


rule plot_cohort:
    input:
        f"{R}/extract/cohort_flow.json",
    output:
        [drawn("figures", stem, category="Cohort", figure=stem) for stem in names.COHORT_FIGURES],
    log:
        f"{R}/logs/plot_cohort.log",
    benchmark:
        f"{R}/benchmarks/plot_cohort.tsv"
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=30,
    params:
        plots=block("plots"),
        code=code("plot_cohort.py"),
    message:
        "Drawing which stays were excluded, and why"
    script:
        "../../scripts/plot_cohort.py"


rule plot_model:
    input:
        metrics=f"{R}/models/{{model}}/metrics.parquet",
        subgroups=f"{R}/models/{{model}}/subgroups.parquet",
        curves=f"{R}/models/{{model}}/curves.parquet",
        histories=lambda wildcards: expand(f"{FOLD_DIR}/history.parquet", model=wildcards.model, seed=SEEDS, fold=FOLDS),
    output:
        [
            drawn("figures", stem, category="Model", figure=stem.partition("_")[0], model="{model}")
            for stem in names.model_figures("{model}")
        ],
    log:
        f"{R}/logs/plot_{{model}}.log",
    benchmark:
        f"{R}/benchmarks/plot_{{model}}.tsv"
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=30,
    params:
        plots=block("plots"),
        code=code("plot_model.py"),
    message:
        "Drawing how {wildcards.model} learnt and how well it predicts"
    script:
        "../../scripts/plot_model.py"


rule plot_tuning:
    input:
        lambda wildcards: expand(f"{FOLD_DIR}/trials.parquet", model=wildcards.model, seed=SEEDS, fold=FOLDS),
    output:
        [
            drawn("figures", stem, category="Model", figure="tuning", model="{model}")
            for stem in names.tuning_figures("{model}")
        ],
    log:
        f"{R}/logs/plot_tuning_{{model}}.log",
    benchmark:
        f"{R}/benchmarks/plot_tuning_{{model}}.tsv"
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=30,
    params:
        plots=block("plots"),
        code=code("plot_tuning.py"),
    message:
        "Drawing the hyperparameter search of {wildcards.model}"
    script:
        "../../scripts/plot_tuning.py"


rule plot_attack:
    input:
        unpack(null_profile),
        cells=f"{SUSCEPTIBILITY_DIR}/cells.parquet",
        variables=f"{SUSCEPTIBILITY_DIR}/variables.parquet",
        hours=f"{SUSCEPTIBILITY_DIR}/hours.parquet",
        curves=f"{SUSCEPTIBILITY_DIR}/curves.parquet",
        tradeoff=f"{SUSCEPTIBILITY_DIR}/tradeoff.parquet",
    output:
        [
            drawn(
                "figures",
                stem,
                category="Susceptibility",
                figure=stem.replace("_{model}_{mode}", ""),
                model="{model}",
                mode="{mode}",
            )
            for stem in names.attack_figures("{model}", "{mode}")
        ],
    log:
        f"{R}/logs/plot_{{model}}_{{mode}}.log",
    benchmark:
        f"{R}/benchmarks/plot_{{model}}_{{mode}}.tsv"
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=30,
    params:
        variables=VARIABLES,
        plots=block("plots"),
        code=code("plot_attack.py", files=[DATA_DIR / "published_susceptibility.csv"]),
    message:
        "Drawing where small changes flip {wildcards.model} (attack {wildcards.mode})"
    script:
        "../../scripts/plot_attack.py"


rule plot_agreement:
    input:
        stability=f"{R}/susceptibility/stability.parquet",
        transfer=f"{R}/susceptibility/transfer.parquet",
    output:
        [drawn("figures", stem, category="Agreement", figure=stem) for stem in names.AGREEMENT_FIGURES],
    log:
        f"{R}/logs/plot_agreement.log",
    benchmark:
        f"{R}/benchmarks/plot_agreement.tsv"
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=30,
    params:
        plots=block("plots"),
        code=code("plot_agreement.py"),
    message:
        "Drawing how models, seeds, folds and attacks agree"
    script:
        "../../scripts/plot_agreement.py"


rule plot_patients:
    input:
        outcomes=of_all_attacks("outcomes.parquet"),
        perturbations=of_all_attacks("perturbations.parquet"),
        features=f"{R}/features/features.parquet",
    output:
        [f"{R}/private/{stem}.{format}" for stem in names.patient_figures("{model}", "{mode}") for format in FORMATS],
    log:
        f"{R}/logs/plot_patients_{{model}}_{{mode}}.log",
    benchmark:
        f"{R}/benchmarks/plot_patients_{{model}}_{{mode}}.tsv"
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=30,
    params:
        variables=VARIABLES,
        plots=block("plots"),
        code=code("plot_patients.py"),
    message:
        "Drawing single patients for whom {wildcards.model} flips (attack {wildcards.mode})"
    script:
        "../../scripts/plot_patients.py"
