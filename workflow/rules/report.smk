"""Write the report, one self-contained page.

INPUT   R/tables/*.csv, R/figures/*.{svg,png}, the checkpoints' descriptions (for the device they were trained on)
OUTPUT  R/report/index.html
"""

import itertools
import types

# The rules whose code the page tells a digest of; an edit of any of them makes the page anew anyway.
STAGES_TOLD = [
    *("stage", "extract", "audit", "features", "folds", *(["tune"] if TUNE else []), "train", "evaluate"),
    *("attack", "merge_attack", "susceptibility", *(["null_cohort"] if NULL_MODELS else [])),
    *("verdicts", "stability", "transfer", "tables"),
]


def stage_digest(stage):
    """The digest that the rule `stage` itself goes by; over all tables, models and modes where it differs between these."""
    digest = getattr(rules, stage).params.code
    if not callable(digest):
        return digest
    labels = itertools.product(STAGED_TABLES, MODELS, MODES)
    parts = [digest(types.SimpleNamespace(table=t, model=m, mode=a)) for t, m, a in labels]
    return {file: found for part in parts for file, found in part.items()}


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
        "Writing {output}"
    script:
        "../../scripts/report.py"
