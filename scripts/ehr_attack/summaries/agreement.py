"""Tables of the whole run: verdicts on the paper's claims, stability of susceptibility, transfer between models."""

from pathlib import Path

import pandas as pd

from ehr_attack.schemas.verdicts import CANNOT_TELL
from ehr_attack.storage import read_frame, write_csv
from ehr_attack.suppression import MINIMUM, blank_small, count_text, enough, is_small

_INTERVAL = ["value", "low", "high"]
FEW_PATIENTS = "Fewer than ten stays or patients stand behind it."


def write_agreement_tables(
    *, verdicts: str | Path, stability: str | Path, transfer: str | Path, out_dir: str | Path
) -> None:
    """Write `verdicts.csv`, `stability.csv` and `transfer.csv` into `out_dir`.

    verdicts, stability, transfer: the tables of those schemas. Raises UserError for an unreadable file.
    """
    tables = {
        "verdicts": verdicts_table(read_frame(verdicts)),
        "stability": stability_table(read_frame(stability)),
        "transfer": transfer_table(read_frame(transfer)),
    }
    for stem, table in tables.items():
        write_csv(table, Path(out_dir) / f"{stem}.csv")


def verdicts_table(table: pd.DataFrame) -> pd.DataFrame:
    """VERDICTS rows for people: counts as text; a test of 1 to 9 stays or patients has no numbers and no verdict."""
    small = (table[["n_stays", "n_patients"]].fillna(0).map(is_small)).any(axis=1)
    rows = blank_small(table, _INTERVAL, ~small)
    rows = rows.assign(
        verdict=rows["verdict"].mask(small, CANNOT_TELL),
        reason=rows["reason"].mask(small, FEW_PATIENTS),
        **{name: rows[name].map(_count_or_nothing) for name in ("n_stays", "n_patients")},
    )
    return rows.sort_values("claim", kind="stable")


def stability_table(table: pd.DataFrame) -> pd.DataFrame:
    """STABILITY rows for people: no agreement of maps of fewer than ten patients."""
    rows = blank_small(table, ["spearman", "kendall"], table["n_patients"] >= MINIMUM)
    return rows.assign(n_patients=rows["n_patients"].map(_count_or_nothing))


def transfer_table(table: pd.DataFrame) -> pd.DataFrame:
    """TRANSFER rows for people: no rate over fewer than ten stays or patients, nor of 1 to 9 that flipped."""
    shown = enough(table) & ~table["n_flipped"].map(is_small)
    rows = blank_small(table, ["rate", "low", "high"], shown)
    return rows.assign(**{name: rows[name].map(_count_or_nothing) for name in ("n_stays", "n_patients", "n_flipped")})


def _count_or_nothing(count: float) -> str:
    return "" if pd.isna(count) else count_text(int(count))
