"""Reading the tables of MIMIC-III from CSV files."""

from functools import partial

from ehr_attack.sources.mimic_staging import stage_mimic

stage = partial(stage_mimic, "mimic3")
