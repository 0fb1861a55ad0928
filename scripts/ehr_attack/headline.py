"""Which rows of the susceptibility tables stand in front: one attack a stay, the selected one, and every cell."""

import pandas as pd

from ehr_attack.schemas.susceptibility import ALL_CELLS, SELECTED


def headline(table: pd.DataFrame, *, policy: str = SELECTED, basis: str = ALL_CELLS) -> pd.DataFrame:
    """The rows of CELLS, VARIABLES, HOURS or SUMS_BY_MODEL of one policy and basis, the headline's unless named."""
    return table[(table["policy"] == policy) & (table["basis"] == basis)]
