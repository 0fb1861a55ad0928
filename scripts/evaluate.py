"""Rule evaluate: metrics and curves of one model on held-out patients."""

import pandas as pd

from ehr_attack.runtime import job

with job(snakemake.log[0]):
    from ehr_attack.evaluation import evaluate_predictions, model_curves
    from ehr_attack.schemas import METRICS, MODEL_CURVES
    from ehr_attack.storage import read_frame, write_frame

    predictions = pd.concat(map(read_frame, snakemake.input.predictions), ignore_index=True)
    stays = read_frame(snakemake.input.stays, ["stay_id", "subject_id"])
    metrics = evaluate_predictions(predictions, stays, snakemake.params.resamples)
    write_frame(metrics, snakemake.output.metrics, METRICS)
    write_frame(model_curves(predictions), snakemake.output.curves, MODEL_CURVES)
