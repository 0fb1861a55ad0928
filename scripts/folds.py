"""Rule folds: the fold that holds out each stay."""

from ehr_attack.runtime import job

with job(snakemake):
    from ehr_attack.folds import assign_folds, folds_by_set
    from ehr_attack.schemas.cohort import FOLDS
    from ehr_attack.storage import read_frame, write_frame

    stays = read_frame(snakemake.input[0], ["stay_id", "subject_id", "died_in_hospital", "source_set"])
    assign = folds_by_set if "held_out_sets" in snakemake.params.folds else assign_folds
    write_frame(assign(stays, **snakemake.params.folds), snakemake.output[0], FOLDS)
