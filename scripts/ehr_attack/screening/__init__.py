"""For single patients: what a run's models predict, and how little would have to be charted otherwise to flip it."""

RUN_FILE = "run.json"
"""What must be known of a run to apply its models to records; see `description.RunDescription`."""
RUN_FILE_VERSION = 1
ATTACK, ATTACK_KEYS = "measurement", ("steps", "rate", "kappa", "mutable", "mutable_hours")
"""The mode whose settings say what a change may be, and which of them do."""
