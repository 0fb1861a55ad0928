"""Make the main mistakes of earlier reproductions on purpose, one at a time, and say what each does.

Only with `audit.mistakes`. The models with a mistake pass through the rules train, evaluate, attack and susceptibility.

INPUT   the staged tables, R/models/<model>/metrics.parquet and R/susceptibility/<model>/<mode>/* of the right model, of
        its control and of each model with a mistake
OUTPUT  R/mistakes/look_ahead/: an extract of a longer window, and features that are filled from beyond the window
        R/tables/audit_of_mistakes.csv, R/figures/mistakes_hours.{svg,png}
"""

LOOK_AHEAD_HOURS = C["audit"]["look_ahead_hours"]
MISTAKE_TABLES = expand(f"{R}/tables/{{stem}}.csv", stem=names.MISTAKE_TABLES if VARIANTS else [])
MISTAKE_FIGURES = expand(
    f"{R}/figures/{{stem}}.{{format}}", stem=names.MISTAKE_FIGURES if VARIANTS else [], format=["svg", "png"]
)


rule look_ahead_extract:
    input:
        **VIEWS,
    output:
        stays=f"{R}/mistakes/look_ahead/stays.parquet",
        measurements=f"{R}/mistakes/look_ahead/measurements.parquet",
        flow=f"{R}/mistakes/look_ahead/cohort_flow.json",
    log:
        f"{R}/logs/look_ahead_extract.log",
    benchmark:
        f"{R}/benchmarks/look_ahead_extract.tsv"
    conda:
        "../../envs/extract.yaml"
    threads: 2
    resources:
        mem_mb=growing(C["source"]["memory_mb"]),
        runtime=120,
    params:
        variables=VARIABLES,
        views=list(VIEWS),
        source=SOURCE_PARAMS,
        # At least the stays of the run: two rules of the cohort depend on the window.
        cohort=block("cohort") | {"require_full_window": False, "first_stay_only": False},
        window=WINDOW | {"window_hours": WINDOW_HOURS + LOOK_AHEAD_HOURS},
        code=code("extract.py", modules=[SOURCE.shape], files=EXTRACT_SQL),
    message:
        "Extracting a longer window, to look ahead by mistake"
    script:
        "../../scripts/extract.py"


rule look_ahead_features:
    input:
        stays=f"{R}/extract/stays.parquet",
        longer_stays=f"{R}/mistakes/look_ahead/stays.parquet",
        longer_measurements=f"{R}/mistakes/look_ahead/measurements.parquet",
    output:
        LOOK_AHEAD_FEATURES,
    log:
        f"{R}/logs/look_ahead_features.log",
    benchmark:
        f"{R}/benchmarks/look_ahead_features.tsv"
    conda:
        "../../envs/extract.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=60,
    params:
        variables=VARIABLES,
        window=WINDOW | {"look_ahead_hours": LOOK_AHEAD_HOURS},
        code=code("look_ahead.py", files=[SQL_DIR / "common" / "features.sql"]),
    message:
        "Filling gaps from beyond the window, by mistake"
    script:
        "../../scripts/look_ahead.py"


rule audit_of_mistakes:
    input:
        metrics=expand(f"{R}/models/{{model}}/metrics.parquet", model=AUDITED_MODELS),
        summaries=of_audited("summary.parquet"),
        variables=of_audited("variables.parquet"),
        hours=of_audited("hours.parquet"),
    output:
        expand(f"{R}/tables/{{stem}}.csv", stem=names.MISTAKE_TABLES),
    log:
        f"{R}/logs/audit_of_mistakes.log",
    benchmark:
        f"{R}/benchmarks/audit_of_mistakes.tsv"
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=30,
    params:
        variables=VARIABLES,
        mistakes=list(AUDITED_MODELS.values()),
        code=code("mistakes.py", files=sorted(DATA_DIR.glob("published_*.csv"))),
    message:
        "Comparing each mistake with the right run"
    script:
        "../../scripts/mistakes.py"


rule plot_mistakes:
    input:
        of_audited("hours.parquet"),
    output:
        [drawn("figures", stem, category="Mistakes made on purpose", figure=stem) for stem in names.MISTAKE_FIGURES],
    log:
        f"{R}/logs/plot_mistakes.log",
    benchmark:
        f"{R}/benchmarks/plot_mistakes.tsv"
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=30,
    params:
        mistakes=list(AUDITED_MODELS.values()),
        plots=block("plots"),
        code=code("plot_mistakes.py"),
    message:
        "Drawing what each mistake does"
    script:
        "../../scripts/plot_mistakes.py"
