"""What was measured once, on real runs, because it is too long or too even to measure before every run.

Measured in November 2026 on 2 cores of an AMD EPYC: the synthetic cohort of config.yaml (2,224 stays after exclusions,
48 hours x 19 variables) and PhysioNet 2012 set A (4,000 stays, 18 variables), both with 5 folds, 120 attacked stays a
fold, 25 lambdas, 100 steps, modes ista and sun2018; growth on eight copies of the synthetic tables. `plan` says which
number is used for what.
"""

MB = 1_000_000

# Updates of a row (stay x lambda), averaged over all rows, when the search is given up after so many steps: rows that
# never leave zero cost nothing, rows that flip stop early. Then the share of rows still searching after 100 steps.
# A mode or a source that was not measured gets the larger numbers.
UPDATES_A_ROW = {
    "synthetic": ((0, 0.0), (1, 0.67), (10, 6.2), (20, 11.2), (50, 22.4), (100, 35.2)),
    "physionet2012": ((0, 0.0), (1, 0.97), (10, 6.2), (20, 9.3), (50, 14.7), (100, 19.8)),
}
UPDATES_SOURCE = "synthetic records: 35 of 100; PhysioNet 2012: 20 of 100"
STILL_SEARCHING = {"synthetic": 0.22, "physionet2012": 0.08}

# Changed cells of a row, averaged over all rows, as a share of hours x variables; bytes of a changed cell on disk
# (ista changes whole charted units, which compress well).
CHANGED_SHARE = {"ista": 0.032, "sun2018": 0.085}
CHANGE_BYTES = {"ista": 2.2, "sun2018": 14.5}
OTHER_MODE = "sun2018"

OUTCOME_BYTES, PREDICTION_BYTES, HISTORY_BYTES, FOLD_BYTES, TRIAL_BYTES = 35.0, 12.0, 30.0, 3.0, 4_000.0
EVALUATION_FILES = 6
FILE_BYTES, OUTCOMES_FILE_BYTES, DESCRIPTION_BYTES = 2_000, 6_000, 4_000
"""Header and footer of a Parquet file (outcomes have many columns); model.json."""

# Files for people, whose size hardly depends on the cohort: tables, maps, report, figures at 150 dpi. Pairs: where no
# attack succeeds and maps are empty, and where nearly all succeed.
TABLES_BYTES, TABLES_BYTES_A_MODE, MAPS_BYTES = 0.03 * MB, 0.3 * MB, (0.06 * MB, 0.6 * MB)
REPLICATE_BYTES = 2_300.0  # of a resample, where nearly all succeed
AGREEMENT_FIGURES_BYTES = 0.1 * MB
MISTAKE_FIGURES_BYTES, TUNING_FIGURES_BYTES = 0.15 * MB, 0.15 * MB
COHORT_FIGURES_BYTES, MODEL_FIGURES_BYTES, REPORT_BYTES = 0.09 * MB, 0.37 * MB, (0.6 * MB, 4.0 * MB)
ATTACK_FIGURES_BYTES, PATIENT_FIGURES_BYTES = (0.4 * MB, 1.5 * MB), (0.1 * MB, 0.7 * MB)
REPORT_BYTES_A_MODE = (0.5 * MB, 1.2 * MB)

# Memory of a job: what its libraries take, and bytes for each cell (stay x hour x variable) of the cohort and for each
# changed cell of the perturbations.
SNAKEMAKE_MEMORY, LIGHT_MEMORY = 350 * MB, 230 * MB
TRAIN_MEMORY, ATTACK_MEMORY = 510 * MB, 490 * MB
LOAD_BYTES_A_CELL = 15.0
PREPARE_BYTES_A_CELL = {"forward": 35.0, "linear": 100.0}
MERGE_BYTES_A_CHANGE, SUSCEPTIBILITY_BYTES_A_CHANGE = 210.0, 140.0
SUSCEPTIBILITY_MEMORY, BYTES_A_STAY_AND_RESAMPLE = 360 * MB, 31.0
"""Changes are streamed there; each attacked stay has a weight in every resample (make bench-susceptibility)."""

DUCKDB_MEMORY, SORT_BYTES_A_ROW, GROUP_BYTES_A_ROW = 260 * MB, 120.0, 205.0
"""DuckDB sorts what a table keeps, and the audit groups the rows of all of them (205 bytes each of 2.5 million staged
rows); what is beyond the limit of `source.memory_mb` goes to a temporary folder beside the results."""

# Seconds of a job besides its work, as a multiple of what it takes to start a process that can compute with torch.
STARTS = {
    "synthetic": 0.2, "stage": 0.17, "audit": 0.2, "extract": 0.2, "features": 0.2, "folds": 0.5, "train": 1.2,
    "evaluate": 0.45, "attack": 1.1, "merge_attack": 0.22, "susceptibility": 0.22, "plot_cohort": 0.35,
    "plot_model": 0.6, "plot_attack": 0.9, "plot_patients": 0.45, "tables": 0.25, "report": 0.25,
    "tune": 1.4, "plot_tuning": 0.5, "look_ahead_extract": 0.2, "look_ahead_features": 0.2, "audit_of_mistakes": 0.25,
    "plot_mistakes": 0.5, "null_cohort": 0.2, "verdicts": 0.3, "stability": 0.25, "transfer": 1.1,
    "plot_agreement": 0.5, "describe_run": 0.15,
}  # fmt: skip

LOAD_SECONDS_A_CELL = 3.0e-7
EVALUATE_SECONDS_A_GROUP, EVALUATE_SECONDS_A_STAY = 2.2e-3, 0.56e-6
MERGE_SECONDS_A_CHANGE, SUSCEPTIBILITY_SECONDS_A_CHANGE, RESAMPLE_SECONDS_A_CELL = 1.3e-6, 1.5e-6, 2.2e-5

TRANSFER_SECONDS_A_PAIR = 0.1
"""Seconds to put the changes of one model, mode and fold on another model."""

CUDA_CONTEXT_BYTES = 600 * MB
"""What a process takes on a GPU before it computes anything."""
COPIES_OF_ACTIVATIONS = 1.5
"""Memory of a forward and backward pass, over the bytes that autograd keeps."""

GPU_BYTES_A_CELL = 5.0
"""The inputs of all stays lie on the GPU as float32, those attacked with a mask of the cells that may change."""
