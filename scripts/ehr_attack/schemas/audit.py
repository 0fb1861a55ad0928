"""The tables that say what the source's records are like."""

import pyarrow as pa

from ehr_attack.schemas.fields import FLOAT, INT64, TEXT

ITEM_AUDIT = pa.schema(
    {
        "variable": TEXT,
        "variable_label": TEXT,
        "table_name": TEXT,
        "code": TEXT,
        "label": TEXT,
        "fluid": TEXT,
        "unit": TEXT,
        "expected_unit": TEXT,
        "n_rows": INT64,
        "n_other_unit": INT64,
        "n_patients": INT64,
        "n_outside": INT64,
        "q05": FLOAT,
        "median": FLOAT,
        "q95": FLOAT,
        "findings": TEXT,
        "failing": TEXT,
    }
)
"""One row a variable and code of it, in the order of the variables, over all patients of the source.

`unit`: the most frequent one, empty where none is told; `n_other_unit`: rows of any other unit or of none; `n_outside`:
rows outside the plausible range; quantiles in the variable's canonical unit; `failing`: names of the findings that stop
the run unless acknowledged.
"""

INTEGRITY = pa.schema({"table_name": TEXT, "what": TEXT, "cases": INT64, "total": INT64, "consequence": TEXT})
"""One row a check of the source's tables: how often something was found, out of how many rows, and what is done."""
