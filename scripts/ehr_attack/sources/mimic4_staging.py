"""Reading the tables of MIMIC-IV from CSV files."""

from functools import partial

from ehr_attack.sources.mimic_staging import stage_mimic

stage = partial(stage_mimic, "mimic4")
