"""Where the published releases keep their tables: the modules of MIMIC-IV and the names of the files."""

from collections.abc import Mapping

MIMIC4_MODULES: Mapping[str, str] = {
    "admissions": "hosp",
    "patients": "hosp",
    "labevents": "hosp",
    "d_labitems": "hosp",
    "icustays": "icu",
    "chartevents": "icu",
    "d_items": "icu",
}
"""Table of MIMIC-IV -> the folder (module) of the release that holds it."""


def published_file(kind: str, table: str) -> str:
    """The file of `table` (in lower case) below the folder of a release of `kind`, `mimic3` or `mimic4`."""
    return f"{MIMIC4_MODULES[table]}/{table}.csv.gz" if kind == "mimic4" else f"{table.upper()}.csv.gz"
