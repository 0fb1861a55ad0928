"""The types of columns, and the columns that many tables begin with."""

from typing import Any

import pyarrow as pa

Fields = dict[str, Any]
"""The columns of a table, or a part of them: their types by name."""

INT8: Any
INT32: Any
INT64: Any
FLOAT: Any
TEXT: Any
FLAG: Any
TIME: Any
INT8, INT32, INT64 = pa.int8(), pa.int32(), pa.int64()
FLOAT, TEXT, FLAG, TIME = pa.float64(), pa.string(), pa.bool_(), pa.timestamp("us")

RUN: Fields = {"model": TEXT, "seed": INT64, "fold": INT32}
"""One trained model."""

MAP: Fields = {"model": TEXT, "mode": TEXT, "direction": TEXT}
"""What a map of susceptibility is of: a model, an attack, and the direction of the flip."""
