"""Rule evaluate: metrics, subgroups and curves of one model on held-out patients."""

import pandas as pd

from ehr_attack.runtime import job

with job(snakemake):
    from ehr_attack.decisions import fit_decisions
    from ehr_attack.evaluation import evaluate_predictions, model_curves
    from ehr_attack.schemas.evaluation import DECISIONS, METRICS, MODEL_CURVES, SUBGROUPS
    from ehr_attack.storage import read_frame, write_frame
    from ehr_attack.subgroups import evaluate_subgroups

    predictions = pd.concat(map(read_frame, snakemake.input.predictions), ignore_index=True)
    stays = read_frame(snakemake.input.stays, ["stay_id", "subject_id", "age_years", "sex", "care_unit"])
    files, resamples = snakemake.output, snakemake.params.resamples
    metrics = evaluate_predictions(predictions, stays[["stay_id", "subject_id"]], resamples)
    write_frame(metrics, files.metrics, METRICS)
    write_frame(evaluate_subgroups(predictions, stays, resamples), files.subgroups, SUBGROUPS)
    write_frame(fit_decisions(predictions), files.decisions, DECISIONS)
    write_frame(model_curves(predictions), files.curves, MODEL_CURVES)
