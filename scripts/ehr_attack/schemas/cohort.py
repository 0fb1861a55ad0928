"""The canonical tables of the cohort: the contract between the source, the features and the models."""

from collections.abc import Sequence

import pyarrow as pa

from ehr_attack.schemas.fields import FLAG, FLOAT, INT32, INT64, TEXT, TIME

STAYS = pa.schema(
    {
        "stay_id": INT64,
        "subject_id": INT64,
        "hadm_id": INT64,
        "intime": TIME,
        "outtime": TIME,
        "age_years": FLOAT,
        "sex": TEXT,
        "care_unit": TEXT,
        "los_icu_days": FLOAT,
        "los_hospital_days": FLOAT,
        "died_in_hospital": FLAG,
        "source": TEXT,
        "source_set": TEXT,
        "hours_observable": INT32,
    }
)
"""One row an ICU stay of the cohort, null where the source does not tell.

`source_set`: the part of the source that the stay is from, where it has parts; `hours_observable`: hourly steps of
the window before the stay's end.
"""

MEASUREMENTS = pa.schema({"stay_id": INT64, "hours": FLOAT, "variable": TEXT, "value": FLOAT})
"""One row a recorded value in canonical units; `hours` since ICU intime."""


def features_schema(variable_names: Sequence[str]) -> pa.Schema:
    """One row a stay and hour; a float32 column a variable, NaN where nothing was recorded in that hour."""
    return pa.schema({"stay_id": INT64, "hour": INT32} | {name: pa.float32() for name in variable_names})


FOLDS = pa.schema({"stay_id": INT64, "fold": INT32})
"""One row a stay; the fold that holds it out for testing, -1 where none does."""
