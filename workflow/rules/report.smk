"""Write the report, one self-contained page.

INPUT   R/tables/*.csv, R/figures/*.{svg,png}, the checkpoints' descriptions (for the device they were trained on)
OUTPUT  R/report/index.html
"""


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
    conda:
        "../../envs/plot.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        config=C,
        code=code("report.py", files=sorted(TEMPLATE_DIR.iterdir())),
    message:
        "Writing {output}"
    script:
        "../../scripts/report.py"
