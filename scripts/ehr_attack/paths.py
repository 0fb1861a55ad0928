"""Where the files that belong to the code lie: SQL texts, the config schema, data and templates."""

from pathlib import Path

PACKAGE_DIR = Path(__file__).resolve().parent
PROJECT_DIR = PACKAGE_DIR.parents[1]
DATA_DIR = PACKAGE_DIR / "data"
TEMPLATE_DIR = PACKAGE_DIR / "templates"
SQL_DIR = PROJECT_DIR / "workflow" / "sql"
CONFIG_SCHEMA_FILE = PROJECT_DIR / "workflow" / "schemas" / "config.schema.yaml"
VARIABLES_FILE = DATA_DIR / "variables.csv"
