"""Synthetic records in the shape of MIMIC-III or MIMIC-IV, with a planted signal; none is of a real patient.

`generate` writes the tables; `PLANTED_WEIGHTS` and `planted_hours` say what was planted. The modules follow
the way of a record: `truth` -> `severity` (latent courses) -> `cohort` (who, when, which outcome) ->
`laboratory` and `charting` (what was written down, with its slips) -> `rendering`, `mimic4` and `tables` (columns
and files).
"""

from ehr_attack.synthetic.generator import generate
from ehr_attack.synthetic.truth import PLANTED_WEIGHTS, SIGNALS, planted_hours

__all__ = ["PLANTED_WEIGHTS", "SIGNALS", "generate", "planted_hours"]
