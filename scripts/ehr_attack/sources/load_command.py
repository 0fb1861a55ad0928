"""`ehr-attack load-postgres`: fill a PostgreSQL database from CSV tables, for users without one."""

import argparse
import json
import shlex
from pathlib import Path

from ehr_attack.config_conflicts import IN_SERVER


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `ehr-attack load-postgres`."""
    parser.epilog = """The database is the one that the environment variable EHR_ATTACK_DATABASE_URI names; a password
may stand there or, better, in ~/.pgpass. Every column of a file is loaded. Each table is one transaction: it is there
complete, or not at all.

examples:
  export EHR_ATTACK_DATABASE_URI=postgresql://user@localhost/mimic
  ehr-attack load-postgres --kind mimic3 --from /path/to/tables --schema mimiciii
  ehr-attack load-postgres --kind mimic3 --from /path/to/tables --schema mimiciii --tables labevents --replace"""
    parser.add_argument("--kind", choices=IN_SERVER, default="mimic3", help="whose tables they are (default: mimic3)")
    parser.add_argument(
        "--from", dest="folder", type=Path, required=True, metavar="DIR", help="folder of the CSV or CSV.gz tables"
    )
    parser.add_argument(
        "--schema",
        metavar="NAME",
        help="schema to load into, made when missing (default: the first of the user's search path, often public)",
    )
    parser.add_argument(
        "--tables", nargs="+", type=str.lower, metavar="TABLE", help="only these tables (default: all that are found)"
    )
    parser.add_argument("--replace", action="store_true", help="drop tables of the same name that are there already")


def run(arguments: argparse.Namespace) -> None:
    """Load the tables; print their row counts and the next command."""
    from ehr_attack.sources.postgresql_loading import load_tables
    from ehr_attack.suppression import count_text

    counts = load_tables(
        arguments.kind, arguments.folder, schema=arguments.schema, tables=arguments.tables, replace=arguments.replace
    )
    print("\n".join(f"{table:<16}{count_text(rows):>14} rows" for table, rows in counts.items()))
    command = f"snakemake --cores all --configfile workflow/presets/{arguments.kind}_postgresql.yaml"
    if arguments.schema:
        # JSON is YAML whatever characters the name has.
        command += f" --config {shlex.quote(f'source={{schema: {json.dumps(arguments.schema)}}}')}"
    print(f"\nNext: {command}")
