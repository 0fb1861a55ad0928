"""Table of how the run's protocol differs from the paper's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ehr_attack.protocol import protocol_rows
from ehr_attack.storage import write_csv


def write_protocol_table(*, config: Mapping[str, Any], out_dir: str | Path) -> None:
    """Write `paper_protocol.csv` into `out_dir`; see `protocol.protocol_rows`."""
    write_csv(pd.DataFrame(protocol_rows(config)), Path(out_dir) / "paper_protocol.csv")
