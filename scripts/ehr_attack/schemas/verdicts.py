"""The tables that compare: verdicts on the paper's claims, stability of ranks, transfer between models."""

import pyarrow as pa

from ehr_attack.schemas.fields import FLOAT, INT32, INT64, TEXT

SUPPORTED, NOT_SUPPORTED, CANNOT_TELL = "supported", "not supported", "cannot tell"
VERDICT_WORDS = (SUPPORTED, NOT_SUPPORTED, CANNOT_TELL)

VERDICTS = pa.schema(
    {
        "claim": INT32,
        "hypothesis": TEXT,
        "model": TEXT,
        "mode": TEXT,
        "direction": TEXT,
        "basis": TEXT,
        "effect": TEXT,
        "value": FLOAT,
        "low": FLOAT,
        "high": FLOAT,
        "none": FLOAT,
        "published": FLOAT,
        "n_stays": INT64,
        "n_patients": INT64,
        "verdict": TEXT,
        "reason": TEXT,
    }
)
"""One row a test of a claim of the paper: effect size with its 95 % interval over patients, folds and seeds, its value
if there were no effect (`none`), in the paper (`published`, null where that has another measure), and what follows, in
one of VERDICT_WORDS and a sentence. `direction` and `basis` are empty where a test has none. Intervals of rank
correlations are over variables too."""

STABILITY = pa.schema(
    {
        "across": TEXT,
        "first": TEXT,
        "second": TEXT,
        "mode": TEXT,
        "direction": TEXT,
        "axis": TEXT,
        "n_shared": INT64,
        "n_patients": INT64,
        "spearman": FLOAT,
        "kendall": FLOAT,
    }
)
"""One row a pair: agreement of S_q95 ranks over variables or hours (`axis`) between two folds, seeds, models or attacks
(`across`); `n_patients`: of the smaller of the two."""

TRANSFER = pa.schema(
    {
        "mode": TEXT,
        "direction": TEXT,
        "from_model": TEXT,
        "from_seed": INT64,
        "to_model": TEXT,
        "to_seed": INT64,
        "n_stays": INT64,
        "n_patients": INT64,
        "n_flipped": INT64,
        "rate": FLOAT,
        "low": FLOAT,
        "high": FLOAT,
    }
)
"""One row an ordered pair of models: of the stays whose selected change flips `from_model` and that `to_model`, of the
same fold, classifies correctly, the share (with a 95 % interval over patients) that the same change flips there too."""
