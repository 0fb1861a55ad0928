"""Where the files that belong to the code lie: SQL texts, the config schema, data and templates."""

from pathlib import Path

PACKAGE_DIR = Path(__file__).resolve().parent
PROJECT_DIR = PACKAGE_DIR.parents[1]
DATA_DIR = PACKAGE_DIR / "data"
TEMPLATE_DIR = PACKAGE_DIR / "templates"
SQL_DIR = PROJECT_DIR / "workflow" / "sql"
CONFIG_SCHEMA_FILE = PROJECT_DIR / "workflow" / "schemas" / "config.schema.yaml"
VERSION_FILE = PACKAGE_DIR / "__init__.py"
VARIABLES_FILE = DATA_DIR / "variables.csv"
RELATIONS_FILE = DATA_DIR / "relations.csv"
KERNEL_FILES = tuple(DATA_DIR / name for name in ("fused_lstm.cpp", "packed_products.hpp", "simd_lanes.hpp"))


def sql_file(folder: Path, name: str) -> Path:
    """The SQL text `name` of the source whose texts lie in `folder`.

    A text that the releases of a source share stands once, in the folder of their common name: `mimic` serves `mimic3`
    and `mimic4`.
    """
    own = folder / f"{name}.sql"
    shared = folder.with_name(folder.name.rstrip("0123456789")) / own.name
    return shared if shared.exists() and not own.exists() else own
