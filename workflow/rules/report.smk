"""Write the report, one self-contained page.

INPUT   R/tables/*.csv, R/figures/*.{svg,png}, the checkpoints' descriptions (for the device they were trained on)
OUTPUT  R/report/index.html
"""

# The rules whose code the page tells a digest of; an edit of any of them makes the page anew anyway.
STAGES_TOLD = [
    *("stage", "extract", "audit", "features", "folds", *(["tune"] if TUNE else []), "train", "evaluate"),
    *("attack", "merge_attack", "susceptibility", *(["null_cohort"] if NULL_MODELS else [])),
    *("verdicts", "stability", "transfer", "tables"),
]


rule report:
    input:
        tables=expand(f"{R}/tables/{{stem}}.csv", stem=names.all_tables(MODELS, MAPPED_MODES)),
        mistakes=MISTAKE_TABLES + MISTAKE_FIGURES,
        figures=ALL_FIGURES,
        patients=PATIENT_FIGURES,
        checkpoints=expand(f"{FOLD_DIR}/model.json", model=MODELS, seed=SEEDS, fold=FOLDS),
    output:
        f"{R}/report/index.html",
    log:
        f"{R}/logs/report.log",
    benchmark:
        f"{R}/benchmarks/report.tsv"
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=10,
    params:
        config=C,
        digests=lambda wildcards: {
            "source": source_digests(),
            "code": {stage.replace("_", " "): stage_digest(stage) for stage in STAGES_TOLD},
        },
        code=code("report.py", files=sorted(TEMPLATE_DIR.glob("report*"))),
    message:
        "Writing the report, {output}"
    script:
        "../../scripts/report.py"
