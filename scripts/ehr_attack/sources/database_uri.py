"""The address of the PostgreSQL database: from the environment, and from nowhere else. Standard library only."""

import os

from ehr_attack.errors import UserError

URI_VARIABLE = "EHR_ATTACK_DATABASE_URI"


def database_uri() -> str:
    """The libpq address in the environment. Raises UserError, which does not quote it, when there is none."""
    uri = os.environ.get(URI_VARIABLE, "").strip()
    if not uri:
        raise UserError(
            f"the environment variable {URI_VARIABLE} is not set. Expected the address of the PostgreSQL database: "
            f"export {URI_VARIABLE}=postgresql://user@host:5432/database (the password there or, better, in ~/.pgpass)."
        )
    scheme, separator, _ = uri.partition("://")
    if separator and scheme not in ("postgresql", "postgres"):
        raise UserError(
            f"the environment variable {URI_VARIABLE} holds no address of PostgreSQL; expected one that starts with "
            "postgresql://."
        )
    return uri
